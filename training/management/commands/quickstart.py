"""Set a project up: database, superuser, the sample project or another one, model, first pairs."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.completions import writing_runs
from training.setup import own_model, quickstart, start_model_check
from training.versions import added_models

FAILURES = (
    quickstart.SetupFailed,
    start_model_check.Refused,
    added_models.Declined,
    writing_runs.Refused,
    exchange.UnknownProject,
)


class Command(BaseCommand):
    help = (
        "Set up the sample project, or the model and the first completions of another one; safe to "
        "run again, and after a kill at any point."
    )
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
        parser.add_argument(
            "--project",
            default="",
            metavar="SLUG",
            help="a project that is there, with prompts, instead of the sample project",
        )

    def handle(self, *args: Any, seed: int, model: str, project: str, **options: Any) -> None:
        begun = time.monotonic()
        try:
            if project:
                self.set_up_own(begun, exchange.project(project), seed=seed, model=model)
            else:
                self.set_up_sample(begun, seed=seed, model=model)
        except FAILURES as error:
            raise CommandError(str(error)) from error

    def set_up_own(self, begun: float, project: exchange.Project, *, seed: int, model: str) -> None:
        """A model for a project, its first completions, and what comes next."""
        if model:
            self.go_on_if(own_model.begin_with(project, model, out=self.stdout))
        elif added_models.starter(project) is None:
            raise CommandError(f"{project.slug} has no model yet: name one with --model.")
        if exchange.prompt_count(project, unanswered=True):
            self.go_on_if(own_model.write_first(project, seed=seed, out=self.stdout))
        elif not exchange.prompt_count(project):
            self.stdout.write("The project has no prompts yet: import some, and run this again.")
            return
        self.tell(begun, project)
        self.stdout.write(f"Next: invite people on /projects/{project.slug}/people/, and vote on")
        self.stdout.write(f"/projects/{project.slug}/label/; {own_model.until_a_round(project)}")

    def set_up_sample(self, begun: float, *, seed: int, model: str) -> None:
        """All steps that are not done yet."""
        if model:
            start_model_check.typed(model)  # before anything is written
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
                own_model.begin_with(project, model, out=self.stdout)
            return
        self.stdout.write("Setting up the sample project; killing this loses nothing.")
        self.stdout.flush()
        if model:
            self.go_on_if(own_model.begin_with(project, model, out=self.stdout))
            self.go_on_if(own_model.write_first(project, seed=seed, out=self.stdout))
        else:
            self.go_on_if(quickstart.ensure_starter(project, seed=seed, out=self.stdout))
            self.go_on_if(quickstart.ensure_first_pairs(project, seed=seed, out=self.stdout))
        self.tell(begun, project)

    def go_on_if(self, done: bool) -> None:
        """End here where a step was stopped."""
        if not done:
            self.stdout.write("Stopped. Run the command again to go on.")
            sys.exit(130)

    def tell(self, begun: float, project: exchange.Project) -> None:
        waiting, seconds = exchange.queue_depth(project), time.monotonic() - begun
        self.stdout.write(f"Ready after {seconds:.0f} s: {waiting} pairs wait for votes.")
        if own_model.being_written(project):
            self.stdout.write("A worker (make worker-gpu) answers the other prompts meanwhile.")
