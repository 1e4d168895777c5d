"""Make a model that was trained elsewhere a version of a project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.models import ModelVersion
from training.setup import add_model
from training.versions import promotion


class Command(BaseCommand):
    help = (
        "Add a model folder or hub id to a project as a candidate, for its playground and its "
        "comparisons. The folder stays where it is and has to stay there; the worker reads it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="FOLDER_OR_HUB_ID")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--kind",
            choices=(ModelVersion.POLICY, ModelVersion.REWARD),
            default="",
            help="default: what the folder says; of a hub id, a policy",
        )
        parser.add_argument("--note", default="", metavar="TEXT", help="more on where it is from")
        parser.add_argument(
            "--promote",
            action="store_true",
            help="use it, also one that was added before: a reward model scores the playground, "
            "the next round starts from a policy",
        )

    def handle(self, *args: Any, model: str, project: str, **options: Any) -> None:
        try:
            version, trial = add_model.add(
                exchange.project(project), model, kind=options["kind"], note=options["note"]
            )
            self.stdout.write(f"Added {version.name} to {project}. {trial}")
        except add_model.Known as known:
            if not options["promote"]:
                raise CommandError(str(known)) from known
            version = known.version
        except (exchange.UnknownProject, add_model.Refused) as error:
            raise CommandError(str(error)) from error
        if options["promote"]:
            try:
                promotion.promote(version, reason=version.note)
            except promotion.Refused as error:
                raise CommandError(f"It stays a candidate. {error}") from error
            self.stdout.write(f"{version.name} is in use now.")
