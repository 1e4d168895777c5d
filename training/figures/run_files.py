"""Files of a run's folder for pages: samples of replies, and settings as a flat list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from training.figures.number_format import number
from training.models import Run
from training.rlhf import rows
from training.rlhf.round import EVALUATE, TRAIN_POLICY

MOST_SAMPLES = 12
MOST_BYTES = 4 * 1024 * 1024
"""A samples file larger than this was not written by the engine; it is left alone."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One held-out prompt with the reply of the policy before and of the new one."""

    messages: list[dict[str, str]]
    before: str
    after: str
    reward_before: float | None
    reward_after: float | None


def samples(run: Run) -> list[Sample]:
    """Replies before and after; empty when the stage has not run or its folder is elsewhere.

    The run's folder may have been copied from another machine, so nothing in it is trusted.
    """
    try:
        path = run_file(run, EVALUATE, "samples.jsonl", most=MOST_BYTES)
        lines = list(islice(rows.read_json(path), MOST_SAMPLES))
        return [_sample(data) for _, data in lines]
    except (OSError, rows.RowError, KeyError, TypeError, ValueError):
        return []


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A reply that the policy wrote while it was trained, and its score."""

    update: int
    prompt: str
    reply: str
    score: float | None


MOST_ROLLOUTS = 60
"""Replies on a page: those of the first updates, of the last, and of some between."""


def rollouts(run: Run) -> list[Rollout]:
    """Replies of the updates so far, evenly over all; empty where none were kept here."""
    kept = (f"{TRAIN_POLICY}/rollouts.jsonl", f"checkpoints/{TRAIN_POLICY}/rollouts.jsonl")
    for folder, _, name in (path.rpartition("/") for path in kept):
        try:
            path = run_file(run, folder, name, most=MOST_BYTES)
            listed = [_rollout(data) for _, data in rows.read_json(path)]
            step = -(-len(listed) // MOST_ROLLOUTS)
            return listed[::step] if step else []
        except (OSError, rows.RowError, KeyError, TypeError, ValueError):
            continue
    return []


def _rollout(data: Mapping[str, Any]) -> Rollout:
    return Rollout(
        update=int(data["update"]),
        prompt=str(data["prompt"]),
        reply=str(data["reply"]),
        score=number(data.get("score")),
    )


def run_file(run: Run, stage: str, name: str, *, most: int) -> Path:
    """A file that a stage left. What was copied from another machine may hold links to any file of
    this one: they are as good as none.

    Raises:
        OSError: it is not there, is larger than `most` bytes, or is no file of the run's folder.
    """
    try:
        path = (run.directory / stage / name).resolve(strict=True)
    except RuntimeError as error:  # links in a circle
        raise OSError(str(error)) from error
    inside = path.is_relative_to(run.directory.resolve()) and path.is_file()
    if not inside or path.stat().st_size > most:
        raise OSError(f"{name} of run {run.uuid} is not one to read")
    return path


def _sample(data: Mapping[str, Any]) -> Sample:
    return Sample(
        messages=rows.messages(data["messages"]),
        before=str(data["before"]),
        after=str(data["after"]),
        reward_before=number(data.get("reward_before")),
        reward_after=number(data.get("reward_after")),
    )


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, value) in their own order."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _written(value)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value) or "\N{EN DASH}"
