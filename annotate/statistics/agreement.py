"""Agreement between annotators, from the votes each pair got for A, tie and B.

Everything here is a function of sums over pairs, so pairs can be counted in batches, in any
order, and resampled as counts of their distinct vote patterns. Undefined values are None and
carry a sentence that says why; they are never NaN.

References: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011); Fleiss (1971) for
kappa, in the form that allows a different number of votes on every pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.wilson_interval import NORMAL_95, wilson

Counts = NDArray[np.int64]
Sums = NDArray[np.float64]

STATISTICS = ("raw", "alpha_nominal", "alpha_ordinal", "fleiss_kappa")
RESAMPLES = 1000
MANY = 500
"""Distinct prompts beyond which the totals of a resample are drawn as normal, which they nearly
are by then, instead of prompt by prompt."""
NO_WIDTH = 1e-9  # what rounding leaves of an interval without width

NO_OVERLAP = "Not defined: no pair has two votes yet."
ONE_CLASS = (
    "Not defined: every vote is the same answer, so there is no chance agreement to compare with."
)
ONE_CLUSTER = "No interval: all votes are on pairs of one prompt."
NO_SPREAD = "No interval: every prompt shows the same agreement, so resampling cannot vary it."


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Statistics over the pairs with at least two votes, each with its 95 % interval."""

    pairs: int
    votes: int
    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    explanations: dict[str, str]
    """Why a value or an interval is missing, by the statistic's name."""


def overlapping(counts: Counts) -> NDArray[np.bool_]:
    """Mask of the rows of (pairs, 3) counts with the two votes that agreement needs."""
    return np.asarray(counts.sum(axis=1) >= 2, dtype=bool)


def sums(counts: Counts) -> Sums:
    """Rows (pairs, 3) of votes for A, tie, B -> rows (pairs, 8) whose sums give every statistic.

    Rows with fewer than two votes become zeros: they say nothing about agreement.
    """
    n = np.asarray(counts, dtype=np.float64).reshape(-1, 3)
    m = n.sum(axis=1)
    used = m >= 2
    others = np.where(used, m - 1, 1)
    agree = ((n * n).sum(axis=1) - m) / np.where(used, m * others, 1)
    a, tie, b = n.T
    # Pairs, agreement summed over pairs, disagreeing vote pairs A-tie, tie-B and A-B (each over
    # m - 1), votes for A, tie and B.
    columns = [
        np.ones_like(m),
        agree,
        a * tie / others,
        tie * b / others,
        a * b / others,
        a,
        tie,
        b,
    ]
    return np.where(used[:, None], np.stack(columns, axis=1), 0.0)


def statistics(totals: Sums) -> dict[str, NDArray[np.float64]]:
    """Every statistic for rows (..., 8) of totals; NaN where it is not defined."""
    pairs, agree, a, tie, b = (totals[..., column] for column in (0, 1, 5, 6, 7))
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = agree / pairs
        votes = a + tie + b
        chance = (a * a + tie * tie + b * b) / (votes * votes)
        return {
            "raw": raw,
            "alpha_nominal": _alpha(totals, (1.0, 1.0, 1.0)),
            "alpha_ordinal": _alpha(totals, _ordinal(a, tie, b)),
            "fleiss_kappa": np.where(1 - chance > 1e-12, (raw - chance) / (1 - chance), np.nan),
        }


def _alpha(totals: Sums, distances: tuple[float | NDArray[np.float64], ...]) -> NDArray[np.float64]:
    """Krippendorff's alpha for squared distances (A-tie, tie-B, A-B)."""
    _, _, a_tie, tie_b, a_b, a, tie, b = np.moveaxis(totals, -1, 0)
    d1, d2, d3 = distances
    observed = a_tie * d1 + tie_b * d2 + a_b * d3
    expected = a * tie * d1 + tie * b * d2 + a * b * d3
    return np.where(expected > 0, 1 - (a + tie + b - 1) * observed / expected, np.nan)


