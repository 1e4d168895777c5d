"""Figures that annotators are paid by: votes, skips and time, per person and day.

Work is paid for whatever becomes of it: gold pairs, retests and surplus votes count like every
other vote. What somebody took back is left out, and so is what nobody did here: simulated votes,
and imported ones, which carry no guideline version.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.utils import timezone

from annotate.models import Assignment, Project
from annotate.votes.export_values import pseudonyms
from annotate.votes.formula_safe_csv import csv_line

HEADINGS = (
    "annotator",
    "name",
    "day",
    "votes",
    "skips",
    "active_minutes",
    "wall_minutes",
    "median_seconds",
)


class VoteOrSkip(NamedTuple):
    """A vote or a skip. Skips carry no times."""

    day: date
    state: str
    active_ms: int | None
    wall_ms: int | None


def payment_lines(
    project: Project, *, since: date | None = None, until: date | None = None
) -> Iterator[bytes]:
    """CSV by name: a line per person and day of the server's time zone, and one with their total.

    `since` and `until` are the first and the last day. Memory holds one person's work at a time.
    """
    yield csv_line(HEADINGS)
    pseudonym = pseudonyms(project)
    for user_id, name in _people(project):
        done = [one for one in _votes_and_skips(project, user_id) if _within(one.day, since, until)]
        if not done:
            continue
        for day, of_day in groupby(done, key=attrgetter("day")):
            yield csv_line([pseudonym(user_id), name, day.isoformat(), *_figures(list(of_day))])
        yield csv_line([pseudonym(user_id), name, "total", *_figures(done)])


def _people(project: Project) -> list[tuple[int, str]]:
    done = Assignment.objects.in_project(project).filter(annotator=OuterRef("pk"))
    people = User.objects.filter(Exists(done)).order_by("username")
    return list(people.values_list("pk", "username"))


def _votes_and_skips(project: Project, user_id: int) -> Iterator[VoteOrSkip]:
    """In order of time, along the index of a person's votes and skips."""
    done = Assignment.objects.in_project(project).filter(
        annotator=user_id,
        state__in=(Assignment.State.VOTED, Assignment.State.SKIPPED),
        simulated=False,
        guideline_version__gt=0,
    )
    columns = done.order_by("acted_at").values_list("acted_at", "state", "active_ms", "wall_ms")
    zone = timezone.get_current_timezone()
    for at, state, active_ms, wall_ms in columns.iterator():
        if at is not None:
            yield VoteOrSkip(at.astimezone(zone).date(), state, active_ms, wall_ms)


def _within(day: date, since: date | None, until: date | None) -> bool:
    return (since is None or since <= day) and (until is None or day <= until)


def _figures(done: list[VoteOrSkip]) -> list[object]:
    votes = [one for one in done if one.state == Assignment.State.VOTED]
    times = [one.active_ms for one in votes if one.active_ms is not None]
    wall = sum(one.wall_ms or 0 for one in votes)
    seconds = f"{median(times) / 1000:.1f}" if times else ""
    minutes = [f"{ms / 60_000:.1f}" for ms in (sum(times), wall)]
    return [len(votes), len(done) - len(votes), *minutes, seconds]
