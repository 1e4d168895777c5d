"""How well annotators agree, and what each of them did.

Agreement counts the first two votes of each pair in the order they were cast: later votes were
asked *because* of a disagreement, and counting them makes 0.73 look like 0.82. Surplus votes,
gold and retest pairs are outside. A pair counts only if both of its first votes are of the kind
asked for, since a person's vote after a simulated one was asked for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, ExpressionWrapper, F, FloatField, Q, QuerySet, Sum
from numpy.typing import NDArray

from annotate.agreement import Agreement, agreement, wilson
from annotate.exporting.lines import pseudonyms
from annotate.models import Assignment, Pair, Project

STREAMS = ("random", "all")
ENOUGH_RANDOM = 200
"""Pairs the random stream must hold before it is the default."""

# Standing votes in the order they were cast, numbered within their pair.
_VOTES = """
    SELECT a.pair_id, a.annotator_id, p.prompt_id, p.stream, a.simulated,
        CASE a.choice WHEN 'a' THEN 'a' WHEN 'b' THEN 'b' ELSE 'tie' END AS class,
        ROW_NUMBER() OVER (PARTITION BY a.pair_id ORDER BY a.seq) AS place
    FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
    WHERE p.project_id = %(project)s AND p.kind NOT IN ('gold', 'retest')
        AND a.state = 'voted' AND NOT a.surplus
"""
_COUNTED = f"""
    SELECT * FROM ({_VOTES}) numbered
    WHERE place <= %(places)s AND (%(simulated)s = 1 OR NOT simulated)
"""
PAIR_COUNTS = f"""
    SELECT stream, prompt_id, SUM(CASE WHEN class = 'a' THEN 1 ELSE 0 END),
        SUM(CASE WHEN class = 'tie' THEN 1 ELSE 0 END),
        SUM(CASE WHEN class = 'b' THEN 1 ELSE 0 END)
    FROM ({_COUNTED}) counted
    GROUP BY pair_id, prompt_id, stream HAVING COUNT(*) >= 2
    ORDER BY pair_id
"""
# Share of the others on the pair who gave the same answer, averaged over a person's votes.
WITH_THE_REST = f"""
    SELECT annotator_id, COUNT(*), SUM((same - 1.0) / (m - 1)) FROM (
        SELECT annotator_id, COUNT(*) OVER (PARTITION BY pair_id) AS m,
            COUNT(*) OVER (PARTITION BY pair_id, class) AS same
        FROM ({_COUNTED}) counted
    ) compared WHERE m >= 2 GROUP BY annotator_id
"""
EVERY = 2**31 - 1


@dataclass(frozen=True)
class PairCounts:
    """Votes for A, tie and B of every pair with at least two: rows (pairs, 3)."""

    random: NDArray[np.bool_]
    prompts: NDArray[np.int64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    stream: str
    agreement: Agreement


def pair_counts(
    project: Project, *, every: bool = False, include_simulated: bool = False
) -> PairCounts:
    """Votes per pair, the first two or every one of them, in one statement."""
    rows = _rows(PAIR_COUNTS, project, every=every, include_simulated=include_simulated)
    numbers = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 4)
    random = np.array([row[0] == Pair.Stream.RANDOM for row in rows], dtype=bool)
    return PairCounts(random, numbers[:, 0], numbers[:, 1:])


def measure(
    project: Project,
    *,
    stream: str | None = None,
    every: bool = False,
    include_simulated: bool = False,
) -> Measured:
    """Agreement on a stream; by default the random one once it holds enough pairs."""
    found = pair_counts(project, every=every, include_simulated=include_simulated)
    if stream is None:
        stream = "random" if found.random.sum() >= ENOUGH_RANDOM else "all"
    chosen = found.random if stream == "random" else np.ones(len(found.random), dtype=bool)
    return Measured(stream, agreement(found.counts[chosen], found.prompts[chosen]))


def _rows(
    sql: str, project: Project, *, every: bool, include_simulated: bool
) -> list[tuple[Any, ...]]:
    parameters = {
        "project": project.pk,
        "places": EVERY if every else 2,
        "simulated": int(include_simulated),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


@dataclass(frozen=True)
class Summary:
    """How far the project is."""

    open: int
    resolved: int
    adjudicate: int
    votes: int
    settled_votes: int

    @property
    def votes_per_pair(self) -> float | None:
        """Votes that a settled pair took."""
        settled = self.resolved + self.adjudicate
        return self.settled_votes / settled if settled else None


def summary(project: Project) -> Summary:
    """Counts of pairs and votes, from the pairs' own counters."""
    votes = F("n_a") + F("n_b") + F("n_tie")
    settled = Q(state__in=(Pair.State.RESOLVED, Pair.State.ADJUDICATE))
    found = project.pairs.exclude(kind__in=Pair.OUTSIDE_LABELS).aggregate(
        open=Count("id", filter=Q(state=Pair.State.OPEN)),
        resolved=Count("id", filter=Q(state=Pair.State.RESOLVED)),
        adjudicate=Count("id", filter=Q(state=Pair.State.ADJUDICATE)),
        votes=Sum(votes, default=0),
        settled_votes=Sum(votes, filter=settled, default=0),
    )
    return Summary(**found)