def _ordinal(
    a: NDArray[np.float64], tie: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Squared ordinal distances for A < tie < B, from how often each answer was given."""
    return ((a + tie) / 2) ** 2, ((tie + b) / 2) ** 2, ((a + b) / 2 + tie) ** 2


def agreement(
    counts: Sequence[Sequence[int]] | Counts,
    prompts: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    totals: Sums | None = None,
    share: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Agreement over pairs, with bootstrap intervals.

    `counts` has one row (A, tie, B) per pair. `prompts` names each pair's prompt: pairs of one
    prompt are alike, so the bootstrap then draws whole prompts; without it, single pairs.

    Of a project too large to read, `counts` holds the pairs of a random `share` of the prompts
    and `totals` the added `sums` of all pairs: the values are exact, the intervals as wide as
    the sample lets expect.
    """
    patterns, frequency = _patterns(counts, prompts)
    if totals is None:
        totals = frequency @ patterns
    values = {key: _defined(float(value)) for key, value in statistics(totals).items()}
    draws = _resample(
        patterns, frequency, totals=totals, share=share, resamples=resamples, seed=seed
    )
    intervals, explanations = _intervals(statistics(draws), values, int(frequency.sum() / share))
    missing = ONE_CLASS if totals[0] else NO_OVERLAP
    explanations |= {key: missing for key, value in values.items() if value is None}
    return Agreement(
        pairs=int(totals[0]),
        votes=round(float(totals[5:].sum())),
        values=values,
        intervals=intervals,
        explanations=explanations,
    )


def _patterns(
    counts: Sequence[Sequence[int]] | Counts, prompts: Sequence[int] | NDArray[np.int64] | None
) -> tuple[Sums, NDArray[np.int64]]:
    """The distinct sums that prompts have, and how many have each: equal ones are interchangeable.

    Sorted, so that the same votes always draw the same samples.
    """
    table = np.asarray(counts, dtype=np.int64).reshape(-1, 3)
    used = overlapping(table)
    groups = None if prompts is None else np.asarray(prompts, dtype=np.int64)[used]
    clusters = np.round(_clusters(sums(table[used]), groups), 9)
    return np.unique(clusters, axis=0, return_counts=True)


def _defined(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _clusters(rows: Sums, groups: NDArray[np.int64] | None) -> Sums:
    """Sum the rows of each prompt; without prompts every pair is its own cluster."""
    if groups is None or not len(rows):
        return rows
    _, index = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(index, weights=column) for column in rows.T], axis=1)


def _intervals(
    resampled: dict[str, NDArray[np.float64]], values: dict[str, float | None], prompts: int
) -> tuple[dict[str, tuple[float, float] | None], dict[str, str]]:
    """Percentile intervals, and why some are missing.

    Percentiles of resamples are too narrow for few prompts, by sqrt((n - 1) / n) and by the tails
    that a normal distribution lacks (Hesterberg 2015, section 5.3): they are stretched by that.
    """
    intervals: dict[str, tuple[float, float] | None] = dict.fromkeys(STATISTICS)
    explanations: dict[str, str] = {}
    if prompts < 2:
        return intervals, dict.fromkeys(STATISTICS, ONE_CLUSTER)
    for key, draws in resampled.items():
        value = values[key]
        draws = draws[np.isfinite(draws)]
        if value is None or not len(draws):
            continue
        low, high = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
        wider = math.sqrt(prompts / (prompts - 1)) * _t_over_normal(prompts - 1)
        low, high = (value + wider * (end - value) for end in (low, high))
        if high - low > NO_WIDTH:
            least = 0.0 if key == "raw" else -1.0
            intervals[key] = (max(low, least), min(high, 1.0))
        elif key == "raw":
            # A share of 0 or 1 is not certain just because nothing contradicts it yet.
            intervals[key] = wilson(value * prompts, prompts)
        else:
            explanations[key] = NO_SPREAD
    return intervals, explanations


def _t_over_normal(degrees: int) -> float:
    """The factor by which Student's t is wider than the normal distribution at 97.5 % (Abramowitz
    and Stegun 1964, 26.7.5)."""
    z = NORMAL_95
    return 1 + (z**2 + 1) / (4 * degrees) + (5 * z**4 + 16 * z**2 + 3) / (96 * degrees**2)


def _resample(
    patterns: Sums,
    frequency: NDArray[np.int64],
    *,
    totals: Sums,
    share: float,
    resamples: int,
    seed: int,
) -> Sums:
    """Totals (resamples, 8) of bootstrap samples of the prompts.

    Drawing n prompts is one multinomial draw over the distinct patterns. Beyond `MANY` of them
    the totals come from the normal distribution that the draw tends to: equal mean, equal
    covariance, and no work per pattern.
    """
    n = int(frequency.sum())
    if n < 2:
        return totals[None]
    rng = np.random.default_rng(seed)
    if share == 1 and len(patterns) <= MANY:
        return rng.multinomial(n, frequency / n, size=resamples) @ patterns
    away = patterns - frequency @ patterns / n
    covariance = (away.T * frequency) @ away / share
    # Its rank is lower than 8 (votes are twice the pairs), which only "eigh" takes calmly.
    return rng.multivariate_normal(
        totals, covariance, size=resamples, method="eigh", check_valid="ignore"
    )


def cohen_kappa(table: Sequence[Sequence[int]] | Counts) -> float | None:
    """Kappa of two people from their joint answers, rows for one and columns for the other.

    None without answers, and where both always gave the same single answer.
    """
    joint = np.asarray(table, dtype=np.float64)
    n = joint.sum()
    if n == 0:
        return None
    chance = float(joint.sum(axis=1) @ joint.sum(axis=0)) / float(n * n)
    if 1 - chance < 1e-12:
        return None
    return (float(np.trace(joint) / n) - chance) / (1 - chance)
