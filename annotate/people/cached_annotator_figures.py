"""Annotators' figures in large projects: counted by the minute tick, kept for the pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment, Project, Tally
from annotate.people.annotator_figures import Figures, Row, Share, count, named, rows
from annotate.statements.statement_timeout import unhurried

LIVE_UP_TO = 20_000
"""Votes and skips that are counted while somebody waits for the page."""
NEW_PART = 200
"""Kept figures are counted anew when more than one in so many votes is new."""
AT_LEAST_EVERY = timedelta(hours=1)
"""And so often in any case, for what people took back or changed."""


@dataclass(frozen=True)
class Table:
    """Everybody who voted or skipped, busiest first."""

    rows: list[Row]
    counted_at: datetime | None
    """The time at which the figures were counted; None for just now."""


def table(project: Project, *, include_simulated: bool = False) -> Table:
    """The figures as the minute tick left them, or counted now where it keeps none."""
    kept = None if include_simulated else _kept(project)
    if kept is None:
        return Table(rows(project, include_simulated=include_simulated), None)
    return Table(named(project, [_from_json(one) for one in kept.figures]), kept.counted_at)


def votes_by_person(project: Project) -> dict[int, tuple[int, datetime | None]] | None:
    """Each person's votes and the time of the last, as last counted; None where none are kept."""
    kept = _kept(project)
    if kept is None:
        return None
    figures = [_from_json(one) for one in kept.figures]
    return {one.annotator_id: (one.votes, one.last_vote) for one in figures}


def kept_votes(user: User, projects: Iterable[Project]) -> dict[int, tuple[int, datetime]]:
    """The person's votes in those of the projects that keep them, and when they were counted, by
    the project's key."""
    kept = Tally.objects.filter(project__in=[one.pk for one in projects])
    return {
        one.project_id: (
            next((f["votes"] for f in one.figures if f.get("annotator_id") == user.pk), 0),
            one.counted_at,
        )
        for one in kept
    }


def count_annotators_if_due(project: Project) -> bool:
    """Count anew where pages show kept figures, and enough is new; whether it did."""
    now = timezone.now()
    kept = _kept(project)
    if kept is None:
        due = Assignment.objects.in_project(project)[LIVE_UP_TO : LIVE_UP_TO + 1].exists()
    else:
        due = kept.counted_at < now - AT_LEAST_EVERY or _much_is_new(project, kept)
    if due:
        with unhurried():
            figures = [_as_json(one) for one in count(project)]
        defaults = {"figures": figures, "counted_at": now}
        Tally.objects.update_or_create(project=project, defaults=defaults)
    return due


def _kept(project: Project) -> Tally | None:
    """The figures of the last count, unless another release of the product counted others."""
    kept = Tally.objects.filter(project=project).first()
    names = {field.name for field in fields(Figures)}
    return kept if kept and all(set(one) == names for one in kept.figures) else None


def _much_is_new(project: Project, kept: Tally) -> bool:
    counted: int = sum(one["votes"] for one in kept.figures)
    return acts_since(project, kept.counted_at) * NEW_PART > counted


def acts_since(project: Project, moment: datetime) -> int:
    """Votes and skips of the project's people since then."""
    # By person, because that is what the index of acts is by.
    people = project.memberships.values("user_id")
    acts = Assignment.objects.filter(annotator__in=people, acted_at__gt=moment)
    return acts.filter(pair__project=project).count()


def _as_json(figures: Figures) -> dict[str, Any]:
    last = figures.last_vote
    return asdict(figures) | {"last_vote": last and last.isoformat()}


def _from_json(kept: dict[str, Any]) -> Figures:
    shares = {key: Share(**value) for key, value in kept.items() if isinstance(value, dict)}
    last = kept["last_vote"]
    return Figures(**kept | shares | {"last_vote": last and datetime.fromisoformat(last)})
