"""What the folder of a recipe says about itself: every phase's metrics as text, JSON and a page.

Torch-free. The page is one file without scripts and without anything from elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from training.rlhf import calibration, curves, forest
from training.rlhf.report import STYLE
from training.rlhf.rundir import RunDirectory

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
    found = {name: meta for name in phases if (meta := run.stage_meta(name)) is not None}
    waiting = [name for name in phases if name not in found]
    metrics = {name: meta["metrics"] for name, meta in found.items()}
    (run.path / "summary.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    (run.path / "README.md").write_text(_markdown(run.path.name, found, waiting), "utf-8")
    (run.path / "report.html").write_text(_html(run, found, waiting), "utf-8")


def _figure(value: float | None) -> str:
    return "not a number" if value is None else format(value, ".4g")


def _markdown(title: str, found: Metas, waiting: Sequence[str]) -> str:
    lines = [f"# {title}\n"]
    if waiting:
        lines.append(f"Still to run: {', '.join(waiting)}.\n")
    for name, meta in found.items():
        lines += [f"## {name}\n", f"`{meta['recipe']['command']}`\n", *rows_of(meta["metrics"]), ""]
    return "\n".join(lines)


def rows_of(metrics: Mapping[str, float | None]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {key} | {_figure(value)} |" for key, value in metrics.items()]
    return ["| metric | value |", "|---|---|", *lines]


def _html(run: RunDirectory, found: Metas, waiting: Sequence[str]) -> str:
    title = escape(run.path.name)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}{LINE}</style></head><body><h1>{title}</h1>",
    ]
    if waiting:
        parts.append(f"<p>Still to run: {', '.join(waiting)}.</p>")
    for name, meta in found.items():
        parts.append(f"<h2>{name}</h2>")
        if (run.folder(name) / "report.html").is_file():
            parts.append(f'<p><a href="{name}/report.html">The comparison, with its plots</a></p>')
        drawn = [*_curves(run, name), *_accuracies(name, meta["metrics"])]
        if drawn:
            parts.append(f'<div class="plots">{"".join(drawn)}</div>')
        parts.append(_table(name, meta["metrics"]))
    return "\n".join([*parts, "</body></html>\n"])


def _curves(run: RunDirectory, phase: str) -> Iterator[str]:
    lines = [line for line in run.metrics() if line["stage"] == phase]
    for key, title in DRAWN.items():
        points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if points:
            drawn = curves.svg(f"{title} of {phase}", points)
            yield f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def _accuracies(phase: str, metrics: Mapping[str, float | None]) -> Iterator[str]:
    """A reward model's accuracies with their 95 % intervals (Wilson)."""
    named = []
    for name, (share, number) in ACCURACIES.items():
        value, n = metrics.get(share), metrics.get(number)
        if value is not None and n and math.isfinite(value):
            low, high = calibration.wilson(value, round(n))
            named.append((name, {"value": value, "low": low, "high": high}))
    if named:
        title = "Accuracy on held-out pairs"
        drawn = forest.svg(f"{title} of {phase}", named)
        yield f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def _table(phase: str, metrics: Mapping[str, float | None]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{_figure(value)}</td></tr>'
        for key, value in metrics.items()
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Metrics of {phase}"><table>'
        f'<thead><tr><th scope="col">Metric</th><th scope="col">Value</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
