"""The metrics of a comparison, one line each in METRICS, and the numbers of a reply behind them.

Torch-free. Every reply carries numbers; a metric pools some of them over a group of replies
(`comparison_table`). To add a metric of the text, write its function and its line of METRICS: the
report, comparison.json, intervals and rounds take it from there, and docs/metrics.md explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.texts import diversity_and_refusals, rouge_bleu_meteor, style_habits
from training.rlhf.metrics.texts.broken_replies import FAULTS, Fault, fault
from training.rlhf.rows import Message

Better = Literal["higher", "lower", ""]
"""The direction that is good; "" where neither is by itself."""


@dataclass(frozen=True, kw_only=True)
class MeasuredReply:
    """A model's reply to one prompt with everything that was measured on it.

    A line of replies.jsonl: the names of the fields are on disk.
    """

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
class ReplyText:
    """A reply as the metrics of texts read it."""

    text: str
    tokens: int
    fault: Fault
    refusals: tuple[str, ...] = ()
    """Phrases of refusals beside the English ones."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The rule by which numbers of single replies become one of a group."""

    name: str
    title: str
    better: Better = ""
    of_text: Callable[[ReplyText], float] | None = None
    """The number of one reply by its text alone, kept in the first column. None: it comes from
    elsewhere, such as a model, a judge or a reference."""
    columns: tuple[str, ...] = ()
    """Numbers of a reply that are summed; replies that lack one are left out."""
    pool: Callable[[Floats, int], Floats] = lambda sums, n: sums[..., 0] / n
    """The figure, (...), from the sums (..., K) of the K columns over n replies."""
    share: bool = False
    """A mean of zeros, halves and ones: its own interval is Wilson's, which is right where all
    replies are alike too. Differences are resampled like any other."""
    of_texts: Callable[[Sequence[str]], float] | None = None
    """Instead of numbers: a property of the set of texts. It falls or rises with their number,
    so that resamples, which repeat texts, would not tell its interval."""
    by_tag: bool = False
    """True when the report's tables by tag hold it too; comparison.json holds all metrics there."""


def _mean(
    name: str,
    title: str,
    better: Better = "",
    *,
    of_text: Callable[[ReplyText], float] | None = None,
    column: str = "",
    share: bool = False,
    by_tag: bool = False,
) -> Metric:
    """A mean over replies of one number, which is called `column` where not as the metric."""
    return Metric(
        name=name,
        title=title,
        better=better,
        of_text=of_text,
        columns=(column or name,),
        share=share,
        by_tag=by_tag,
    )


def _win_rate(name: str, title: str) -> Metric:
    return _mean(name, title, "higher", share=True, by_tag=True)


