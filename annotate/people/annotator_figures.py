"""Figures of each annotator, with their certainty: figures for reviewers, never for annotators.

Everything is counted in a handful of statements over the whole project. That takes seconds where
there are many votes: there the minute tick counts, and pages show what it kept
(annotate.people.cached_annotator_figures). Agreement counts the first two votes of each pair, like
annotate.quality.agreement_counts. Gold pairs and retests count as work, and only there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from annotate.models import Assignment, Membership, Project
from annotate.models.assignment import KNOWN_SIDE, AssignmentQuerySet
from annotate.statistics.low_agreement import Meetings, doubts
from annotate.statistics.wilson_interval import wilson
from annotate.votes.export_values import pseudonyms
from annotate.votes.labels import CLASS_SQL, TIES

TOO_FAST_MS = 2000
"""Nobody reads two replies in less; such a vote says little, a habit of them a lot."""
FEW = 10
"""Below, the interval of a share is wider than half of all there is."""
DAYS = 30
RECENT = 20

_OURS = "(%(simulated)s = 1 OR NOT a.simulated)"

# The middle of each person's active times, or the mean of the two in the middle.
MEDIANS = f"""
    SELECT annotator_id, AVG(active_ms) FROM (
        SELECT a.annotator_id, a.active_ms,
            ROW_NUMBER() OVER (PARTITION BY a.annotator_id ORDER BY a.active_ms) AS place,
            COUNT(*) OVER (PARTITION BY a.annotator_id) AS n
        FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
        WHERE p.project_id = %(project)s AND a.state = 'voted' AND a.active_ms IS NOT NULL
            AND {_OURS}
    ) ordered WHERE 2 * place BETWEEN n AND n + 2 GROUP BY annotator_id
"""
# From the few gold pairs and retests to their votes: SQLite keeps the order of a CROSS JOIN, and
# would otherwise read every vote of the project.
GOLD = f"""
    SELECT a.annotator_id, COUNT(*),
        SUM(CASE WHEN {CLASS_SQL.format("a.choice")} = {CLASS_SQL.format("g.expected")}
            THEN 1 ELSE 0 END)
    FROM annotate_gold g CROSS JOIN annotate_pair p CROSS JOIN annotate_assignment a
    WHERE p.id = g.pair_id AND a.pair_id = p.id
        AND p.project_id = %(project)s AND g.active AND NOT g.qualification
        AND a.state = 'voted' AND {_OURS}
    GROUP BY a.annotator_id
"""
RETESTS = f"""
    SELECT a.annotator_id, COUNT(*),
        SUM(CASE WHEN {CLASS_SQL.format("a.choice")} = {CLASS_SQL.format("o.choice")}
            THEN 1 ELSE 0 END)
    FROM annotate_pair p CROSS JOIN annotate_assignment a CROSS JOIN annotate_assignment o
    WHERE p.retest_of_id > 0 AND a.pair_id = p.id
        AND o.pair_id = p.retest_of_id AND o.annotator_id = a.annotator_id
        AND p.project_id = %(project)s AND p.kind = 'retest'
        AND a.state = 'voted' AND o.state = 'voted' AND {_OURS}
    GROUP BY a.annotator_id
"""
# A file need not say how strongly somebody judged.
_SURE = "COALESCE(a.strength, CASE WHEN a.choice IN ('a', 'b') THEN 2 ELSE 0 END)"
# The first two votes of each pair, as counts per two people and how decided each of them was.
MEETINGS = f"""
    SELECT one, other, sure_one, sure_other, COUNT(*),
        SUM(CASE WHEN class_one = class_other THEN 1 ELSE 0 END)
    FROM (
        SELECT a.annotator_id AS one, LEAD(a.annotator_id) OVER votes AS other,
            {CLASS_SQL.format("a.choice")} AS class_one,
            LEAD({CLASS_SQL.format("a.choice")}) OVER votes AS class_other,
            {_SURE} AS sure_one, LEAD({_SURE}) OVER votes AS sure_other,
            a.simulated AS simulated_one, LEAD(a.simulated) OVER votes AS simulated_other,
            ROW_NUMBER() OVER votes AS place
        FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
        WHERE p.project_id = %(project)s AND p.kind NOT IN ('gold', 'retest')
            AND p.fell IS NOT NULL AND a.state = 'voted' AND NOT a.surplus
        WINDOW votes AS (PARTITION BY a.pair_id ORDER BY a.seq)
    ) placed
    WHERE place = 1 AND other IS NOT NULL
        AND (%(simulated)s = 1 OR NOT (simulated_one OR simulated_other))
    GROUP BY one, other, sure_one, sure_other
