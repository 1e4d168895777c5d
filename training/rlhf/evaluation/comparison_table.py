"""What is measured on replies, and the table of any number of models beside each other.

Torch-free. Every reply carries numbers; a measure pools some of them over a group of replies. One
table serves rounds, the `compare` command and the report: value, 95 % interval, and difference to
the first model with its own interval, paired by prompt.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from training.rlhf.metrics import intervals, overlap, text_metrics
from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.reply_faults import FAULTS, fault
from training.rlhf.rows import Message

ALL = "all"
"""Name of the group of all prompts; the others are tags."""
MOST_TAGS = 50
"""With figures of their own, those of most prompts first: a tag per prompt would say nothing."""
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
    pool: Callable[[Floats, int], Floats] = lambda sums, n: sums[..., 0] / n
    """What sums (..., K) of the K columns over n replies say, (...)."""
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


def _perplexity(sums: Floats, _n: int) -> Floats:
    """exp of the negative log-likelihood per token, over all replies together."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found: Floats = np.exp(sums[..., 0] / sums[..., 1])
    return found


TEXT = (
    _mean("rouge1", "ROUGE-1", "higher"),
    _mean("rouge2", "ROUGE-2", "higher"),
    _mean("rougeL", "ROUGE-L", "higher"),
    Measure(
        name="bleu",
        title="BLEU",
        better="higher",
        columns=overlap.BLEU_COUNTS,
        pool=lambda sums, _n: overlap.bleu(sums),
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
    _mean("refusal_rate", "Refusals (by English phrases)", column="refused", share=True),
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
        title = "Reading judge: no verdict"
        found.append(_mean("judge_silent_rate", title, "lower", column="judge_silent", share=True))
    return [*found, *TEXT]


def numbers_of(
    text: str, reference: str, *, finished: bool, tokens: int, refusals: Iterable[str] = ()
) -> dict[str, float]:
    """What a reply's text alone says, and its overlap with the reference where there is one.

    Args:
        refusals: as for `text_metrics.refused`.
    """
    wrong = fault(text, finished=finished)
    found: dict[str, float] = {
        "length": float(tokens),
        "repetition": text_metrics.repetition(text),
        "refused": float(text_metrics.refused(text, refusals)),
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
    """Every measure of every model on all prompts and on each of the MOST_TAGS commonest tags.

    Args:
        answers: by model, in one order of prompts; the first model is what others are compared to.

    Returns:
        {"models": [names], "measures": [{"name", "title", "better"}], "groups": {"all" or a tag:
        {"prompts": n, "models": {model: {measure: {"value", "n", "low", "high", "difference",
        "difference_low", "difference_high"}}}}}}; what was not measured is left out.
    """
    asked = next(iter(answers.values()))
    tagged = Counter(tag for answer in asked for tag in set(answer.tags) - {ALL})
    tags = sorted(sorted(tagged, key=lambda tag: (-tagged[tag], tag))[:MOST_TAGS])
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
    summed = [measure for measure in found if measure.of_texts is None]
    cells: dict[str, dict[str, Cell]] = {}
    base: dict[str, _Drawn] = {}
    for model, rows in answers.items():
        drawn = _drawn(rows, summed, how)
        cells[model] = {
            measure.name: _cell(drawn[measure.name], base.get(measure.name), share=measure.share)
            for measure in summed
            if measure.name in drawn
        }
        texts = [answer.text for answer in rows]
        for measure in found:
            if measure.of_texts is not None:
                cells[model][measure.name] = {"value": measure.of_texts(texts), "n": len(rows)}
        base = base or drawn
    return cells


@dataclass(frozen=True)
class _Drawn:
    """A measure of one model: its value and what it was in every resample."""

    value: float
    rows: tuple[int, ...]
    values: Floats


def _drawn(rows: Sequence[Answer], found: Sequence[Measure], how: Resampling) -> dict[str, _Drawn]:
    """Every measure of one model; those of the same replies are resampled together."""
    together: dict[tuple[int, ...], list[Measure]] = defaultdict(list)
    for measure in found:
        has = [i for i, row in enumerate(rows) if row.numbers.keys() >= set(measure.columns)]
        if has:
            together[tuple(has)].append(measure)
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
