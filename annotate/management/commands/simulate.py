from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from annotate.sample import simulated_votes
from annotate.sample.tastes import TASTES


class Command(BaseCommand):
    help = "Let simulated annotators vote, through the same queue as people. Their votes say so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--annotators", type=int, required=True)
        parser.add_argument("--votes", type=int, required=True, help="Votes in total.")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument(
            "--taste", choices=sorted(TASTES), default="", help="Of all of them, beside the rubric."
        )

    def handle(
        self,
        *args: Any,
        project: str,
        annotators: int,
        votes: int,
        seed: int,
        taste: str = "",
        **options: Any,
    ) -> None:
        if annotators < 1 or votes < 1:
            raise CommandError("--annotators and --votes must be at least 1.")
        try:
            target = exchange.project(project)
        except exchange.UnknownProject as error:
            raise CommandError(str(error)) from error
        cast = simulated_votes.cast_votes(
            target,
            annotators=annotators,
            votes=votes,
            seed=seed,
            taste=taste,
            report=self._report(votes),
        )
        self.stdout.write(f"{annotators} simulated annotators cast {cast} votes in {project}.")
        if cast < votes:
            self.stdout.write(f"No pair is left for them, so {votes - cast} votes were not cast.")

    def _report(self, votes: int) -> Callable[[int], None]:
        step = max(votes // 10, 1)

        def report(cast: int) -> None:
            if cast % step == 0 and cast < votes:
                self.stderr.write(f"{cast} of {votes} votes")

        return report
