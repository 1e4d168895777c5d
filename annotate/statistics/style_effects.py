"""Effects of a reply's look, rather than its content, on votes.

A Bradley-Terry model of style alone, after the style control of Chatbot Arena (Li, Angelopoulos
and Chiang, "Does style matter?", LMSYS 2024): a logistic regression, without intercept, of the
votes on how much more of each element A has than B. Every feature changes its sign with the
sides, so which reply is called A cannot matter. Intervals are cluster-robust (Liang and Zeger
1986): votes on one prompt are alike and count together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.wilson_interval import NORMAL_95

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ELEMENTS = ("length", "headings", "lists", "bold", "code")
FEWEST = 50
"""Prompts below which the robust intervals are too narrow."""
FEWEST_DIFFER = 20
"""Prompts whose replies must differ in an element for it to have an effect."""
STEPS = 30
DECISIVE = 15.0  # log odds per standard difference: the fit runs away, one element decides all

# The texts are anybody's. No pattern can go back over what it has read: repeats exclude what
# must follow them, and blank lines are not part of a repeat.
_CODE = re.compile(r"```[^`]*(?:```)?|`[^`\n]+`")
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)]) ", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Effect of an element on the log odds of being preferred.

    Per standard difference: the root mean square of log(1 + count) of one reply minus that of
    the other. Length counts characters.
    """

    element: str
    coefficient: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class StyleFit:
    """`missing` names elements without an effect to show, and why."""

    votes: int
    prompts: int
    effects: list[Effect]
    missing: dict[str, str]
    longer: float | None
    """Share of the votes that went to the longer reply, equal lengths half; None without votes."""
    longer_interval: tuple[float, float] | None


def elements(text: str) -> tuple[float, ...]:
    """log(1 + count) of each of `ELEMENTS`; markdown inside code does not count."""
    plain = _CODE.sub("", text)
    counts = (
        len(text),
        len(_HEADING.findall(plain)),
        len(_ITEM.findall(plain)),
        len(_BOLD.findall(plain)),
        len(_CODE.findall(text)),
    )
    return tuple(np.log1p(counts).tolist())


def fit(differences: Floats | Sequence[Sequence[float]], won: Ints, prompts: Ints) -> StyleFit:
    """Fit votes on style.

    `differences` (votes, elements) are A's elements minus B's, `won` (votes) is 1 where A was
    preferred and 0 where B was, `prompts` (votes) names each vote's prompt. Ties stay outside.
    """
    x = np.asarray(differences, dtype=np.float64).reshape(-1, len(ELEMENTS))
    _, cluster = np.unique(prompts, return_inverse=True)
    clusters = int(cluster.max(initial=-1)) + 1
    if clusters < FEWEST:
        effects: list[Effect] = []
        missing = dict.fromkeys(ELEMENTS, f"too few prompts: {FEWEST} are needed")
    else:
        effects, missing = _effects(x, won, cluster)
    longer, interval = _longer(x[:, 0], won, cluster)
    return StyleFit(
        votes=len(x),
        prompts=clusters,
        effects=effects,
        missing=missing,
        longer=longer,
        longer_interval=interval if clusters >= FEWEST else None,
    )


def _effects(x: Floats, won: Ints, cluster: Ints) -> tuple[list[Effect], dict[str, str]]:
    """The effects, and why elements have none."""
    scale = np.sqrt((x * x).mean(axis=0))
    # A handful of prompts that all went one way would have an endless effect, and spoil the fit.
    differ = np.array([len(np.unique(cluster[column != 0])) for column in x.T])
    known = differ >= FEWEST_DIFFER
    used = [name for name, is_known in zip(ELEMENTS, known, strict=True) if is_known]
    missing = {
        name: f"replies differ in it on {n} prompts only" if n else "no two replies differ in it"
        for name, n in zip(ELEMENTS, differ.tolist(), strict=True)
        if n < FEWEST_DIFFER
    }
    estimates = logistic(x[:, known] / scale[known], won, cluster)
    if estimates is None:
        return [], missing | dict.fromkeys(used, "not defined: style alone decides every vote")
    effects = [
        Effect(element=name, coefficient=at, low=at - half, high=at + half)
        for name, at, half in zip(used, *estimates, strict=True)
    ]
    return effects, missing


def logistic(x: Floats, y: Ints, cluster: Ints) -> tuple[list[float], list[float]] | None:
    """Maximum-likelihood coefficients without intercept, and half their 95 % intervals.

    Newton's method. None where the likelihood has no maximum (a perfect prediction) or the
    columns of `x` (votes, k) are linearly dependent.
    """
    beta = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 0.5 + 0.5 * np.tanh(x @ beta / 2)
        hessian = (x.T * (p * (1 - p))) @ x
        if not hessian.size or np.linalg.cond(hessian) > 1e10:
            return None
        step = np.linalg.solve(hessian, x.T @ (y - p))
        beta = beta + step
        if np.abs(beta).max() > DECISIVE:
            return None
        if np.abs(step).max() < 1e-9:
            break
    else:
        return None
    bread = np.linalg.inv(hessian)
    scores = _per_cluster(x * (y - p)[:, None], cluster)
    n = len(scores)
    covariance = bread @ (scores.T @ scores) @ bread * (n / (n - 1))
    return beta.tolist(), (NORMAL_95 * np.sqrt(np.diag(covariance))).tolist()


def _per_cluster(rows: Floats, cluster: Ints) -> Floats:
    return np.stack([np.bincount(cluster, weights=column) for column in rows.T], axis=1)


def _longer(
    length: Floats, won: Ints, cluster: Ints
) -> tuple[float | None, tuple[float, float] | None]:
    """Share of decided votes that the longer reply won, with a cluster-robust interval."""
    if not len(won):
        return None, None
    hit = np.where(length == 0, 0.5, (length > 0) == (won == 1))
    share = float(hit.mean())
    around = np.bincount(cluster, weights=hit - share)
    half = NORMAL_95 * float(np.sqrt(around @ around)) / len(hit)
    return share, (max(0.0, share - half), min(1.0, share + half))
