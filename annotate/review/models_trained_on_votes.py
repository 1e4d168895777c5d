"""Effect of a person's votes: the newest reward model that rests on them.

Training pushes its models (ModelNote) with the dataset version they learnt from; which votes that
version holds stands in the votes. Votes on held-out prompts teach nothing: they measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet

from annotate.models import Assignment, ModelNote, Pair, Project, VoteRevision
from annotate.statistics.wilson_interval import wilson

MOST = 10_000
"""Votes of a person up to which they are counted while somebody waits for the page."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A person's votes in the newest reward model, and those that the next one will have."""

    model: str = ""
    """Such as "reward model 7"; empty when none has had their votes."""
    taught: int = 0
    measured: int = 0
    before: float | None = None
    """Accuracy of the reward model before, on the held-out votes of its time."""
    after: float | None = None
    after_interval: tuple[float, float] | None = None
    after_pairs: int = 0
    """Held-out pairs that the accuracy is of."""
    many: bool = False
    """True where more than MOST of their votes are in it, and are not counted further."""
    waiting: int
    many_waiting: bool = False
    by_itself: bool
    """True where rounds start by themselves: there is a policy to train, and pairs enough."""

    @property
    def most(self) -> int:
        return MOST

    @property
    def votes(self) -> int:
        return self.taught + self.measured


def effect(project: Project, user: User) -> Effect | None:
    """None when there is nothing to say: no votes, or an admin leaves them out of training."""
    if project.memberships.filter(user=user, weight=0).exists():
        return None
    notes = ModelNote.objects.filter(project=project, kind="reward", dataset_version__gt=0)
    newest = list(notes.order_by("-created_at", "-pk")[:2])
    number = (newest[0].dataset_version or 0) if newest else 0
    later = Q(frozen_from=None) | Q(frozen_from__gt=number)
    waiting = _standing(project, user).filter(later)[: MOST + 1].count()
    many_waiting, waiting = waiting > MOST, min(waiting, MOST)
    taught, measured = _held(project, user, number)
    by_itself = _starts_by_itself(project)
    if not taught + measured:
        told = Effect(waiting=waiting, many_waiting=many_waiting, by_itself=by_itself)
        return told if waiting else None
    after, before = [*map(_accuracy, newest), None][:2]
    pairs = int(newest[0].metrics.get("pairs_held_out") or 0)
    return Effect(
        model=newest[0].name.replace("-", " model "),
        taught=taught,
        measured=measured,
        many=taught + measured > MOST,
        before=before,
        after=after,
        after_interval=None if after is None else wilson(after * pairs, pairs),
        after_pairs=pairs,
        waiting=waiting,
        many_waiting=many_waiting,
        by_itself=by_itself,
    )


def _starts_by_itself(project: Project) -> bool:
    policies = ModelNote.objects.filter(project=project, kind="policy")
    teaching = project.pairs.filter(kind__in=Pair.TEACHING)[: project.round_after].count()
    return bool(project.round_after) and teaching == project.round_after and policies.exists()


def _standing(project: Project, user: User) -> QuerySet[Assignment]:
    votes = Assignment.objects.in_project(project).standing()
    return votes.filter(annotator=user, simulated=False, pair__kind__in=Pair.TEACHING)


def _held(project: Project, user: User, number: int) -> tuple[int, int]:
    """The person's votes that the dataset version holds: those that teach, those that measure."""
    if not number:
        return 0, 0
    # In the order of an index: where there are many, only so many are read.
    standing = _standing(project, user).filter(frozen_from__lte=number).order_by("-acted_at")
    revised = VoteRevision.objects.filter(
        assignment__annotator=user,
        assignment__pair__project=project,
        assignment__pair__kind__in=Pair.TEACHING,
        simulated=False,
        surplus=False,
        frozen_from__lte=number,
        frozen_until__gte=number,
    )
    counts = [_split(standing, "pair"), _split(revised, "assignment__pair")]
    return sum(n["taught"] for n in counts), sum(n["measured"] for n in counts)


def _split(votes: QuerySet[Assignment] | QuerySet[VoteRevision], pair: str) -> dict[str, int]:
    held_out = Q(**{f"{pair}__prompt__held_out": True})
    return votes[: MOST + 1].aggregate(
        taught=Count("pk", filter=~held_out), measured=Count("pk", filter=held_out)
    )


def _accuracy(note: ModelNote) -> float | None:
    value = note.metrics.get("accuracy")
    return value if isinstance(value, int | float) and math.isfinite(value) else None
