"""The table of a comparison: models beside each other on the same prompts, with intervals.

Torch-free. One table serves rounds, the `compare` command and the report: value, 95 % interval, and
difference to the first model with its own interval, paired by prompt.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.rlhf.evaluation.comparison_metrics import MeasuredReply, Metric
from training.rlhf.metrics import intervals
from training.rlhf.metrics.arrays import Floats

ALL = "all"
"""Name of the group of all prompts; the others are tags."""
MOST_TAGS = 50
"""With figures of their own, those of most prompts first: a tag per prompt would say nothing."""
LEAST = 10
"""Replies below which nothing is resampled: of two replies the percentiles are these two, which
hold the truth half of the time, of five 85 %, of ten 90 %."""


@dataclass(frozen=True)
class Resampling:
    """The number of bootstrap resamples behind an interval, and their seed."""

    draws: int
    seed: int = 0


Cell = dict[str, float | None]


def table(
    replies: Mapping[str, Sequence[MeasuredReply]], metrics: Sequence[Metric], how: Resampling
) -> dict[str, Any]:
    """Every metric of every model on all prompts and on each of the MOST_TAGS commonest tags.

    Args:
        replies: by model, in one order of prompts; the first model is what others are compared to.

    Returns:
        {"models": [names], "measures": [{"name", "title", "better", "by_tag"}],
        "groups": {"all" or a tag: {"prompts": n, "models": {model: {metric: {"value", "n", "low",
        "high", "difference", "difference_low", "difference_high"}}}}}}; what was not measured is
        left out.
    """
    asked = next(iter(replies.values()))
    tagged = Counter(tag for reply in asked for tag in set(reply.tags) - {ALL})
    tags = sorted(sorted(tagged, key=lambda tag: (-tagged[tag], tag))[:MOST_TAGS])
    members = {ALL: list(range(len(asked)))}
    members |= {tag: [i for i, reply in enumerate(asked) if tag in reply.tags] for tag in tags}
    groups: dict[str, Any] = {}
    for name, places in members.items():
        part = {model: [every[i] for i in places] for model, every in replies.items()}
        groups[name] = {"prompts": len(places), "models": _group(part, metrics, how)}
    shown = {metric for cells in groups[ALL]["models"].values() for metric in cells}
    named = [
        {
            "name": metric.name,
            "title": metric.title,
            "better": metric.better,
            "by_tag": metric.by_tag,
        }
        for metric in metrics
        if metric.name in shown
    ]
    return {"models": list(replies), "measures": named, "groups": groups}


def _group(
    replies: Mapping[str, Sequence[MeasuredReply]], metrics: Sequence[Metric], how: Resampling
) -> dict[str, dict[str, Cell]]:
    summed = [metric for metric in metrics if metric.of_texts is None]
    cells: dict[str, dict[str, Cell]] = {}
    base: dict[str, _Drawn] = {}
    for model, rows in replies.items():
        drawn = _drawn(rows, summed, how)
        cells[model] = {
            metric.name: _cell(drawn[metric.name], base.get(metric.name), share=metric.share)
            for metric in summed
            if metric.name in drawn
        }
        texts = [reply.text for reply in rows]
        for metric in metrics:
            if metric.of_texts is not None:
                cells[model][metric.name] = {"value": metric.of_texts(texts), "n": len(rows)}
        base = base or drawn
    return cells


@dataclass(frozen=True)
class _Drawn:
    """A metric of one model: its value and what it was in every resample."""

    value: float
    rows: tuple[int, ...]
    values: Floats


def _drawn(
    rows: Sequence[MeasuredReply], metrics: Sequence[Metric], how: Resampling
) -> dict[str, _Drawn]:
    """Every metric of one model; those of the same replies are resampled together."""
    together: dict[tuple[int, ...], list[Metric]] = defaultdict(list)
    for metric in metrics:
        has = [i for i, row in enumerate(rows) if row.numbers.keys() >= set(metric.columns)]
        if has:
            together[tuple(has)].append(metric)
    drawn = {}
    for places, alike in together.items():
        n = len(places)
        columns = list(dict.fromkeys(column for one in alike for column in one.columns))
        statistics = np.array([[rows[i].numbers[c] for c in columns] for i in places])
        draws = how.draws if n >= LEAST else 0
        sums = intervals.resampled(statistics, draws=draws, seed=how.seed)
        for one in alike:
            own = [columns.index(column) for column in one.columns]
            value = float(one.pool(statistics.sum(0)[own], n))
            drawn[one.name] = _Drawn(value, places, one.pool(sums[:, own], n))
    return drawn


def _cell(one: _Drawn, base: _Drawn | None, *, share: bool) -> Cell:
    cell: Cell = {"value": _finite(one.value), "n": len(one.rows)}
    if share or len(one.values):
        if share:
            low, high = intervals.wilson(one.value, len(one.rows))
        else:
            low, high = intervals.percentiles(one.values)
        cell |= {"low": _finite(low), "high": _finite(high)}
    # Resamples of the same prompts are drawn alike, which is what makes the difference paired.
    if base is not None and base.rows == one.rows:
        cell["difference"] = _finite(one.value - base.value)
        if len(one.values):
            low, high = intervals.percentiles(one.values - base.values)
            cell |= {"difference_low": _finite(low), "difference_high": _finite(high)}
    return cell


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
