"""Make a model from elsewhere a version of a project."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.models import ModelVersion, Run
from training.setup import own_model, start_model_check
from training.versions import added_models


class Command(BaseCommand):
    help = (
        "Check a model folder or a hub's model here, and add it to a project: as its starter where "
        "it has none and --promote is given, else as a candidate to try and compare. A folder "
        "stays where it is and has to stay there; a hub's model is fetched and kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="FOLDER_OR_HUB_ID")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--kind",
            choices=(ModelVersion.POLICY, ModelVersion.REWARD),
            default="",
            help="default: what its files say",
        )
        parser.add_argument("--note", default="", metavar="TEXT", help="more on where it is from")
        parser.add_argument(
            "--promote",
            action="store_true",
            help="use it, also one that was added before: the project begins with it where there "
            "is no starter, else the next round starts from it; a reward model scores the "
            "playground",
        )

    def handle(self, *args: Any, model: str, project: str, **options: Any) -> None:
        try:
            chosen = exchange.project(project)
            make = own_model.place_for_use(chosen, options["kind"]) if options["promote"] else None
            run = own_model.check(
                chosen,
                start_model_check.typed(model),
                make=make or added_models.CANDIDATE,
                kind=options["kind"],
                note=options["note"],
            )
        except added_models.Known as known:
            self.promote(known, use=options["promote"])
            return
        except (exchange.UnknownProject, start_model_check.Refused) as error:
            raise CommandError(str(error)) from error
        self.see_through(run)

    def see_through(self, run: Run) -> None:
        try:
            version = own_model.follow(run, out=self.stdout)
        except start_model_check.Refused as error:
            raise CommandError(str(error)) from error
        if version is None:
            self.stdout.write("Stopped. Run the command again to go on.")
            sys.exit(130)
        slug = version.project.slug
        exchange.record_command("add_model", project_slug=slug, version=version.name)
        self.stdout.write(f"Added {version.name} to {slug}.")
        for line in own_model.described(run):
            self.stdout.write(f"  {line}")
        if version.state == ModelVersion.State.PROMOTED:
            self.stdout.write(f"{version.name} is in use now.")

    def promote(self, known: added_models.Known, *, use: bool) -> None:
        """Put a version in use that was added before."""
        if not use:
            raise CommandError(str(known)) from known
        try:
            used = added_models.use(known.version)
        except added_models.Declined as error:
            raise CommandError(f"It stays as it is. {error}") from error
        slug = used.project.slug
        exchange.record_command("add_model", project_slug=slug, promoted=used.name)
        self.stdout.write(f"{used.name} is in use now.")