@dataclass(frozen=True, kw_only=True)
class AnnotatorRow:
    """One person's line in the table; None where there is nothing to measure."""

    pseudonym: str
    simulated: bool
    votes: int
    agreement: float | None
    compared: int
    left_share: float | None
    left_interval: tuple[float, float] | None
    skip_share: float


def annotators(project: Project, *, include_simulated: bool = False) -> list[AnnotatorRow]:
    """Everybody who voted, busiest first."""
    # Of imported votes the side is unknown; they carry no guideline version.
    sided = Q(state="voted", choice__in=("a", "b"), guideline_version__gt=0)
    rows = Assignment.objects.filter(pair__project=project)
    if not include_simulated:
        rows = rows.filter(simulated=False)
    found = (
        rows.values("annotator_id")
        .annotate(
            votes=Count("id", filter=Q(state="voted")),
            skips=Count("id", filter=Q(state="skipped")),
            simulated_votes=Count("id", filter=Q(simulated=True)),
            decided=Count("id", filter=sided),
            left=Count("id", filter=sided & Q(choice=F("left"))),
        )
        .filter(votes__gt=0)
        .order_by("-votes", "annotator_id")
    )
    rest = _rows(WITH_THE_REST, project, every=False, include_simulated=include_simulated)
    agreeing = {annotator: (n, float(share)) for annotator, n, share in rest}
    name = pseudonyms(project)
    return [
        _annotator_row(row, name(row["annotator_id"]), *agreeing.get(row["annotator_id"], (0, 0.0)))
        for row in found
    ]


def _annotator_row(row: dict[str, Any], name: str, n: int, agreeing: float) -> AnnotatorRow:
    return AnnotatorRow(
        pseudonym=name,
        simulated=row["simulated_votes"] > 0,
        votes=row["votes"],
        agreement=agreeing / n if n else None,
        compared=n,
        left_share=row["left"] / row["decided"] if row["decided"] else None,
        left_interval=wilson(row["left"], row["decided"]),
        skip_share=row["skips"] / (row["votes"] + row["skips"]),
    )


def hardest(project: Project, *, n: int = 10) -> QuerySet[Pair]:
    """Pairs whose standing votes disagree most; those to adjudicate first among equals."""
    votes = F("n_a") + F("n_b") + F("n_tie")
    squares = F("n_a") * F("n_a") + F("n_b") * F("n_b") + F("n_tie") * F("n_tie")
    return (
        project.pairs.exclude(kind__in=Pair.OUTSIDE_LABELS)
        .annotate(total=votes)
        .filter(total__gte=2)
        .annotate(
            spread=ExpressionWrapper(
                1.0 - squares * 1.0 / (F("total") * F("total")), output_field=FloatField()
            )
        )
        .filter(spread__gt=1e-9)
        .select_related("prompt", "completion_a", "completion_b")
        .order_by("-spread", "-total", "id")[:n]
    )
