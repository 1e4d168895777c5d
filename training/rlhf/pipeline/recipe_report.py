"""The report in the folder of a recipe: every phase's metrics as text, JSON and a page.

Torch-free. The page is one file without scripts and without anything from elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from training.rlhf.evaluation.comparison_report import STYLE
from training.rlhf.evaluation.metrics_markdown import Columns, cells, metrics_table
from training.rlhf.metrics import intervals, svg_plots
from training.rlhf.run.run_directory import RunDirectory

DRAWN = {
    "loss": "Loss",
    "judge_loss": "Loss of the judge",
    "slice_loss": "Loss on the slice for early stopping",
    "reward": "Reward",
    "kl": "KL to the reference",
    "entropy": "Entropy",
    "length": "Length of the replies",
}
"""Metrics that change over a training, in the order of their plots."""
ACCURACIES = {
    "all": ("accuracy", "pairs_held_out"),
    "slight": ("accuracy_slight", "pairs_slight"),
    "clear": ("accuracy_clear", "pairs_clear"),
    "much": ("accuracy_much", "pairs_much"),
    "shorter better": ("accuracy_shorter_preferred", "pairs_shorter_preferred"),
    "longer better": ("accuracy_longer_preferred", "pairs_longer_preferred"),
}
"""Accuracies of a reward model and the numbers of pairs behind them."""
LINE = "svg .line { fill: none; stroke: var(--accent); stroke-width: 1.5; }"

Metas = Mapping[str, dict[str, Any]]


def write(run: RunDirectory, phases: Sequence[str]) -> None:
    """Write README.md, summary.json and report.html anew from the results that are there."""
    metas = {name: meta for name in phases if (meta := run.stage_meta(name)) is not None}
    waiting = [name for name in phases if name not in metas]
    metrics = {name: meta["metrics"] for name, meta in metas.items()}
    (run.path / "summary.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    (run.path / "README.md").write_text(_markdown(run.path.name, metas, waiting), "utf-8")
    (run.path / "report.html").write_text(_html(run, metas, waiting), "utf-8")


def _markdown(title: str, metas: Metas, waiting: Sequence[str]) -> str:
    lines = [f"# {title}\n"]
    if waiting:
        lines.append(f"Still to run: {', '.join(waiting)}.\n")
    for name, meta in metas.items():
        lines += [f"## {name}\n", f"`{meta['recipe']['command']}`\n"]
        lines += [*metrics_table({"value": meta["metrics"]}), ""]
    for heading, columns in _side_by_side(metas):
        lines += [f"## {heading}\n", *metrics_table(columns), ""]
    return "\n".join(lines)


def _side_by_side(metas: Metas) -> Iterator[tuple[str, Columns]]:
    """A title and the metrics of each two or more phases that do the same in different ways."""
    groups: dict[str, dict[str, Mapping[str, float | None]]] = {}
    for name, meta in metas.items():
        groups.setdefault(meta["recipe"]["command"], {})[name] = meta["metrics"]
    for command, columns in groups.items():
        if len(columns) > 1 and set.intersection(*map(set, columns.values())):
            yield f"{command}: side by side", columns


def _html(run: RunDirectory, metas: Metas, waiting: Sequence[str]) -> str:
    title = escape(run.path.name)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}{LINE}</style></head><body><h1>{title}</h1>",
    ]
    if waiting:
        parts.append(f"<p>Still to run: {', '.join(waiting)}.</p>")
    for name, meta in metas.items():
        parts.append(f"<h2>{name}</h2>")
        if (run.folder(name) / "report.html").is_file():
            parts.append(f'<p><a href="{name}/report.html">The comparison, with its plots</a></p>')
        drawn = [*_curves(run, name), *_accuracies(name, meta["metrics"])]
        if drawn:
            parts.append(f'<div class="plots">{"".join(drawn)}</div>')
        parts.append(_table(f"Metrics of {name}", {"Value": meta["metrics"]}))
    for heading, columns in _side_by_side(metas):
        parts += [f"<h2>{heading}</h2>", _table(heading, columns)]
    return "\n".join([*parts, "</body></html>\n"])


def _curves(run: RunDirectory, phase: str) -> Iterator[str]:
    lines = [line for line in run.metrics() if line["stage"] == phase]
    for key, title in DRAWN.items():
        points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if points:
            drawn = svg_plots.curve(f"{title} of {phase}", points)
            yield f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def _accuracies(phase: str, metrics: Mapping[str, float | None]) -> Iterator[str]:
    """A reward model's accuracies with their 95 % intervals (Wilson)."""
    named = []
    for name, (share, number) in ACCURACIES.items():
        value, n = metrics.get(share), metrics.get(number)
        if value is not None and n and math.isfinite(value):
            low, high = intervals.wilson(value, round(n))
            named.append((name, {"value": value, "low": low, "high": high}))
    if named:
        title = "Accuracy on held-out pairs"
        drawn = svg_plots.intervals(f"{title} of {phase}", named)
        yield f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def _table(title: str, columns: Columns) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Metric", *columns))
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{"</td><td>".join(values)}</td></tr>'
        for key, values in cells(columns)
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
