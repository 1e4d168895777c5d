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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from django.db.models import Aggregate, Count, F, Q, QuerySet, Sum
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
"""Kinds of pairs that count: evaluation is drawn for it, acquisition's choice is no sample."""
FEW = 20
"""Prompts below which the sandwich is too thin, so that the model's own variance is the least."""
STEPS, TOLERANCE = 50, 1e-10


class Met(NamedTuple):
    """The votes between two policies on one prompt."""

    prompt: int
    one: str
    other: str
    won: int
    tied: int
    lost: int


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
    voted = project.pairs.filter(_of_kind(pairs), _KNOWN_SIDES).alias(standing=_STANDING)
    sums = {"won": Sum("n_a"), "tied": Sum("n_tie"), "lost": Sum("n_b")}
    met = _between_policies(voted.filter(standing__gt=0), "", sums)
    simulated = Assignment.objects.standing().filter(simulated=True)
    # The counts of pairs have them, too. Where there are none, an index says so at once.
    if include_simulated or not simulated.exists():
        return met
    chosen = {
        "won": Q(choice="a"),
        "tied": Q(choice__in=("tie", "both_bad")),
        "lost": Q(choice="b"),
    }
    counts = {name: Count("pk", filter=side) for name, side in chosen.items()}
    those = simulated.filter(_of_kind(pairs, "pair__"), pair__project=project)
    taken = {one[:3]: one[3:] for one in _between_policies(those, "pair__", counts)}
    left = (
        Met(
            *one[:3],
            *(n - out for n, out in zip(one[3:], taken.get(one[:3], (0, 0, 0)), strict=True)),
        )
        for one in met
    )
    return [one for one in left if one.won or one.tied or one.lost]


_STANDING = F("n_a") + F("n_tie") + F("n_b")
_KNOWN_SIDES = Q(completion_a__prompt=F("prompt"), completion_b__prompt=F("prompt"))
"""True of every pair; said because the index `names_of_completions` begins with the prompt."""


def _of_kind(pairs: str, path: str = "") -> Q:
    kinds = KINDS[pairs]
    # The index evaluation_pairs is found by "=" alone.
    one = Q(**{f"{path}kind": kinds[0]})
    return one if len(kinds) == 1 else Q(**{f"{path}kind__in": kinds})


def _between_policies(rows: QuerySet[Any], path: str, counts: Mapping[str, Aggregate]) -> list[Met]:
    """These counts of rows of pairs or of votes, by the prompt and the two policies that wrote."""
    known = ~Q(one="") & ~Q(other="") & ~Q(one=F("other"))
    named = rows.annotate(one=wrote("a", path), other=wrote("b", path)).filter(known)
    by = (f"{path}prompt_id", "one", "other")
    counted = named.order_by(*by).values_list(*by).annotate(**counts)
    return [Met._make(row) for row in counted]


def leaderboard(met: Iterable[Met], *, reference: str = "") -> Leaderboard | None:
    """Ratings against the reference; None without votes.

    A reference that nobody met is replaced: by the starter, else by the policy with most votes.
    """
    met = list(met)
    between = _between(met)
    votes = Counter[str]()
    for (one, other), score in between.items():
        votes[one] += score.votes
        votes[other] += score.votes
    if not votes:
        return None
    if reference not in votes:
        reference = "starter" if "starter" in votes else max(sorted(votes), key=votes.__getitem__)
    joined = _joined(between, reference)
    counted = [m for m in met if m.one in joined]
    names = sorted(joined)
    ratings, errors = _fit(counted, between, names, reference)
    standings = []
    for name, rating, error in zip(names, ratings.tolist(), errors.tolist(), strict=True):
        won, n = _direct(between, name, reference)
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
        votes=sum(m.won + m.tied + m.lost for m in counted),
        prompts=len({m.prompt for m in counted}),
    )


@dataclass(frozen=True)
class _Score:
    """All votes between two policies."""

    won: float
    """By the first of the two, ties as half."""
    votes: int


Between = dict[tuple[str, str], _Score]


