"""Print where the policy in use is, for the programs that serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.versions import serving


class Command(BaseCommand):
    help = "Print the folder (or hub id) of a project's promoted policy, and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--merge",
            action="store_true",
            help="write an adapter and its base as one model first, for servers without adapters",
        )

    def handle(self, *args: Any, project: str, merge: bool, **options: Any) -> None:
        try:
            version = serving.promoted(exchange.project(project))
            where = serving.location(version, merge=merge)
        except (exchange.UnknownProject, serving.NotServable) as error:
            raise CommandError(str(error)) from error
        if serving.is_adapter(Path(where)):
            self.stderr.write(f"{version.name} is an adapter; --merge makes one model of it.")
        self.stdout.write(where)
