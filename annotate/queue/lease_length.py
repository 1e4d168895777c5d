"""How long a person takes per vote, and how long their leases last because of it."""

from __future__ import annotations

from datetime import timedelta
from statistics import median

from annotate.models import Assignment, Membership, Project

EVERY = 10
"""The pace is measured with about every tenth vote: it changes slowly."""
RECENT, FEWEST = 50, 5
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(minutes=30)


def lasts(project: Project, pace_ms: int | None) -> timedelta:
    """Three times what a vote takes this person; the project's own setting until that is known."""
    if pace_ms is None:
        return timedelta(seconds=project.lease_seconds)
    return min(max(timedelta(milliseconds=3 * pace_ms), SHORTEST), LONGEST)


def remember(vote: Assignment) -> None:
    """Update the person's pace, the running median of their recent votes."""
    if vote.active_ms is None or vote.pk % EVERY:
        return
    project = vote.pair.project_id
    votes = Assignment.objects.filter(annotator=vote.annotator_id, pair__project=project)
    timed = votes.standing().exclude(active_ms=None).order_by("-acted_at")
    recent = list(timed.values_list("active_ms", flat=True)[:RECENT])
    if len(recent) >= FEWEST:
        Membership.objects.filter(project=project, user=vote.annotator_id).update(
            pace_ms=round(median(recent))
        )
