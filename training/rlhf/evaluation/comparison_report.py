"""A comparison as files: its table as JSON, every reply, and a report to read and to send.

The HTML report is one file without scripts and without anything from elsewhere; its plots are SVG.
Torch-free.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.evaluation.comparison_metrics import MeasuredReply
from training.rlhf.evaluation.comparison_table import ALL
from training.rlhf.metrics import svg_plots

Table = Mapping[str, Any]
DASH = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"
MOST_GROUPS = 20
"""Tags with a table of their own, those of most prompts first."""

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d5d8dc, #42474e); }
:root { --accent: light-dark(#2b6cb0, #7fb3e6); }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.875rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; }
td { text-align: right; white-space: nowrap; } thead th { vertical-align: bottom; }
thead th + th { text-align: right; }
small { display: block; opacity: 0.75; } .sure { font-weight: 650; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: 0.75rem; border: 1px solid var(--line); border-radius: 6px; }
figcaption { font-size: 0.875rem; font-weight: 650; } svg { width: 100%; height: auto; }
svg text { fill: currentColor; font-size: 11px; } svg .grid { stroke: var(--line); }
svg .mark { stroke: var(--accent); stroke-width: 2; fill: var(--accent); }
.sample { padding: 0.75rem 0; border-top: 1px solid var(--line); }
.replies { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; } h3, h4 { margin: 0.5rem 0; }
"""


def write(
    out: Path, table: Table, replies: Mapping[str, Sequence[MeasuredReply]], *, samples: int
) -> None:
    """Write comparison.json, replies.jsonl, report.md and report.html into `out`.

    Args:
        samples: prompts whose replies the reports show; replies.jsonl has all.
    """
    text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "comparison.json").write_text(text + "\n", "utf-8")
    rows.write(
        out / "replies.jsonl", (asdict(one) for written in replies.values() for one in written)
    )
    shown = [list(group) for group in list(zip(*replies.values(), strict=True))[:samples]]
    (out / "report.md").write_text(markdown(table, shown), "utf-8")
    (out / "report.html").write_text(html(table, shown), "utf-8")


