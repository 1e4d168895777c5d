"""Progress of labelling, as annotators and project lists see it. Simulated votes never count
as a person's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.models import Assignment, Membership, Pair, Project

VOTED = Q(state=Assignment.State.VOTED, simulated=False)


@dataclass(frozen=True)
class Progress:
    """One person's votes in a project, and what the project still has open."""

    today: int
    total: int
    open_pairs: int


def progress(project: Project, user: User) -> Progress:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    own = Assignment.objects.filter(VOTED, annotator=user, pair__project=project).aggregate(
        today=Count("pk", filter=Q(voted_at__gte=midnight)), total=Count("pk")
    )
    # Counted along two indexes: this runs with every vote. Open checks are gold pairs, which
    # always have a place.
    pairs = Pair.objects.filter(project=project, state=Pair.State.OPEN)
    checks = Pair.objects.filter(project=project, stream=Pair.Stream.CHECK, open_slots__gt=0)
    return Progress(**own, open_pairs=pairs.count() - checks.count())


def projects_of(user: User) -> QuerySet[Project]:
    """The user's projects with their pairs, the user's own votes and role, in one query."""
    pairs = Pair.objects.filter(project=OuterRef("pk")).exclude(state=Pair.State.RETIRED)
    pairs = pairs.exclude(kind__in=Pair.OUTSIDE_LABELS)
    own = Assignment.objects.filter(VOTED, annotator=user, pair__project=OuterRef("pk"))
    roles = Membership.objects.filter(project=OuterRef("pk"), user=user, active=True)
    return Project.objects.for_user(user).annotate(
        all_pairs=_count(pairs, "project"),
        closed_pairs=_count(pairs.exclude(state=Pair.State.OPEN), "project"),
        own_votes=_count(own, "pair__project"),
        my_role=Subquery(roles.values("role")[:1]),
    )


def _count(rows: QuerySet[Any], group: str) -> Coalesce:
    counted = rows.order_by().values(group).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