def _perplexity(sums: Floats, _n: int) -> Floats:
    """exp of the negative log-likelihood per token, over all replies together."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pooled: Floats = np.exp(sums[..., 0] / sums[..., 1])
    return pooled


def _has(name: Fault) -> Callable[[ReplyText], float]:
    return lambda reply: float(reply.fault == name)


def _shows(habit: Callable[[str], bool]) -> Callable[[ReplyText], float]:
    return lambda reply: float(habit(reply.text))


METRICS = (
    _mean("rouge1", "ROUGE-1", "higher"),
    _mean("rouge2", "ROUGE-2", "higher"),
    _mean("rougeL", "ROUGE-L", "higher", by_tag=True),
    Metric(
        name="bleu",
        title="BLEU",
        better="higher",
        columns=rouge_bleu_meteor.BLEU_COUNTS,
        pool=lambda sums, _n: rouge_bleu_meteor.bleu(sums),
    ),
    _mean("meteor_exact_stem", "METEOR (exact and stem)", "higher"),
    _mean("meteor", "METEOR", "higher"),
    Metric(
        name="reference_perplexity",
        title="Perplexity of the references under the model",
        better="lower",
        columns=("reference_nll", "reference_tokens"),
        pool=_perplexity,
    ),
    _mean("kl", "KL to the starter (nats per reply)"),
    Metric(
        name="perplexity",
        title="Perplexity of the replies under the starter",
        columns=("nll", "nll_tokens"),
        pool=_perplexity,
    ),
    _mean("length", "Length (tokens)", of_text=lambda reply: float(reply.tokens)),
    Metric(
        name="distinct1",
        title="Distinct-1",
        of_texts=lambda t: diversity_and_refusals.distinct(t, 1),
    ),
    Metric(
        name="distinct2",
        title="Distinct-2",
        of_texts=lambda t: diversity_and_refusals.distinct(t, 2),
    ),
    Metric(
        name="self_bleu", title="Self-BLEU", better="lower", of_texts=rouge_bleu_meteor.self_bleu
    ),
    _mean(
        "repetition",
        "Repetition within a reply",
        "lower",
        of_text=lambda reply: diversity_and_refusals.repetition(reply.text),
    ),
    _mean(
        "refusal_rate",
        "Refusals (by English phrases)",
        of_text=lambda reply: float(diversity_and_refusals.refused(reply.text, reply.refusals)),
        column="refused",
        share=True,
        by_tag=True,
    ),
    *(
        _mean(
            f"{name}_rate",
            title,
            of_text=_shows(habit),
            column=name,
            share=True,
        )
        for name, title, habit in (
            ("flattery", "Flattery (by English phrases)", style_habits.flatters),
            ("hedging", "Hedging (by English phrases)", style_habits.hedges),
            ("markdown", "Markdown", style_habits.has_markdown),
        )
    ),
    _mean(
        "broken_rate",
        "Broken replies",
        "lower",
        of_text=lambda reply: float(bool(reply.fault)),
        column="broken",
        share=True,
        by_tag=True,
    ),
    *(
        _mean(
            f"{name}_rate", f"Broken: {name}", "lower", of_text=_has(name), column=name, share=True
        )
        for name in FAULTS
    ),
)
"""Every metric but rewards and wins, which depend on who judges."""


def metrics(scorers: Iterable[str], *, judged: bool = False) -> list[Metric]:
    """All metrics of a comparison, those by which a model is chosen first.

    Args:
        scorers: names of its reward models.
        judged: whether a model reads both replies.
    """
    chosen_by = []
    for name in scorers:
        chosen_by.append(_mean(f"score_{name}", f"Score by {name}", "higher", by_tag=True))
        chosen_by.append(_win_rate(f"win_rate_{name}", f"Win rate by {name}"))
    chosen_by.append(_win_rate("people_win_rate", "Win rate by people"))
    if judged:
        chosen_by.append(_win_rate("judged_win_rate", "Win rate by the reading judge"))
        title = "Reading judge: same verdict in both orders"
        chosen_by.append(_mean("position_consistency", title, share=True))
        title = "Reading judge: no verdict"
        silent = _mean("judge_silent_rate", title, "lower", column="judge_silent", share=True)
        chosen_by.append(silent)
    return [*chosen_by, *METRICS]


def text_numbers(
    text: str, reference: str, *, finished: bool, tokens: int, refusals: Iterable[str] = ()
) -> dict[str, float]:
    """The numbers of a reply by its text alone, and its overlap with a reference if there is one.

    Args:
        refusals: as for `diversity_and_refusals.refused`.
    """
    reply = ReplyText(
        text=text,
        tokens=tokens,
        fault=fault(text, finished=finished),
        refusals=tuple(refusals),
    )
    numbers = {
        metric.columns[0]: metric.of_text(reply) for metric in METRICS if metric.of_text is not None
    }
    return numbers | (rouge_bleu_meteor.overlap(text, reference) if reference else {})


def points(mine: MeasuredReply, other: MeasuredReply, *, scorer: str) -> float:
    """1 where a reply scores higher than the other's, 0 where lower; equal texts and scores 1/2."""
    a, b = mine.numbers[f"score_{scorer}"], other.numbers[f"score_{scorer}"]
    return 0.5 if mine.text == other.text or a == b else float(a > b)