"""


@dataclass(frozen=True)
class Share:
    """Hits among n, with what that says about the share behind them."""

    hits: int = 0
    n: int = 0

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def says_little(self) -> bool:
        return 0 < self.n < FEW

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval."""
        return wilson(self.hits, self.n)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Counts and shares of one person."""

    annotator_id: int
    simulated: bool
    votes: int
    last_vote: datetime | None
    active_ms: int
    median_ms: float | None
    agreement: Share
    gold: Share
    retest: Share
    left: Share
    ties: Share
    skips: Share
    too_fast: Share
    doubt: float | None
    """Probability of so little agreement for an honest person; None when too few votes say."""

    @property
    def active_minutes(self) -> float:
        return self.active_ms / 60_000

    @property
    def median_seconds(self) -> float | None:
        return None if self.median_ms is None else self.median_ms / 1000


@dataclass(frozen=True, kw_only=True)
class Row(Figures):
    """One person's figures, and who they are."""

    member: Membership | None
    """None for a superuser who votes without a membership in the project."""
    pseudonym: str

    @property
    def reliability(self) -> float | None:
        """Chance of a right answer as last estimated (annotate.quality.reliability)."""
        return self.member.reliability if self.member else None


def rows(project: Project, *, include_simulated: bool = False) -> list[Row]:
    """Everybody who voted or skipped, busiest first, counted now."""
    return named(project, count(project, include_simulated=include_simulated))


def named(project: Project, counted: list[Figures]) -> list[Row]:
    """The figures with who they are of, as that stands now."""
    members = {m.user_id: m for m in project.memberships.select_related("user", "project")}
    name = pseudonyms(project)
    return [
        Row(**vars(one), member=members.get(one.annotator_id), pseudonym=name(one.annotator_id))
        for one in counted
    ]


def count(project: Project, *, include_simulated: bool = False) -> list[Figures]:
    """Everybody who voted or skipped, busiest first."""
    met = meetings(project, include_simulated=include_simulated)
    doubted = doubts(met)
    gold = _shares(GOLD, project, include_simulated=include_simulated)
    retest = _shares(RETESTS, project, include_simulated=include_simulated)
    agreed = _agreement(met)
    medians = dict(_fetch(MEDIANS, project, include_simulated=include_simulated))

    def figures(work: dict[str, Any]) -> Figures:
        who = work.pop("annotator_id")
        median = medians.get(who)
        return Figures(
            annotator_id=who,
            median_ms=None if median is None else float(median),
            doubt=doubted.get(who),
            gold=gold.get(who, Share()),
            retest=retest.get(who, Share()),
            agreement=agreed.get(who, Share()),
            **_counted(work),
        )

    return [figures(dict(work)) for work in _work(project, include_simulated=include_simulated)]


def meetings(project: Project, *, include_simulated: bool = False) -> list[Meetings]:
    """Counts of one person giving another's answer; every meeting once from either side."""
    both_ways = []
    for one, other, sure_one, sure_other, n, same in _fetch(
        MEETINGS, project, include_simulated=include_simulated
    ):
        both_ways += [
            Meetings(one, other, sure_other, n, same),
            Meetings(other, one, sure_one, n, same),
        ]
    return both_ways


