"""Figures of a project's home: counted for the page, or by the minute tick where there are many.

Votes are those that count: standing, and outside gold pairs and retests, as on every page.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from annotate.models import Assignment, Overview, Pair, Project
from annotate.people.cached_annotator_figures import (
    AT_LEAST_EVERY,
    LIVE_UP_TO,
    NEW_PART,
    acts_since,
)
from annotate.quality import agreement_counts
from annotate.quality.agreement_counts import Summary
from annotate.quality.bradley_terry import Leaderboard, Standing, leaderboard, meetings
from annotate.review import adjudication
from annotate.statements.statement_timeout import unhurried
from annotate.statistics import agreement

DAYS = 28
"""Days of the chart of votes, today among them."""

OTHER_PAIRS = "other_pairs"
"""Key of kept figures with the leaderboard of pairs that were queued for training, which the home
does not show."""
KEPT = "_kept_overview"
"""Name under which an object of a project holds its last count."""
COUNTS = Q(surplus=False) & ~Q(pair__kind__in=Pair.OUTSIDE_LABELS)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Raw agreement of two people, with its 95 % interval, as the page about it shows it."""

    value: float
    low: float | None
    high: float | None
    pairs: int
    stream: str
    simulated: bool
    """True where people have voted on too little and simulated colleagues count as well."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A project in numbers."""

    open: int
    resolved: int
    adjudicate: int
    waiting: int
    """Pairs on the page of adjudication: without a majority, against the model, or flagged."""
    votes: int
    settled_votes: int
    """On pairs that have all of theirs."""
    simulated_votes: int
    annotators: int
    """People who voted here, neither simulated nor from a file."""
    active_ms: int
    days: list[tuple[str, int, int]]
    """Day, votes of people, simulated votes; the last `DAYS`, oldest first."""
    agreement: Agreement | None
    streams: dict[str, dict[str, Any]]
    """All statistics of people's agreement, by the stream that they are measured on."""
    counted_at: datetime | None = None
    """The time of the minute tick's count; None for just now."""

    @property
    def pairs(self) -> int:
        """Pairs that were asked about, or will be."""
        return self.open + self.resolved + self.adjudicate

    @property
    def settled(self) -> int:
        return self.resolved + self.adjudicate

    @property
    def active_minutes(self) -> float:
        return self.active_ms / 60_000

    @property
    def votes_a_day(self) -> float:
        """The pace of the last seven days."""
        return sum(people + simulated for _, people, simulated in self.days[-7:]) / 7


def figures(project: Project) -> Figures:
    """The figures as the minute tick left them, or counted now where it keeps none."""
    kept = _kept(project)
    return _counted(project) if kept is None else _from_json(kept)


def count_overview_if_due(project: Project) -> bool:
    """Count anew where the home shows kept figures, and enough is new; whether it did."""
    now = timezone.now()
    kept = _kept(project)
    if kept is None:
        due = Assignment.objects.in_project(project)[LIVE_UP_TO : LIVE_UP_TO + 1].exists()
    else:
        new = acts_since(project, kept.counted_at) * NEW_PART > kept.figures["votes"]
        due = new or kept.counted_at < now - AT_LEAST_EVERY
    if due:
        with unhurried():
            figures = asdict(_counted(project))
            board = leaderboard(meetings(project, "training"))
        del figures["counted_at"]
        figures[OTHER_PAIRS] = board and asdict(board)
        defaults = {"figures": figures, "counted_at": now}
        Overview.objects.update_or_create(project=project, defaults=defaults)
        vars(project).pop(KEPT, None)
    return due


def keep_fresh_pairs(project: Project, version: int | None, n: int) -> None:
    """Write down what the minute tick counted before it decided about a round."""
    Overview.objects.filter(project=project).update(fresh_since=version, fresh_pairs=n)
    vars(project).pop(KEPT, None)


def kept_fresh_pairs(project: Project, version: int | None) -> int | None:
    """Resolved pairs that `version` does not hold, as last counted; None where nobody keeps it."""
    kept = Overview.objects.filter(project=project, fresh_since=version).first()
    return kept.fresh_pairs if kept else None


def waiting(project: Project) -> int:
    """Pairs that wait for a reviewer, as last counted or counted now."""
    kept = _kept(project)
    return adjudication.waiting(project).total() if kept is None else kept.figures["waiting"]


def progress(project: Project) -> Summary:
    """Counts of pairs and votes, as last counted or counted now."""
    return _progress(project, _kept(project))


def progress_and_fresh(project: Project, version: int | None) -> tuple[Summary, int | None]:
    """The same with the pairs of `kept_fresh_pairs`, by one look."""
    kept = _kept(project)
    there = kept is not None and kept.fresh_since == version
    return _progress(project, kept), kept.fresh_pairs if kept and there else None


