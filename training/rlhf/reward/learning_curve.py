"""The learning curve of a reward model: its accuracy by the votes it has learnt from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.rlhf import rows
from training.rlhf.config import ConfigError, RewardConfig, to_dict
from training.rlhf.data import soft_labels
from training.rlhf.language import pretrained
from training.rlhf.metrics import intervals
from training.rlhf.reward import held_out_report, reward_training
from training.rlhf.rows import Preference
from training.rlhf.run import checkpoints, distributed, ranks
from training.rlhf.run.work import Report, Work

Point = dict[str, float]
"""votes, pairs, steps, accuracy with its 95 % interval (low, high), auc and ece."""


def subset(preferences: Sequence[Preference], votes: int, *, seed: int) -> list[Preference]:
    """Training pairs of whole prompts with about `votes` votes, and all held-out pairs.

    A larger subset of the same seed holds the smaller ones.
    """
    prompts = sorted({row.prompt_id for row in preferences if _learnt(row)})
    place = np.random.default_rng([seed, 3]).permutation(len(prompts))
    order = dict(zip(prompts, place.tolist(), strict=True))
    chosen = [row for row in preferences if row.held_out]
    cast = 0
    for row in sorted(filter(_learnt, preferences), key=lambda row: order[row.prompt_id]):
        if cast >= votes:
            break
        cast += len(row.votes)
        chosen.append(row)
    return chosen


def check(preferences: Sequence[Preference], sizes: Sequence[int], *, seed: int) -> None:
    """Raise ConfigError where there is nothing to measure on, a size is out of reach, or its votes
    would teach nothing."""
    votes = sum(len(row.votes) for row in preferences if _learnt(row))
    if not any(row.held_out and soft_labels.verdict(row) for row in preferences):
        raise ConfigError("learning_curve needs held-out pairs with a preferred side to measure on")
    for size in sizes:
        if not 1 <= size <= votes:
            raise ConfigError(f"learning_curve asks for {size} votes, and there are {votes}")
        learnt = filter(_learnt, subset(preferences, size, seed=seed))
        if all(label.value == 0.5 for label in map(soft_labels.label, learnt) if label):
            raise ConfigError(
                f"learning_curve: the {size} votes drawn for a point are all ties, which "
                "say nothing about a direction; ask for more votes"
            )


def points(
    base: str | Path,
    preferences: Sequence[Preference],
    config: RewardConfig,
    sizes: Sequence[int],
    work: Work,
    *,
    before: int,
) -> list[Point]:
    """Train on every number of votes and measure on the same held-out pairs.

    A point that is done is kept in the checkpoints and not computed again, unless base, settings or
    data have changed.

    Args:
        before: steps that the stage did earlier, which the reported ones are counted on from.
    """
    curve, weights = [], pretrained.digest(base)
    for size in sorted(set(sizes)):
        chosen = subset(preferences, size, seed=work.seed)
        made_of = _fingerprint(weights, config, work.seed, chosen)
        folder = work.checkpoints / f"curve-{size}-{made_of[:16]}"
        file = folder / "point.json"
        if not file.exists():
            model, numbers = reward_training.train(
                base,
                chosen,
                config,
                folder / "model",
                replace(
                    work,
                    checkpoints=folder / "steps",
                    report=_numbered(work.report, size, before),
                ),
            )
            seen = held_out_report.held_out(model, chosen).metrics()
            if ranks.rank() == 0:
                shutil.rmtree(folder / "model")
                shutil.rmtree(folder / "steps", ignore_errors=True)
                rows.write(file, [point(numbers, seen)])
            distributed.agree(0)  # the file is there for all
        curve.append(json.loads(file.read_text("utf-8")))
        before += int(curve[-1]["steps"])
    return curve


def _fingerprint(
    weights: str, config: RewardConfig, seed: int, chosen: Sequence[Preference]
) -> str:
    """Hash of all that a point depends on."""
    settings = to_dict(config)
    settings.pop("checkpoint_every")
    data = [dataclasses.asdict(row) for row in chosen]
    return checkpoints.fingerprint([weights, settings, seed, data])


def _numbered(report: Report, votes: int, before: int) -> Report:
    """Report a point's steps after those before it, under names of its own."""

    def numbered(done: int, total: int, numbers: dict[str, float]) -> None:
        named = {f"curve_{votes}_{name}": value for name, value in numbers.items()}
        report(before + done, before + total, named)

    return numbered


def point(trained: dict[str, float], seen: dict[str, float]) -> Point:
    """One point from the metrics of a training and of its report."""
    low, high = intervals.wilson(seen["accuracy"], int(seen["pairs_held_out"]))
    return {
        "votes": trained["votes_train"],
        "pairs": trained["pairs_train"],
        "steps": trained["steps"],
        "accuracy": seen["accuracy"],
        "low": low,
        "high": high,
        "auc": seen["auc"],
        "ece": seen["ece"],
    }


def _learnt(row: Preference) -> bool:
    return not row.held_out and row.kind != "evaluation" and bool(row.votes)