def _agreement(met: list[Meetings]) -> dict[int, Share]:
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in met:
        counts[one.annotator][0] += one.same
        counts[one.annotator][1] += one.n
    return {who: Share(same, n) for who, (same, n) in counts.items()}


def _shares(sql: str, project: Project, *, include_simulated: bool) -> dict[int, Share]:
    """Person -> share, by a statement that gives people, their counts and their hits."""
    hits_of_people = _fetch(sql, project, include_simulated=include_simulated)
    return {who: Share(hits, n) for who, n, hits in hits_of_people}


def _fetch(sql: str, project: Project, *, include_simulated: bool) -> list[tuple[Any, ...]]:
    parameters = {"project": project.pk, "simulated": int(include_simulated)}
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _work(project: Project, *, include_simulated: bool) -> QuerySet[Any, Any]:
    voted = Q(state=Assignment.State.VOTED)
    sided = voted & Q(choice__in=("a", "b")) & KNOWN_SIDE
    own = Assignment.objects.filter(pair__project=project)
    if not include_simulated:
        own = own.filter(simulated=False)
    return (
        own.values("annotator_id")
        .annotate(
            votes=Count("id", filter=voted),
            skipped=Count("id", filter=Q(state=Assignment.State.SKIPPED)),
            simulated_votes=Count("id", filter=Q(simulated=True)),
            tied=Count("id", filter=voted & Q(choice__in=TIES)),
            decided=Count("id", filter=sided),
            on_the_left=Count("id", filter=sided & Q(choice=F("left"))),
            timed=Count("active_ms", filter=voted),
            fast=Count("id", filter=voted & Q(active_ms__lt=TOO_FAST_MS)),
            time=Sum("active_ms", filter=voted, default=0),
            last_vote=Max("voted_at", filter=voted),
        )
        .filter(Q(votes__gt=0) | Q(skipped__gt=0))
        .order_by("-votes", "annotator_id")
    )


def _counted(work: dict[str, Any]) -> dict[str, Any]:
    votes, skipped = work["votes"], work["skipped"]
    return {
        "simulated": work["simulated_votes"] > 0,
        "votes": votes,
        "last_vote": work["last_vote"],
        "active_ms": work["time"],
        "left": Share(work["on_the_left"], work["decided"]),
        "ties": Share(work["tied"], votes),
        "skips": Share(skipped, votes + skipped),
        "too_fast": Share(work["fast"], work["timed"]),
    }


@dataclass(frozen=True)
class Day:
    day: date
    votes: int
    active_ms: int

    @property
    def active_minutes(self) -> float:
        return self.active_ms / 60_000


def votes_per_day(project: Project, user_id: int, *, simulated: bool = False) -> list[Day]:
    """The last days on which the person voted, newest first."""
    since = timezone.now() - timedelta(days=DAYS)
    by_day = (
        votes_of(project, user_id, simulated=simulated)
        # Whoever voted acted: the index of acts leads to the days, and not through all votes.
        .filter(voted_at__gte=since, acted_at__gte=since)
        .annotate(day=TruncDate("voted_at"))
        .values("day")
        .annotate(votes=Count("id"), time=Sum("active_ms", default=0))
        .order_by("-day")
    )
    return [Day(row["day"], row["votes"], row["time"]) for row in by_day]


def votes_of(project: Project, user_id: int, *, simulated: bool = False) -> AssignmentQuerySet:
    """One person's votes; simulated colleagues' are simulated, a person's own are not."""
    return Assignment.objects.in_project(project).filter(
        annotator=user_id, state=Assignment.State.VOTED, simulated=simulated
    )


def recent(project: Project, member: Membership) -> QuerySet[Assignment]:
    """The newest votes of one person, with their prompts and seconds."""
    own = votes_of(project, member.user_id, simulated=member.simulated)
    own = own.annotate(seconds=F("active_ms") / 1000.0)
    return own.select_related("pair__prompt").order_by("-acted_at", "-id")[:RECENT]
