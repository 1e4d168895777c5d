"""The charts of rounds: curves over updates, and figures over rounds."""

from __future__ import annotations

from collections.abc import Iterable

from training.figures.charts import Chart, Point, Series, line_chart
from training.figures.number_format import number
from training.models import Run, StageResult
from training.rlhf.metrics.intervals import wilson
from training.rlhf.round import TRAIN_POLICY

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
    """Held-out accuracy of the reward model, and of the judge beside it, over rounds."""
    by_round = {result.run.round.number: result.metrics for result in results if result.run.round}
    model = [
        _accuracy(x, number(m.get("accuracy")), number(m.get("pairs_held_out")))
        for x, m in by_round.items()
    ]
    judge = [Point(x=x, y=number(m.get("judge_accuracy"))) for x, m in by_round.items()]
    return line_chart(
        id="chart-accuracy",
        title="Reward-model accuracy",
        x_label="Round",
        y_label="Share of held-out votes",
        series=[Series(name="Reward model", points=model), Series(name="Judge", points=judge)],
        y_range=(0.5, 1.0),
    )


def _accuracy(x: int, share: float | None, n: float | None) -> Point:
    if share is None or not n or not 0 <= share <= 1:
        return Point(x=x, y=share)
    low, high = wilson(share, round(n))
    return Point(x=x, y=share, low=low, high=high)


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
        title="Win rate against the policy before",
        x_label="Round",
        y_label="Share of held-out prompts",
        series=[Series(name="Win rate", points=points)],
        reference=0.5,
        y_range=(0.0, 1.0),
    )
