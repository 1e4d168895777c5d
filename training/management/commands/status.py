"""Print the state of a project's loop."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.figures.number_format import percent
from training.figures.run_progress import headline, last_run, metrics, outcome, stage_lines
from training.models import Round
from training.rounds import loop_state


class Command(BaseCommand):
    help = "Show a project's pairs, votes, policy and rounds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, project: str, json: bool, **options: Any) -> None:
        try:
            chosen = exchange.project(project)
        except exchange.UnknownProject as error:
            raise CommandError(str(error)) from error
        state, rounds = loop_state.state(chosen), list(loop_state.history(chosen))
        self.stdout.write(as_json(state, rounds) if json else as_text(state, rounds))


def as_json(state: loop_state.Loop, rounds: list[Round]) -> str:
    """Rounds from the latest on; `stages` names the finished ones in order."""
    data = {
        "pairs_open": state.pairs_open,
        "pairs_resolved": state.pairs_resolved,
        "votes": state.votes,
        "policy": state.policy or None,
        "rounds": [_round(round) for round in rounds],
    }
    return json.dumps(data, indent=2)


def _round(round: Round) -> dict[str, Any]:
    numbers = metrics(last_run(round))
    return {
        "number": round.number,
        "state": round.state,
        "stages": list(numbers),
        "metrics": numbers,
    }


def as_text(state: loop_state.Loop, rounds: list[Round]) -> str:
    """The same for people: a few lines, and one per round."""
    lines = [
        f"pairs   {state.pairs_open} open, {state.pairs_resolved} resolved",
        f"votes   {state.votes}",
        f"policy  {state.policy or 'none'}",
        f"next    {state.title}. {state.advice}".rstrip(),
    ]
    return "\n".join([*lines, *(_line(round) for round in rounds)])


def _line(round: Round) -> str:
    run = last_run(round)
    figures = headline(run)
    line = f"round {round.number}  {round.state}"
    current = next((stage for stage in stage_lines(run) if stage.state == "running"), None)
    if current is not None:
        line += f", {current.title.lower()} {current.step}/{current.total}"
    if figures.accuracy is not None:
        line += f", accuracy {percent(figures.accuracy)}"
    if figures.win_rate is not None:
        low, high = percent(figures.win_rate_low), percent(figures.win_rate_high)
        line += f", win rate {percent(figures.win_rate)} ({low} to {high})"
    came = outcome(round).rstrip(".")
    return f"{line}. {came}." if came else line
