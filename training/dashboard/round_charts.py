"""The charts of rounds: curves over updates, and figures over rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from statistics import fmean
from typing import Any

from training.figures.charts import Chart, Point, Series, line_chart
from training.figures.number_format import number
from training.figures.run_progress import accuracy_told
from training.models import Run, StageResult
from training.rlhf.round import EVALUATE, TRAIN_POLICY

PER_UPDATE = (
    ("reward", "Reward", "Score (starter = 0, sd 1)"),
    ("kl", "KL to the starter", "KL (nats per reply)"),
    ("entropy", "Entropy", "Entropy (nats per token)"),
    ("length", "Length", "Tokens per reply"),
    ("margin", "Margin of the preferred replies", "Beta * log-ratio (ORPO: log odds ratio)"),
)
"""Metric, title and y axis of the curves over updates. PPO sees scores standardised by those
of the starter's replies, so that rounds with different reward models can be compared."""


def policy_charts(run: Run | None) -> list[Chart]:
    """Curves per update of the policy; what its optimiser does not measure is left out."""
    rows = run.metrics.filter(stage=TRAIN_POLICY).order_by("step") if run else ()
    steps = [(row.step, row.values) for row in rows]
    drawn = [
        line_chart(
            id=f"chart-{key}",
            title=title,
            x_label="Update",
            y_label=y_label,
            series=[_series(title, [(step, values.get(key)) for step, values in steps])],
        )
        for key, title, y_label in PER_UPDATE
    ]
    return [chart for chart in drawn if chart is not None]


def _series(name: str, values: Iterable[tuple[int, object]]) -> Series:
    return Series(name=name, points=[Point(x=x, y=number(y)) for x, y in values])


def accuracy_chart(results: Iterable[StageResult]) -> Chart | None:
    """Accuracy of the reward model on prompts it did not learn from, and of the judge beside it,
    over rounds."""
    by_round = {result.run.round.number: result.metrics for result in results if result.run.round}
    told = {x: accuracy_told(m) for x, m in by_round.items()}
    model = [Point(x=x, y=t.value, low=t.low, high=t.high) for x, t in told.items()]
    judge = [Point(x=x, y=number(m.get("judge_accuracy"))) for x, m in by_round.items()]
    return line_chart(
        id="chart-accuracy",
        title="Reward-model accuracy",
        x_label="Round",
        y_label="Share of pairs it did not learn from",
        series=[Series(name="Reward model", points=model), Series(name="Judge", points=judge)],
        y_range=(0.5, 1.0),
    )


def win_rate_chart(results: Iterable[StageResult]) -> Chart | None:
    """Win rate of each round's policy against the one before it, with its interval."""
    points = []
    for result in results:
        if result.run.round is not None:
            m = {key: number(result.metrics.get(f"win_rate{key}")) for key in ("", "_low", "_high")}
            low, high = (m["_low"], m["_high"]) if None not in m.values() else (None, None)
            points.append(Point(x=result.run.round.number, y=m[""], low=low, high=high))
    return line_chart(
        id="chart-win-rate",
        title="Win rate against the policy before, by a judge model",
        x_label="Round",
        y_label="Share of held-out prompts",
        series=[Series(name="Win rate", points=points)],
        reference=0.5,
        y_range=(0.0, 1.0),
    )


def win_rates(
    results: Iterable[StageResult], human: Mapping[int, Mapping[str, Any]]
) -> Chart | None:
    """Win rates of each round's policy, as a model judges them and as people do.

    Args:
        human: by the number of the policy, people's verdict on it against the starter.
    """
    judged = [one for one in results if one.stage == EVALUATE and one.run.round]
    by_model = [_rate(one.run.round.number, one.metrics) for one in judged if one.run.round]
    by_people = [_rate(number_, verdict) for number_, verdict in human.items() if verdict]
    return line_chart(
        id="chart-win-rates",
        title="Win rate by round" + ("" if by_people else ", judged by a model"),
        x_label="Round",
        y_label="Share of comparisons won",
        series=[
            Series(name="People, against the starter", points=by_people),
            Series(name="A judge model, against the policy before", points=by_model),
        ],
        reference=0.5,
        y_range=(0.0, 1.0),
    )


def _rate(x: int, metrics: Mapping[str, Any]) -> Point:
    value, low, high = (number(metrics.get(f"win_rate{key}")) for key in ("", "_low", "_high"))
    if low is None or high is None:
        low = high = None
    return Point(x=x, y=value, low=low, high=high)


MOST_POINTS = 12
"""Of the curve over KL: single updates go to and fro, their means show where it leads."""


def reward_against_kl(run: Run | None) -> Chart | None:
    """Reward over the distance from the starter, as means of successive updates of one run."""
    rows = run.metrics.filter(stage=TRAIN_POLICY).order_by("step") if run else ()
    pairs = [(number(row.values.get("kl")), number(row.values.get("reward"))) for row in rows]
    known = [(kl, reward) for kl, reward in pairs if kl is not None and reward is not None]
    size = ceil(len(known) / MOST_POINTS) or 1
    groups = [known[start : start + size] for start in range(0, len(known), size)]
    name = f"Round {run.round.number}" if run and run.round else "Updates"
    each = f", means of {size} updates" if size > 1 else ""
    return line_chart(
        id="chart-reward-kl",
        title=f"Reward against KL, {name.lower()}{each}",
        x_label="KL to the starter (nats per reply)",
        y_label="Reward (starter = 0, sd 1)",
        series=[Series(name=name, points=[_mean(group) for group in groups])],
        whole_x=False,
    )


def _mean(group: Sequence[tuple[float, float]]) -> Point:
    return Point(x=fmean(kl for kl, _ in group), y=fmean(reward for _, reward in group))