def _between(met: list[Met]) -> Between:
    """The votes of all prompts together, by the two policies: few, however many prompts."""
    halves, votes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for m in met:
        both = (m.one, m.other)
        halves[both] += 2 * m.won + m.tied
        votes[both] += m.won + m.tied + m.lost
    return {both: _Score(halves[both] / 2, n) for both, n in votes.items() if n}


def _joined(between: Between, reference: str) -> set[str]:
    """The policies that a chain of votes joins with the reference."""
    beside: dict[str, set[str]] = {}
    for one, other in between:
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    reached, new = set(), {reference}
    while new:
        reached |= new
        new = set().union(*(beside[name] for name in new)) - reached
    return reached


def _direct(between: Between, name: str, reference: str) -> tuple[float, int]:
    """Votes against the reference that the policy won, ties as half, and how many there were."""
    first, second = between.get((name, reference)), between.get((reference, name))
    won = (first.won if first else 0.0) + (second.votes - second.won if second else 0.0)
    return won, (first.votes if first else 0) + (second.votes if second else 0)


def _fit(
    met: list[Met], between: Between, names: list[str], reference: str
) -> tuple[Floats, Floats]:
    """Ratings and their standard errors, both (policies), 0 for the reference."""
    place = {name: i for i, name in enumerate(names)}
    free = np.arange(len(names)) != place[reference]
    # The likelihood knows the votes by their two policies alone; only the errors know prompts.
    totals: list[Row] = [
        (0, place[one], place[other], score.won, score.votes)
        for (one, other), score in between.items()
        if one in place
    ]
    shrinking = _shrinking(totals)
    x, won, n, _ = _design(totals + shrinking, free)
    rating = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = _chance(x @ rating)
        information = (x * (n * p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(information, x.T @ (won - n * p))
        # At most 2 per step: far from the maximum the curve is too flat to be trusted.
        rating = rating + np.clip(step, -2, 2)
        if not step.size or np.abs(step).max() < TOLERANCE:
            break
    rows: list[Row] = [
        (m.prompt, place[m.one], place[m.other], m.won + m.tied / 2, m.won + m.tied + m.lost)
        for m in met
    ]
    x, won, n, prompt = _design(rows + shrinking, free)
    scores = x * (won - n * _chance(x @ rating))[:, None]
    ratings, errors = np.zeros(len(names)), np.zeros(len(names))
    ratings[free] = rating
    errors[free] = np.sqrt(
        _variances(np.asarray(np.linalg.inv(information), np.float64), scores, prompt)
    )
    return ratings, errors


Row = tuple[int, int, int, float, float]
"""Prompt, the two policies' places, what the first won, and the votes."""


def _design(rows: Sequence[Row], free: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
    """The rows as a design of +1 and -1 (rows, free), what was won, votes, and prompts."""
    prompt, one, other, won, n = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    design = np.zeros((len(rows), len(free)))
    each = np.arange(len(rows))
    design[each, one.astype(np.int64)] += 1
    design[each, other.astype(np.int64)] -= 1
    return design[:, free], won, n, prompt


def _variances(bread: Floats, scores: Floats, prompt: Floats) -> Floats:
    """Of the ratings (free): the sandwich of the rows' scores (rows, free), summed by prompt."""
    _, cluster = np.unique(prompt, return_inverse=True)
    sums = np.zeros((cluster.max() + 1, scores.shape[1]))
    np.add.at(sums, cluster, scores)
    prompts = len(np.unique(prompt[prompt >= 0]))
    meat = sums.T @ sums * prompts / max(prompts - 1, 1)
    robust = np.diag(bread @ meat @ bread)
    return np.maximum(robust, np.diag(bread)) if prompts < FEW else robust


def _shrinking(totals: Sequence[Row]) -> list[Row]:
    """Half a win for each of two policies that met, as rows of prompts below 0."""
    pairs = sorted({(min(one, other), max(one, other)) for _, one, other, *_ in totals})
    return [
        (-2 * i - half - 1, one, other, 0.5 * half, 0.5)
        for i, (one, other) in enumerate(pairs)
        for half in (0, 1)
    ]


def _chance(logit: float | Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))), dtype=np.float64)