def figure(value: float | None) -> str:
    """Three significant digits; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return DASH
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    decimals = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:.{decimals}f}"


def interval(cell: Mapping[str, float | None], name: str = "") -> str:
    """Both ends of a 95 % interval, "" where there is none."""
    start = f"{name}_" if name else ""
    low, high = cell.get(f"{start}low"), cell.get(f"{start}high")
    return "" if low is None or high is None else f"[{figure(low)}, {figure(high)}]"


def is_sure(cell: Mapping[str, float | None]) -> bool:
    """True where the interval of the difference to the first model leaves out zero."""
    low, high = cell.get("difference_low"), cell.get("difference_high")
    return low is not None and high is not None and (low > 0 or high < 0)


def _part(cell: Mapping[str, float | None], prompts: int) -> str:
    """Of how many replies it is, where that is not all."""
    n = cell["n"]
    return f"of {n:g}" if n is not None and n < prompts else ""


def _conditions(table: Table) -> str:
    about, n = table["about"], table["groups"][ALL]["prompts"]
    first = table["models"][0]
    judged = "".join(f" Scores are by {name} ({path})." for name, path in about["scorers"].items())
    return (
        f"{n} prompts, one reply each, temperature {about['temperature']:g}, at most "
        f"{about['max_new_tokens']} new tokens, seed {about['seed']}. In brackets are 95 % "
        f"intervals: Wilson's for shares, else the bootstrap over prompts with "
        f"{about['resamples']} resamples. Differences and win rates are against {first}, paired by "
        f'prompt; bold ones have an interval that leaves out zero. A figure "of 12" is of so '
        f"many replies only. The starter of KL and perplexity is {about['starter']}.{judged}"
    )


def _groups(table: Table) -> list[tuple[str, Mapping[str, Any]]]:
    tags = [(name, group) for name, group in table["groups"].items() if name != ALL]
    return sorted(tags, key=lambda one: (-one[1]["prompts"], one[0]))[:MOST_GROUPS]


def _by_tag(table: Table) -> list[Mapping[str, Any]]:
    return [one for one in table["measures"] if one["by_tag"]]


def _arrow(measure: Mapping[str, str]) -> str:
    return {"higher": " \N{UPWARDS ARROW}", "lower": " \N{DOWNWARDS ARROW}", "": ""}[
        measure["better"]
    ]


# Markdown


def markdown(table: Table, samples: Sequence[Sequence[MeasuredReply]]) -> str:
    """The whole report as Markdown."""
    whole = table["groups"][ALL]
    parts = ["# Comparison\n", _literal(_conditions(table)) + "\n", "## All prompts\n"]
    parts += _markdown_table(whole, table["measures"])
    for name, group in _groups(table):
        parts += [f"\n## {_line(name)} ({group['prompts']} prompts)\n"]
        parts += _markdown_table(group, _by_tag(table))
    parts.append("\n## Replies\n")
    for replies in samples:
        parts += ["".join(_quoted(m["role"], m["content"]) for m in replies[0].messages)]
        parts += [_quoted(f"{one.model}{_note(one)}", one.text or "(empty)") for one in replies]
        parts.append("---\n")
    return "\n".join(parts)


def _markdown_table(group: Mapping[str, Any], measures: Sequence[Mapping[str, str]]) -> list[str]:
    models, prompts = group["models"], group["prompts"]
    head = [f"| measure | {' | '.join(map(_line, models))} |", "|---" * (len(models) + 1) + "|"]
    lines = []
    for measure in measures:
        cells = [_markdown_cell(of.get(measure["name"]), prompts) for of in models.values()]
        lines.append(f"| {_line(measure['title'])}{_arrow(measure)} | {' | '.join(cells)} |")
    return head + lines


def _markdown_cell(cell: Mapping[str, float | None] | None, prompts: int) -> str:
    if cell is None:
        return DASH
    text = " ".join(filter(None, (figure(cell["value"]), interval(cell), _part(cell, prompts))))
    if "difference" not in cell:
        return text
    change = f"{_signed(cell['difference'])} {interval(cell, 'difference')}".strip()
    return f"{text}; {f'**{change}**' if is_sure(cell) else change}"


def _line(text: str) -> str:
    """Free text, such as a name, where a line break would end a heading or a cell."""
    return " ".join(_literal(text).split())


def _literal(text: str) -> str:
    """Models write whatever they like: nothing of it is markup, loads a picture or ends a cell."""
    plain = re.sub(r"[\\`*_\[\]<>&#|~$]", r"\\\g<0>", text)
    plain = re.sub(r"(?m)^([ \t]*)([-+=])|^([ \t]*\d+)([.)])", r"\1\3\\\2\4", plain)
    return re.sub(r"(?m)^[ \t]+", lambda m: NBSP * len(m[0].expandtabs(4)), plain)


def _quoted(title: str, text: str) -> str:
    lines = "  \n".join(f"> {line}" for line in _literal(text).splitlines())
    return f"**{_line(title)}**\n\n{lines}\n\n"


def _note(reply: MeasuredReply) -> str:
    scores = [f"{k[6:]} {figure(v)}" for k, v in reply.numbers.items() if k.startswith("score_")]
    note = ", ".join([*scores, *([reply.fault] if reply.fault else [])])
    return f" ({note})" if note else ""


def _signed(value: float | None) -> str:
    return DASH if value is None else ("+" if value > 0 else "") + figure(value)


# HTML


def html(table: Table, samples: Sequence[Sequence[MeasuredReply]]) -> str:
    """The whole report as one HTML file."""
    whole = table["groups"][ALL]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Comparison</title><style>{STYLE}</style></head><body><h1>Comparison</h1>",
        f"<p>{escape(_conditions(table))}</p><h2>All prompts</h2>",
        _html_table(whole, table["measures"], "All prompts"),
        f'<h2>Plots</h2><div class="plots">{_plots(table)}</div>',
    ]
    for name, group in _groups(table):
        title = f"{name} ({group['prompts']} prompts)"
        parts.append(f"<h2>{escape(title)}</h2>")
        parts.append(_html_table(group, _by_tag(table), title))
    parts.append("<h2>Replies</h2>")
    parts += [_html_sample(replies) for replies in samples]
    return "\n".join([*parts, "</body></html>\n"])


def _html_table(group: Mapping[str, Any], measures: Sequence[Mapping[str, str]], title: str) -> str:
    models, prompts = group["models"], group["prompts"]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in models)
    body = "".join(
        f'<tr><th scope="row">{escape(measure["title"])}{_arrow(measure)}</th>'
        + "".join(_html_cell(of.get(measure["name"]), prompts) for of in models.values())
        + "</tr>"
        for measure in measures
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table><thead>'
        f'<tr><th scope="col">Measure</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _html_cell(cell: Mapping[str, float | None] | None, prompts: int) -> str:
    if cell is None:
        return f"<td>{DASH}</td>"
    below = f"{interval(cell)} {_part(cell, prompts)}".strip()
    text = f"{figure(cell['value'])}<small>{below}</small>"
    if "difference" in cell:
        change = f"{_signed(cell['difference'])} {interval(cell, 'difference')}"
        text += f"<small{' class=sure' if is_sure(cell) else ''}>{change}</small>"
    return f"<td>{text}</td>"


def _plots(table: Table) -> str:
    models = table["groups"][ALL]["models"]
    plots = []
    for measure in table["measures"]:
        cells = [(name, cells.get(measure["name"])) for name, cells in models.items()]
        drawn = [(name, cell) for name, cell in cells if cell and cell["value"] is not None]
        if drawn:
            title = f"<figcaption>{escape(measure['title'])}{_arrow(measure)}</figcaption>"
            plots.append(f"<figure>{title}{svg_plots.intervals(measure['title'], drawn)}</figure>")
    return "".join(plots)


def _html_sample(replies: Sequence[MeasuredReply]) -> str:
    chat = "".join(
        f'<p class="text"><b>{escape(m["role"])}</b> {escape(m["content"])}</p>'
        for m in replies[0].messages
    )
    columns = "".join(
        f"<div><h4>{escape(one.model)}{escape(_note(one))}</h4>"
        f'<p class="text">{escape(one.text) or "(empty)"}</p></div>'
        for one in replies
    )
    return f'<section class="sample">{chat}<div class="replies">{columns}</div></section>'
