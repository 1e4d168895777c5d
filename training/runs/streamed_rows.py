"""Lines that a run writes one by one become rows as they come, each line once: completions with
their pairs, and votes of AI annotators.

The rows, the counts and the place up to which the file was read are one transaction, so that a kill
repeats nothing, and whoever supervises the run next goes on from there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from django.db import transaction

from annotate import exchange
from training.models import Run, RunKind, Worker

Line = dict[str, Any]

MOST_ROWS = 200
"""Completions of one transaction, or those of one prompt: people vote between two."""
ALONE = (1,)
"""The rows of a line that is one."""
REASONS = 10
"""Different reasons of refusals that are kept."""


def checkpoint(run: Run, name: str) -> Path:
    """A file, relative to the run's folder, that its process goes on from."""
    return Path("checkpoints", run.kind, name)


def source(run: Run) -> str:
    """The origin by which the completions and pairs of a run are known."""
    elsewhere = run.worker == Worker.SHORT
    return f"{exchange.WRITTEN_ELSEWHERE if elsewhere else 'completions-'}{run.pk}"


def take_in(run: Run) -> None:
    """Bring what a run of the kinds in `TAKEN_IN` wrote since the last call into the database.

    Raises:
        Lost: `run` is not its holder any more; the batches before stay.
    """
    if run.kind not in TAKEN_IN:
        return
    while (batch := _next(run)) is not None:
        _store(run, *batch)


def _next(run: Run) -> tuple[list[Line], int] | None:
    """Whole lines that were not taken in yet, and where the next one begins."""
    offset = int(run.options.get("taken", {}).get("offset", 0))
    lines, rows = [], 0
    try:
        with (run.directory / checkpoint(run, "written.jsonl")).open("rb") as file:
            file.seek(offset)
            for text in file:
                if rows >= MOST_ROWS or not text.endswith(b"\n"):  # it is still being written
                    break
                line = json.loads(text)
                lines.append(line)
                rows += len(line.get("completions", ALONE))
                offset += len(text)
    except FileNotFoundError:
        return None
    return (lines, offset) if lines else None


def _store(run: Run, lines: list[Line], offset: int) -> None:
    taken = run.options.get("taken", {})
    with transaction.atomic():
        # First the row: of two supervisors only the holder gets past it.
        Run.objects.write(run, fence=run.fence)
        counts = Counter(taken.get("counts", {})) + TAKEN_IN[run.kind](run, lines)
        refused = Counter(taken.get("refused", {}))
        for line in lines:
            refused.update(line.get("refused", {}))
        taken = {"offset": offset, "counts": counts, "refused": dict(refused.most_common(REASONS))}
        options = run.options | {"taken": taken}
        Run.objects.write(run, options=options)
    run.options = options  # only now: what was rolled back is taken in again


def _add_completions(run: Run, lines: list[Line]) -> Counter[str]:
    """Add the rows of these prompts; how many of what there were.

    An import that was taken back may have taken some of the prompts along: their rows are left out.
    """
    there = exchange.known_prompts(run.project, [line["prompt_id"] for line in lines])
    gone = [line for line in lines if line["prompt_id"] not in there]
    lines = [line for line in lines if line["prompt_id"] in there]
    completions = [row for line in lines for row in line["completions"]]
    pairs = [row for line in lines for row in line["pairs"]]
    origin = source(run)
    counts: Counter[str] = Counter(prompts=len(lines), replies=len(completions))
    counts["left_out_orphaned"] = sum(len(line["completions"]) for line in gone)
    by_writer = sorted(completions, key=_writer)
    for writer, written in groupby(by_writer, key=_writer):
        new = exchange.add_completions(run.project, written, source=origin, policy=writer)
        counts["completions"] += new
    counts["pairs"] = exchange.add_pairs(run.project, pairs, source=origin)
    for line in lines:
        counts.update(
            equal=line["equal"], truncated=line["truncated"], refused=sum(line["refused"].values())
        )
        counts.update({f"left_out_{name}": n for name, n in line["left_out"].items()})
    return counts


def _writer(row: dict[str, Any]) -> str:
    return str(row["source"])


def _add_ai_votes(run: Run, lines: list[Line]) -> Counter[str]:
    """Add the votes of an AI annotator; how many of what there were.

    A pair that was deleted meanwhile, or that has the annotator's vote already, is left out.
    """
    return exchange.add_ai_votes(run.project, run.options["annotator"], lines, run=run.uuid)


TAKEN_IN: dict[str, Callable[[Run, list[Line]], Counter[str]]] = {
    RunKind.COMPLETIONS: _add_completions,
    RunKind.AI_VOTES: _add_ai_votes,
}
"""Kinds of runs whose lines are taken in, and what becomes of them."""
