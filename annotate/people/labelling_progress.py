"""Progress of labelling, as annotators and project lists see it. Simulated votes never count
as a person's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.models import Assignment, Membership, Pair, Project
from annotate.people.cached_annotator_figures import kept_votes
from annotate.statements import prepared

VOTED = Q(state=Assignment.State.VOTED, simulated=False)


@dataclass(frozen=True)
class Progress:
    """One person's votes in a project, beside what they mean to do in a day."""

    today: int
    total: int | None
    """None where only today was asked for."""
    active_ms: int
    """Of today, as it is paid for."""
    goal: int
    """Votes a day; 0 is none."""
    pace_ms: int | None
    """Time that a vote takes this person, once that is known."""

    @property
    def active_minutes(self) -> int:
        return self.active_ms // 60_000

    @property
    def left_minutes(self) -> int | None:
        """About the time that the rest of today's goal takes, where the person's pace is known."""
        left = self.goal - self.today
        if left <= 0 or not self.pace_ms:
            return None
        return max(round(left * self.pace_ms / 60_000), 1)


# A vote's own time may be older than its coming, from a file, and never newer: so the index of a
# person's acts bounds what is read to one day's.
TODAY = """
    SELECT own.votes, own.active_ms, member.daily_goal, member.pace_ms
    FROM (
        SELECT COUNT(*) AS votes, COALESCE(SUM(a.active_ms), 0) AS active_ms
        FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
        WHERE a.annotator_id = %(user)s AND a.acted_at >= %(midnight)s
            AND a.voted_at >= %(midnight)s AND a.state = 'voted' AND NOT a.simulated
            AND p.project_id = %(project)s
    ) own
    LEFT JOIN annotate_membership member
        ON member.project_id = %(project)s AND member.user_id = %(user)s
"""


def today(project: Project, user: User) -> Progress:
    """The person's progress today, which is told with every vote."""
    row = prepared.row(TODAY, {"project": project.pk, "user": user.pk, "midnight": _midnight()})
    assert row, "an aggregate has a row"
    votes, active_ms, goal, pace = row
    return Progress(
        today=votes,
        total=None,
        active_ms=active_ms,
        goal=project.daily_goal if goal is None else goal,
        pace_ms=pace,
    )


def _midnight() -> datetime:
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def progress(project: Project, user: User) -> Progress:
    """The person's progress today and in all."""
    return replace(today(project, user), total=own_votes(user, [project])[project.pk])


def own_votes(user: User, projects: Sequence[Project]) -> dict[int, int]:
    """The person's votes by the project's key; where there are many, those of the last count and
    those that came after it."""
    mine = Assignment.objects.filter(VOTED, annotator=user)
    kept = kept_votes(user, projects)
    others = [one.pk for one in projects if one.pk not in kept]
    counted = mine.filter(pair__project__in=others).order_by().values_list("pair__project")
    votes = dict.fromkeys(others, 0) | dict(counted.annotate(n=Count("pk")))
    for project, (n, at) in kept.items():
        # By the time of the act, which an index of a person's acts is by; a change leaves it.
        votes[project] = n + mine.filter(acted_at__gt=at, pair__project=project).count()
    return votes


@dataclass(frozen=True)
class OpenPairs:
    """Pairs that want votes, as one person sees them who is offered none of them just now."""

    total: int
    judged: int
    """By this person, who waits for others on them."""
    of_batches: bool = False
    """Only the pairs of the person's batches: they are offered no others."""

    def __str__(self) -> str:
        others, of = self.total - self.judged, " of your batches" if self.of_batches else ""
        if not self.total and of:
            return "No pair of your batches wants votes. An admin of the project gives the next."
        if not self.total:
            return "Every pair has the votes it needs; new ones come with the next round or import."
        are = f"open pair{of} is" if self.total == 1 else f"open pairs{of} are"
        if not self.judged:
            return f"{self.total:,} {are} on other people’s screens just now."
        if others:
            return (
                f"You are done for now: of the {self.total:,} open pairs{of} you have judged or "
                f"skipped {self.judged:,}, and {others:,} {'is' if others == 1 else 'are'} on "
                "other people’s screens."
            )
        return f"You are done for now: {self.total:,} {are} waiting for other people’s votes."


def open_pairs(project: Project, user: User) -> OpenPairs:
    """The open pairs for everybody, and those among them that this person voted on or skipped;
    those of their batches for somebody who is offered nothing else."""
    member = Membership.objects.filter(project=project, user=user, batches_only=True).first()
    pairs = Pair.objects.filter(project=project, state=Pair.State.OPEN, only_for=None)
    if member is not None:
        pairs = pairs.filter(batch__people=member)
    pairs = pairs.exclude(kind__in=Pair.OUTSIDE_LABELS)
    done = (Assignment.State.VOTED, Assignment.State.SKIPPED)
    own = Assignment.objects.filter(pair=OuterRef("pk"), annotator=user, state__in=done)
    judged = pairs.filter(Exists(own)).count()
    return OpenPairs(total=pairs.count(), judged=judged, of_batches=member is not None)


def projects_of(user: User) -> list[Any]:
    """The user's projects with their pairs, all and open, and the user's own votes and role."""
    pairs = Pair.objects.filter(project=OuterRef("pk")).asked_about()
    roles = Membership.objects.filter(project=OuterRef("pk"), user=user, active=True)
    projects: list[Any] = list(
        Project.objects.for_user(user).annotate(
            all_pairs=_count(pairs, "project"),
            open_pairs=_count(pairs.filter(state=Pair.State.OPEN), "project"),
            my_role=Subquery(roles.values("role")[:1]),
        )
    )
    votes = own_votes(user, projects)
    for project in projects:
        project.own_votes = votes[project.pk]
    return projects


def _count(rows: QuerySet[Any], group: str) -> Coalesce:
    counted = rows.order_by().values(group).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
