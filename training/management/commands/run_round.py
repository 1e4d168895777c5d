"""Run one whole round in the foreground."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.models import Round, Run
from training.rounds import start_and_cancel
from training.runs import foreground
from training.setup import add_model, own_model
from training.versions import added_models


class Command(BaseCommand):
    help = "Run one round of a project here, with a progress display; resumes a live one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--seed", type=int, help="of everything random; default: its number")
        parser.add_argument(
            "--model",
            metavar="FOLDER_OR_HUB_ID",
            help="the project's first policy, when it has none yet",
        )

    def handle(self, *args: Any, project: str, **options: Any) -> None:
        try:
            chosen = exchange.project(project)
        except exchange.UnknownProject as error:
            raise CommandError(str(error)) from error
        if options["model"]:
            self.begin_with(chosen, options["model"])
        run = self.live_or_new(chosen, options["seed"])
        state = foreground.follow(run, out=self.stdout)
        self.report(run)
        if state is None:
            self.stdout.write("Stopped. Run the command again, or start a worker, to go on.")
            sys.exit(130)
        if state != Run.State.DONE:
            sys.exit(1)

    def begin_with(self, project: exchange.Project, model: str) -> None:
        """Give the project its first policy, unless a round could not start with it either."""
        try:
            add_model.typed(model)
            start_and_cancel.require_votes(project)
            if not own_model.begin_with(project, model, out=self.stdout):
                self.stdout.write("Stopped. Run the command again to go on.")
                sys.exit(130)
        except start_and_cancel.RoundRunning:
            return  # it is followed
        except (start_and_cancel.RoundRefused, add_model.Refused, added_models.Declined) as error:
            raise CommandError(str(error)) from error

    def live_or_new(self, project: exchange.Project, seed: int | None) -> Run:
        """The run of the project's live round, or of a new one."""
        live = project.rounds.live().first()
        try:
            round_ = live or start_and_cancel.start_round(
                project, trigger="command", seed=seed, enqueue=False
            )
        except start_and_cancel.RoundRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        if live is not None:
            self.stdout.write(f"Round {live.number} is {live.state} already; following it.")
        return Run.objects.filter(round=round_).latest("id")

    def report(self, run: Run) -> None:
        """Print what the round did."""
        round_ = Round.objects.get(runs=run)
        self.stdout.write(f"Round {round_.number}: {round_.state}")
        for result in run.stages.order_by("id"):
            numbers = "  ".join(f"{k} {v:.4g}" for k, v in sorted(result.metrics.items()))
            self.stdout.write(f"  {result.stage}: {numbers}")
        for version in run.models.order_by("kind"):
            self.stdout.write(f"  {version.name}: {version.state}. {version.note}".rstrip(". "))
        run.refresh_from_db(fields=["error"])
        if run.error:
            self.stderr.write(f"  {run.error}")
