"""A leaderboard of policies from people's votes: Bradley-Terry ratings with intervals.

P(i is preferred to j) = 1 / (1 + exp(rating_j - rating_i)), and a tie is half a win for each
(Bradley and Terry 1952; so does Chatbot Arena, Chiang et al. 2024, section 4). When a pair stops
collecting votes, at two that agree or at three, changes nothing about the estimate: each vote's
score has mean zero whatever came before it.

Votes on one prompt are not independent, so intervals are those of the sandwich estimator with one
cluster per prompt (Liang and Zeger 1986). Two policies that met get one vote more, half a win for
each, in the estimate and in its variance: a policy that won every time would have no rating (Ford
1957 says when there is one) and no uncertainty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from django.db.models import Count, F, Q
from numpy.typing import NDArray

from annotate.models import Assignment, Pair, Project
from annotate.review.search import wrote
from annotate.statistics.wilson_interval import NORMAL_95

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KINDS = {
    "evaluation": (Pair.Kind.EVALUATION,),
    "training": (Pair.Kind.NORMAL, Pair.Kind.OVERLAP),
}
"""Which pairs count. Evaluation pairs are drawn for it; what acquisition chose is no sample."""
FEW = 20
"""Prompts below which the sandwich is too thin, so that the model's own variance is the least."""
STEPS, TOLERANCE = 50, 1e-10


@dataclass(frozen=True)
class Met:
    """The votes between two policies on one prompt."""

    prompt: int
    one: str
    other: str
    won: int
    tied: int
    lost: int

    @property
    def votes(self) -> int:
        return self.won + self.tied + self.lost


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One policy. The rating is a logit against the reference; `beats` is its probability."""

    policy: str
    votes: int
    direct: float | None
    """Share of the votes against the reference that it won, ties as half."""
    direct_votes: int
    rating: float
    low: float
    high: float

    @property
    def beats(self) -> float:
        return float(_chance(self.rating))

    @property
    def interval(self) -> tuple[float, float]:
        return float(_chance(self.low)), float(_chance(self.high))


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Best first. `apart` are policies that no chain of votes joins with the reference."""

    reference: str
    standings: list[Standing]
    apart: list[str]
    votes: int
    prompts: int


def meetings(project: Project, pairs: str, *, include_simulated: bool = False) -> list[Met]:
    """Standing votes on pairs of that key of KINDS whose sides two different policies wrote."""
    votes = Assignment.objects.in_project(project).standing()
    if not include_simulated:
        votes = votes.filter(simulated=False)
    known = ~Q(one="") & ~Q(other="") & ~Q(one=F("other"))
    rows = (
        votes.filter(pair__kind__in=KINDS[pairs])
        .annotate(one=wrote("a", "pair__"), other=wrote("b", "pair__"))
        .filter(known)
        .values_list("pair__prompt_id", "one", "other")
        .annotate(
            won=Count("pk", filter=Q(choice="a")),
            tied=Count("pk", filter=Q(choice__in=("tie", "both_bad"))),
            lost=Count("pk", filter=Q(choice="b")),
        )
        .order_by("pair__prompt_id", "one", "other")
    )
    return [Met(*row) for row in rows]


def leaderboard(met: Iterable[Met], *, reference: str = "") -> Leaderboard | None:
    """Ratings against the reference; None without votes.

    A reference that nobody met is replaced: by the starter, else by the policy with most votes.
    """
    met = list(met)
    votes = Counter[str]()
    for one in met:
        votes.update({one.one: one.votes, one.other: one.votes})
    if not votes:
        return None
    if reference not in votes:
        reference = "starter" if "starter" in votes else max(sorted(votes), key=votes.__getitem__)
    joined = _joined(met, reference)
    counted = [m for m in met if m.one in joined]
    names = sorted(joined)
    ratings, errors = _fit(counted, names, reference)
    standings = []
    for name, rating, error in zip(names, ratings.tolist(), errors.tolist(), strict=True):
        won, n = _direct(met, name, reference)
        standings.append(
            Standing(
                policy=name,
                votes=votes[name],
                direct=won / n if n else None,
                direct_votes=n,
                rating=rating,
                low=rating - NORMAL_95 * error,
                high=rating + NORMAL_95 * error,
            )
        )
    return Leaderboard(
        reference=reference,
        standings=sorted(standings, key=lambda one: -one.rating),
        apart=sorted(votes.keys() - joined),
        votes=sum(m.votes for m in counted),
        prompts=len({m.prompt for m in counted}),
    )