def _progress(project: Project, kept: Overview | None) -> Summary:
    if kept is None:
        return agreement_counts.summary(project)
    return Summary(**{field.name: kept.figures[field.name] for field in fields(Summary)})


def agreement_by_stream(
    project: Project, *, include_simulated: bool
) -> tuple[dict[str, agreement.Agreement], datetime | None]:
    """Agreement of each stream and the time of the count, or None where it was counted now."""
    kept = None if include_simulated else _kept(project)
    if kept is None:
        return agreement_counts.by_stream(project, include_simulated=include_simulated), None
    streams = kept.figures["streams"].items()
    return {name: _statistics(one) for name, one in streams}, kept.counted_at


def leaderboard_of_other_pairs(project: Project) -> tuple[Leaderboard | None, datetime | None]:
    """Ratings from people's votes on pairs that were queued for training, against the default
    reference, and the time of the count, or None where they were made now."""
    kept = _kept(project)
    if kept is None:
        return leaderboard(meetings(project, "training")), None
    told = kept.figures[OTHER_PAIRS]
    if told is None:
        return None, kept.counted_at
    standings = [Standing(**one) for one in told["standings"]]
    return Leaderboard(**told | {"standings": standings}), kept.counted_at


def _statistics(kept: dict[str, Any]) -> agreement.Agreement:
    """Agreement as it was before it was kept as JSON."""
    intervals = kept["intervals"].items()
    pairs = {name: (low_high[0], low_high[1]) if low_high else None for name, low_high in intervals}
    return agreement.Agreement(**kept | {"intervals": pairs})


def _kept(project: Project) -> Overview | None:
    """The figures of the last count, unless another release of the product counted others.

    Looked up once for each object of a project: that of a request, or of one turn of the schedule.
    """
    if KEPT not in vars(project):
        vars(project)[KEPT] = Overview.objects.filter(project=project).first()
    kept: Overview | None = vars(project)[KEPT]
    names = {field.name for field in fields(Figures)} - {"counted_at"}
    return kept if kept and set(kept.figures) == names | {OTHER_PAIRS} else None


def _from_json(kept: Overview) -> Figures:
    told = kept.figures["agreement"]
    given = kept.figures | {
        "agreement": told and Agreement(**told),
        "days": [tuple(day) for day in kept.figures["days"]],
    }
    del given[OTHER_PAIRS]
    return Figures(**given, counted_at=kept.counted_at)


def _counted(project: Project) -> Figures:
    streams = agreement_counts.by_stream(project)
    return Figures(
        **asdict(agreement_counts.summary(project)),
        waiting=adjudication.waiting(project).total(),
        days=_days(project),
        agreement=_agreement(project, streams),
        # As JSON keeps it, so that what was counted and what was kept are the same.
        streams=json.loads(json.dumps({name: asdict(one) for name, one in streams.items()})),
        **_work(project),
    )


def _work(project: Project) -> dict[str, Any]:
    ours = Q(simulated=False, imported=False)
    return (
        Assignment.objects.in_project(project)
        .voted()
        .aggregate(
            simulated_votes=Count("pk", filter=COUNTS & Q(simulated=True)),
            annotators=Count("annotator", filter=ours, distinct=True),
            active_ms=Sum("active_ms", filter=ours, default=0),
        )
    )


def _days(project: Project) -> list[tuple[str, int, int]]:
    today = timezone.localtime().date()
    first = today - timedelta(days=DAYS - 1)
    since = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    since -= timedelta(days=DAYS - 1)
    rows = (
        Assignment.objects.in_project(project)
        .voted()
        .filter(COUNTS, voted_at__gte=since)
        .values(day=TruncDate("voted_at"))
        .annotate(
            people=Count("pk", filter=Q(simulated=False)),
            simulated=Count("pk", filter=Q(simulated=True)),
        )
        .order_by("day")
    )
    counted = {row["day"]: (row["people"], row["simulated"]) for row in rows}
    days = (first + timedelta(days=n) for n in range(DAYS))
    return [(day.isoformat(), *counted.get(day, (0, 0))) for day in days]


def _agreement(project: Project, streams: dict[str, agreement.Agreement]) -> Agreement | None:
    """People's, as `streams` has it; with simulated votes where those alone say anything."""
    told = _of_default_stream(streams, simulated=False)
    if told is None and project.train_on_simulated:
        both = agreement_counts.by_stream(project, include_simulated=True)
        told = _of_default_stream(both, simulated=True)
    return told


def _of_default_stream(
    streams: dict[str, agreement.Agreement], *, simulated: bool
) -> Agreement | None:
    stream = agreement_counts.default_stream(streams)
    measured = streams[stream]
    value = measured.values["raw"]
    if value is None:
        return None
    low, high = measured.intervals["raw"] or (None, None)
    return Agreement(
        value=value,
        low=low,
        high=high,
        pairs=measured.pairs,
        stream=stream,
        simulated=simulated,
    )
