"""The report of a model's check as lines for people: what was seen of it, and what to mind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.figures.number_format import figure, megabytes

Report = Mapping[str, Any]
GIGABYTE = 1e9
LEAST_GIB = 0.1
TIGHT = 0.8
"""Of the free memory: what needs more may not fit beside other work."""


def rows(report: Report) -> list[tuple[str, str]]:
    """Names and values, as far as the report has them."""
    return list(_rows(report))


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    if report.get("architecture"):
        yield "Kind", f"{report['kind']} ({report['architecture']})"
    if report.get("model"):
        yield "Model of the server", str(report["model"])
    if report.get("parameters"):
        yield "Size", f"{_count(report['parameters'])} weights, {_size(report['bytes'])}"
    if report.get("replies"):
        yield "Stops by itself", f"in {report['stopped']} of {report['replies']} replies"
    if "template" in report:
        yield "Chat template", "there" if report["template"] else "none"
    if "context" in report:
        context = report["context"]
        yield "Context", f"{context:,} tokens" if context else "not limited by its settings"
    if "licence" in report:
        yield "Licence", report["licence"] or "its files name none"
    if report.get("memory"):
        yield from _memory(report)
    if report.get("tokens_per_second"):
        yield "Speed here", f"{figure(report['tokens_per_second'])} tokens a second"
    if "score" in report:
        yield "Score of a sample reply", figure(report["score"])
    if report.get("commit"):
        yield "Commit", str(report["commit"])[:12]


def _memory(report: Report) -> Iterator[tuple[str, str]]:
    needed = report["memory"]
    if report["kind"] == "policy":
        ways = (("writing", "to write"), ("lora", "to train with LoRA"), ("full", "to train whole"))
        told = "; ".join(f"{_gib(needed[key])} {words}" for key, words in ways if key in needed)
        yield "Memory, about", told
    if report.get("free_memory"):
        where = "GPU memory" if report.get("device") == "cuda" else "memory"
        yield "Free where it ran", f"{report['free_memory']:.1f} GiB of {where}"


def warnings(report: Report) -> list[str]:
    """Sentences on what somebody should know before relying on the model."""
    return list(_warnings(report))


def _warnings(report: Report) -> Iterator[str]:
    replies, stopped = report.get("replies", 0), report.get("stopped", 0)
    if replies and not stopped:
        yield (
            "It never stopped by itself: every reply ran into the length limit. Base models do; "
            "for people to compare, take one that was tuned on instructions."
        )
    elif replies and stopped < replies / 2:
        yield "More than half of its replies ran into the length limit."
    if report.get("repeats_itself"):
        yield (
            "Its replies to one prompt are equal, whatever temperature it is asked for: it seems "
            "to answer greedily. Such replies make no pairs. Look at the settings of its server."
        )
    if report.get("template") is False:
        yield (
            "It has no chat template. Turns are written down plainly for it; it can be compared, "
            "but rounds cannot train it."
        )
    if "licence" in report and not report["licence"]:
        yield "Its files name no licence. Look where it comes from whether you may use it."
    free, needed = report.get("free_memory") or 0.0, report.get("memory", {})
    if report.get("kind") == "policy" and free and needed.get("lora", 0.0) > TIGHT * free:
        yield (
            f"Training it takes about {needed['lora']:.1f} GiB even with LoRA, and {free:.1f} GiB "
            "were free."
        )


def _gib(size: float) -> str:
    return f"{size:.1f} GiB" if size >= LEAST_GIB else f"less than {LEAST_GIB} GiB"


def _count(parameters: int) -> str:
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if parameters >= unit:
            return f"{parameters / unit:.3g} {name}"
    return f"{parameters:,}"


def _size(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB" if size >= GIGABYTE else megabytes(size)
