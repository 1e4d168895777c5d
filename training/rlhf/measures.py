"""What is measured on replies, and the table of any number of models beside each other.

Torch-free. Every reply carries numbers; a measure pools some of them over a group of replies. One
table serves rounds, the `compare` command and the report: value, 95 % interval, and difference to
the first model with its own interval, paired by prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from training.rlhf import intervals, overlap, text_metrics
from training.rlhf.acquire import Floats
from training.rlhf.calibration import wilson
from training.rlhf.response_filter import FAULTS, fault
from training.rlhf.rows import Message

ALL = "all"
"""Name of the group of all prompts; the others are tags."""
Better = Literal["higher", "lower", ""]
"""Which way is good; "" where neither is by itself."""
LEAST = 10
"""Replies below which nothing is resampled: of two replies the percentiles are these two, which
hold the truth half of the time, of five 85 %, of ten 90 %."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's reply to one prompt with everything that was measured on it."""

    model: str
    prompt_id: str
    messages: list[Message]
    tags: tuple[str, ...] = ()
    reference: str = ""
    text: str
    finished: bool
    fault: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How numbers of single replies become one of a group."""

    name: str
    title: str
    better: Better = ""
    columns: tuple[str, ...] = ()
    """Numbers of a reply that are summed; replies that lack one are left out."""
    pool: intervals.Pool = lambda sums, n: float(sums[0]) / n
    share: bool = False
    """A mean of zeros, halves and ones: its own interval is Wilson's, which is right where all
    replies are alike too. Differences are resampled like any other."""
    of_texts: Callable[[Sequence[str]], float] | None = None
    """Instead of numbers: a property of the set of texts. It falls or rises with their number,
    so that resamples, which repeat texts, would not tell its interval."""


def _mean(
    name: str, title: str, better: Better = "", *, column: str = "", share: bool = False
) -> Measure:
    return Measure(name=name, title=title, better=better, columns=(column or name,), share=share)


def _perplexity(sums: Floats, _n: int) -> float:
    """exp of the negative log-likelihood per token, over all replies together."""
    return math.exp(min(700.0, float(sums[0] / sums[1])))


TEXT = (
    _mean("rouge1", "ROUGE-1", "higher"),
    _mean("rouge2", "ROUGE-2", "higher"),
    _mean("rougeL", "ROUGE-L", "higher"),
    Measure(
        name="bleu",
        title="BLEU",
        better="higher",
        columns=overlap.BLEU_COUNTS,
        pool=lambda sums, _n: overlap.bleu([float(value) for value in sums]),
    ),
    _mean("meteor_exact_stem", "METEOR (exact and stem)", "higher"),
    _mean("meteor", "METEOR", "higher"),
    Measure(
        name="reference_perplexity",
        title="Perplexity of the references under the model",
        better="lower",
        columns=("reference_nll", "reference_tokens"),
        pool=_perplexity,
    ),
    _mean("kl", "KL to the starter (nats per reply)"),
    Measure(
        name="perplexity",
        title="Perplexity of the replies under the starter",
        columns=("nll", "nll_tokens"),
        pool=_perplexity,
    ),
    _mean("length", "Length (tokens)"),
    Measure(name="distinct1", title="Distinct-1", of_texts=lambda t: text_metrics.distinct(t, 1)),
    Measure(name="distinct2", title="Distinct-2", of_texts=lambda t: text_metrics.distinct(t, 2)),
    Measure(name="self_bleu", title="Self-BLEU", better="lower", of_texts=overlap.self_bleu),
    _mean("repetition", "Repetition within a reply", "lower"),
    _mean("refusal_rate", "Refusals", column="refused", share=True),
    _mean("broken_rate", "Broken replies", "lower", column="broken", share=True),
    *(
        _mean(f"{name}_rate", f"Broken: {name}", "lower", column=name, share=True)
        for name in FAULTS
    ),
)
"""Everything but rewards and wins, which depend on who judges."""


def measures(scorers: Iterable[str], *, judged: bool = False) -> list[Measure]:
    """All measures of a comparison, those by which a model is chosen first."""
    found = []
    for name in scorers:
        found.append(_mean(f"score_{name}", f"Score by {name}", "higher"))
        found.append(_mean(f"win_rate_{name}", f"Win rate by {name}", "higher", share=True))
    found.append(_mean("people_win_rate", "Win rate by people", "higher", share=True))
    if judged:
        title = "Win rate by the reading judge"
        found.append(_mean("judged_win_rate", title, "higher", share=True))
        title = "Reading judge: same verdict in both orders"
        found.append(_mean("position_consistency", title, share=True))
    return [*found, *TEXT]


def numbers_of(text: str, reference: str, *, finished: bool, tokens: int) -> dict[str, float]:
    """What a reply's text alone says, and its overlap with the reference where there is one."""
    wrong = fault(text, finished=finished)
    found: dict[str, float] = {
        "length": float(tokens),
        "repetition": text_metrics.repetition(text),
        "refused": float(text_metrics.refused(text)),
        "broken": float(bool(wrong)),
        **{str(name): float(name == wrong) for name in FAULTS},
    }
    return found | (overlap.overlap(text, reference) if reference else {})


