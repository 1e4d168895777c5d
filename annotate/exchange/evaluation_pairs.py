"""Evaluation pairs: blind comparisons of a new policy with another, and what people say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp
from statistics import fmean

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from annotate.exchange.pair_and_vote_counts import training_votes
from annotate.exchange.votes_for_ranking import VALUE
from annotate.models import Assignment, Membership, Pair, Project
from annotate.queue import write
from annotate.review.search import wrote


@dataclass(frozen=True)
class Comparisons:
    """The decided evaluation pairs of one policy against another."""

    points: list[float]
    """One each prompt, 1 where the policy won and 0 where it lost: the mean of the prompt's votes,
    a tie one half."""
    votes: int
    people: int
    judged: list[float]
    """A judge's points, in the order of `points`; empty where there was none."""
    judged_elsewhere: list[float]
    """Its points on the prompts whose pairs nobody has voted on."""


def evaluation_results(
    project: Project, *, policy: str, since: datetime | None = None
) -> dict[str, Comparisons]:
    """A policy's decided evaluation pairs, by the name of the policy that it is compared with.

    Args:
        since: count votes that were cast after it alone.
    """
    decided = Q(pair__state=Pair.State.RESOLVED) | Q(pair__state=Pair.State.ADJUDICATE)
    a, b = Q(wrote_a=policy), Q(wrote_b=policy)
    votes = training_votes(project).annotate(
        wrote_a=wrote("a", "pair__"), wrote_b=wrote("b", "pair__")
    )
    votes = votes.filter(decided, (a & ~b) | (b & ~a), pair__kind=Pair.Kind.EVALUATION)
    if since is not None:
        votes = votes.filter(voted_at__gt=since)
    columns = ("pair__prompt_id", "annotator_id", "choice", "wrote_a", "wrote_b")
    cast: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for prompt, person, choice, wrote_a, wrote_b in votes.values_list(*columns).order_by("pk"):
        own = VALUE[choice] if wrote_a == policy else 1 - VALUE[choice]
        cast[wrote_b if wrote_a == policy else wrote_a].append((prompt, person, own))
    opinions = _opinions(project, policy)
    return {other: _compared(rows, opinions[other]) for other, rows in cast.items()}


def _opinions(project: Project, policy: str) -> dict[str, dict[int, float]]:
    """The judge's points for the policy, by the other one and by prompt."""
    known = _of_policy(project, policy).filter(margin__isnull=False)
    named = known.annotate(by_a=wrote("a"), by_b=wrote("b"))
    opinions: dict[str, dict[int, float]] = defaultdict(dict)
    for prompt, margin, a, b in named.values_list("prompt_id", "margin", "by_a", "by_b"):
        assert margin is not None, "filtered"
        logit = max(-30.0, min(30.0, margin if a == policy else -margin))
        opinions[b if a == policy else a][prompt] = 1 / (1 + exp(-logit))
    return opinions


def _compared(rows: list[tuple[int, int, float]], opinions: dict[int, float]) -> Comparisons:
    by_prompt: dict[int, list[float]] = defaultdict(list)
    for prompt, _, own in rows:
        by_prompt[prompt].append(own)
    whole = by_prompt.keys() <= opinions.keys()
    return Comparisons(
        points=[fmean(values) for values in by_prompt.values()],
        votes=len(rows),
        people=len({person for _, person, _ in rows}),
        judged=[opinions[prompt] for prompt in by_prompt] if whole else [],
        judged_elsewhere=[value for prompt, value in opinions.items() if prompt not in by_prompt],
    )


def evaluation_open(project: Project, *, policy: str) -> int:
    """Evaluation pairs of a policy that wait for a vote."""
    return _of_policy(project, policy).filter(open_slots__gt=0).count()


def evaluation_undecided(project: Project, *, policy: str) -> bool:
    """True where votes on evaluation pairs of a policy are still to come, given out or not."""
    return _of_policy(project, policy).filter(state=Pair.State.OPEN).exists()


def retire_evaluation(project: Project, *, policy: str) -> int:
    """Take a policy's evaluation pairs that nobody was offered out of the queue; their number."""
    untouched = {"started": False, "state": Pair.State.OPEN}
    with write():
        waiting = _of_policy(project, policy).filter(**untouched, assignments=None)
        pks = list(waiting.values_list("pk", flat=True))
        # The condition again, because a claim may have taken a slot in between.
        pairs = Pair.objects.filter(pk__in=pks, **untouched)
        return pairs.update(state=Pair.State.RETIRED, open_slots=0, asked=0)


def set_evaluators(project: Project, pseudonyms: Iterable[str]) -> None:
    """Have these members alone compare policies, because their votes taught no reward model; none
    of them: everybody may."""
    named = set(pseudonyms)
    with write():
        members = Membership.objects.filter(project=project)
        members.filter(evaluates=True).exclude(pseudonym__in=named).update(evaluates=False)
        members.filter(pseudonym__in=named).update(evaluates=True)


EVALUATORS_STAY = timedelta(days=14)
"""Without a vote after which somebody no longer keeps comparisons from others."""


def release_evaluators(project: Project) -> int:
    """Have those compare policies no more by themselves who do not come, are paused or have left,
    so that others are offered the pairs; their number."""
    since = timezone.now() - EVALUATORS_STAY
    voted = Assignment.objects.filter(
        annotator=OuterRef("user"), pair__project=project, voted_at__gte=since
    )
    chosen = Membership.objects.filter(project=project, evaluates=True)
    gone = Q(active=False) | Q(paused_at__isnull=False) | Q(user__is_active=False) | ~Exists(voted)
    absent = list(chosen.filter(gone).values_list("pk", flat=True))
    if not absent:  # nothing is written in a minute like any other
        return 0
    with write():
        return Membership.objects.filter(pk__in=absent).update(evaluates=False)


def has_evaluators(project: Project) -> bool:
    """True where some members alone compare policies."""
    return Membership.objects.filter(project=project, evaluates=True, active=True).exists()


def _of_policy(project: Project, policy: str) -> QuerySet[Pair]:
    pairs = Pair.objects.filter(project=project, kind=Pair.Kind.EVALUATION)
    named = pairs.annotate(wrote_a=wrote("a"), wrote_b=wrote("b"))
    return named.filter(Q(wrote_a=policy) | Q(wrote_b=policy))
