"""Set everything up: database, superuser, sample project, starter policy, first pairs."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.setup import quickstart


class Command(BaseCommand):
    help = "Set up the sample project; safe to run again, and after a kill at any point."
    # The tables that some checks ask for are made here.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, default=0, help="of prompts and starter policy")
        parser.add_argument(
            "--model",
            default=os.environ.get("MODEL", ""),
            metavar="FOLDER_OR_HUB_ID",
            help="start from this model instead of training a tiny one (default: $MODEL)",
        )

    def handle(self, *args: Any, seed: int, model: str, **options: Any) -> None:
        begun = time.monotonic()
        try:
            self.set_up(begun, seed=seed, model=model)
        except quickstart.SetupFailed as error:
            raise CommandError(str(error)) from error

    def set_up(self, begun: float, *, seed: int, model: str) -> None:
        """All steps that are not done yet."""
        if model:
            quickstart.model_path(model)  # before anything is written
        call_command("migrate", interactive=False, verbosity=0)
        user, password = quickstart.ensure_superuser()
        if password:
            self.stdout.write(f"Superuser {user.username}, password {password}")
            self.stdout.write(
                f"(shown once; manage.py changepassword {user.username} sets another)"
            )
        project = quickstart.ensure_project(user, seed=seed, model=model)
        if quickstart.is_ready(project):
            self.stdout.write(f"Already set up: {exchange.queue_depth(project)} pairs are waiting.")
            if model:
                quickstart.adopt_model(project, model)
            return
        self.stdout.write("Setting up the sample project; killing this loses nothing.")
        self.stdout.flush()
        done = quickstart.ensure_starter(project, seed=seed, model=model, out=self.stdout)
        if done:
            done = quickstart.ensure_first_pairs(project, seed=seed, model=model, out=self.stdout)
        if not done:
            self.stdout.write("Stopped. Run the command again to go on.")
            sys.exit(130)
        waiting, seconds = exchange.queue_depth(project), time.monotonic() - begun
        self.stdout.write(f"Ready after {seconds:.0f} s: {waiting} pairs wait for votes.")