def _joined(met: list[Met], reference: str) -> set[str]:
    """The policies that a chain of votes joins with the reference."""
    beside: dict[str, set[str]] = {}
    for one in met:
        beside.setdefault(one.one, set()).add(one.other)
        beside.setdefault(one.other, set()).add(one.one)
    reached, new = set(), {reference}
    while new:
        reached |= new
        new = set().union(*(beside[name] for name in new)) - reached
    return reached


def _direct(met: list[Met], name: str, reference: str) -> tuple[float, int]:
    """Votes against the reference that the policy won, ties as half, and how many there were."""
    won, n = 0.0, 0
    for m in met:
        if (m.one, m.other) in ((name, reference), (reference, name)):
            won += (m.won if m.one == name else m.lost) + m.tied / 2
            n += m.votes
    return won, n


def _fit(met: list[Met], names: list[str], reference: str) -> tuple[Floats, Floats]:
    """Ratings and their standard errors, both (policies), 0 for the reference."""
    place = {name: i for i, name in enumerate(names)}
    rows = [
        (m.prompt, place[m.one], place[m.other], m.won + m.tied / 2, m.votes) for m in met
    ] + _shrinking(met, place)
    prompt, one, other, won, n = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    one, other = one.astype(np.int64), other.astype(np.int64)
    design = np.zeros((len(rows), len(names)))
    each = np.arange(len(rows))
    design[each, one] += 1
    design[each, other] -= 1
    free = np.arange(len(names)) != place[reference]
    x = design[:, free]
    rating = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = _chance(x @ rating)
        information = (x * (n * p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(information, x.T @ (won - n * p))
        # At most 2 per step: far from the maximum the curve is too flat to be trusted.
        rating = rating + np.clip(step, -2, 2)
        if not step.size or np.abs(step).max() < TOLERANCE:
            break
    ratings, errors = np.zeros(len(names)), np.zeros(len(names))
    ratings[free] = rating
    scores = x * (won - n * _chance(x @ rating))[:, None]
    errors[free] = np.sqrt(
        _variances(np.asarray(np.linalg.inv(information), np.float64), scores, prompt)
    )
    return ratings, errors


def _variances(bread: Floats, scores: Floats, prompt: Floats) -> Floats:
    """Of the ratings (free): the sandwich of the rows' scores (rows, free), summed by prompt."""
    _, cluster = np.unique(prompt, return_inverse=True)
    sums = np.zeros((cluster.max() + 1, scores.shape[1]))
    np.add.at(sums, cluster, scores)
    prompts = len(np.unique(prompt[prompt >= 0]))
    meat = sums.T @ sums * prompts / max(prompts - 1, 1)
    robust = np.diag(bread @ meat @ bread)
    return np.maximum(robust, np.diag(bread)) if prompts < FEW else robust


def _shrinking(met: list[Met], place: dict[str, int]) -> list[tuple[float, int, int, float, float]]:
    """Half a win for each of two policies that met, as rows of prompts below 0."""
    pairs = sorted({tuple(sorted((place[m.one], place[m.other]))) for m in met})
    return [
        (-2 * i - half - 1, one, other, 0.5 * half, 0.5)
        for i, (one, other) in enumerate(pairs)
        for half in (0, 1)
    ]


def _chance(logit: float | Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))), dtype=np.float64)