def points(mine: Answer, other: Answer, *, scorer: str) -> float:
    """1 where a reply scores higher than the other's, 0 where lower; equal texts and scores 1/2."""
    a, b = mine.numbers[f"score_{scorer}"], other.numbers[f"score_{scorer}"]
    return 0.5 if mine.text == other.text or a == b else float(a > b)


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn."""

    draws: int
    seed: int = 0


Cell = dict[str, float | None]


def table(
    answers: Mapping[str, Sequence[Answer]], found: Sequence[Measure], how: Resampling
) -> dict[str, Any]:
    """Every measure of every model on all prompts and on each tag.

    Args:
        answers: by model, in one order of prompts; the first model is what others are compared to.

    Returns:
        {"models": [names], "measures": [{"name", "title", "better"}], "groups": {"all" or a tag:
        {"prompts": n, "models": {model: {measure: {"value", "n", "low", "high", "difference",
        "difference_low", "difference_high"}}}}}}; what was not measured is left out.
    """
    asked = next(iter(answers.values()))
    tags = sorted({tag for answer in asked for tag in answer.tags} - {ALL})
    members = {ALL: list(range(len(asked)))}
    members |= {tag: [i for i, answer in enumerate(asked) if tag in answer.tags] for tag in tags}
    groups: dict[str, Any] = {}
    for name, places in members.items():
        part = {model: [every[i] for i in places] for model, every in answers.items()}
        groups[name] = {"prompts": len(places), "models": _group(part, found, how)}
    shown = {measure for cells in groups[ALL]["models"].values() for measure in cells}
    named = [
        {"name": measure.name, "title": measure.title, "better": measure.better}
        for measure in found
        if measure.name in shown
    ]
    return {"models": list(answers), "measures": named, "groups": groups}


def _group(
    answers: Mapping[str, Sequence[Answer]], found: Sequence[Measure], how: Resampling
) -> dict[str, dict[str, Cell]]:
    first = next(iter(answers))
    cells: dict[str, dict[str, Cell]] = {model: {} for model in answers}
    for measure in found:
        if measure.of_texts is not None:
            for model, rows in answers.items():
                value = measure.of_texts([answer.text for answer in rows])
                cells[model][measure.name] = {"value": value, "n": len(rows)}
            continue
        drawn = {model: _drawn(rows, measure, how) for model, rows in answers.items()}
        for model, one in drawn.items():
            if one is not None:
                base = drawn[first] if model != first else None
                cells[model][measure.name] = _cell(one, base, share=measure.share)
    return cells


@dataclass(frozen=True)
class _Drawn:
    """A measure of one model: its value and what it was in every resample."""

    value: float
    rows: tuple[int, ...]
    values: Floats


def _drawn(rows: Sequence[Answer], measure: Measure, how: Resampling) -> _Drawn | None:
    has = [i for i, row in enumerate(rows) if all(c in row.numbers for c in measure.columns)]
    if not has:
        return None
    statistics = np.array([[rows[i].numbers[c] for c in measure.columns] for i in has])
    value = measure.pool(statistics.sum(0), len(has))
    few = len(has) < LEAST or not how.draws
    values = (
        np.zeros(0)
        if few
        else intervals.pooled(statistics, measure.pool, draws=how.draws, seed=how.seed)
    )
    return _Drawn(value, tuple(has), values)


def _cell(one: _Drawn, base: _Drawn | None, *, share: bool) -> Cell:
    cell: Cell = {"value": _finite(one.value), "n": len(one.rows)}
    if share or len(one.values):
        low, high = wilson(one.value, len(one.rows)) if share else intervals.percentiles(one.values)
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
