"""How well annotators agree, and what each of them did.

Agreement counts the first two votes of each pair in the order they were cast: later votes were
asked *because* of a disagreement, and counting them makes 0.73 look like 0.82. Surplus votes,
gold and retest pairs are outside. A pair counts only if both of its first votes are of the kind
asked for, since a person's vote after a simulated one was asked for the same reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, ExpressionWrapper, F, FloatField, Q, QuerySet, Sum

from annotate.agreement import Agreement, agreement, of_patterns, sums, wilson
from annotate.exporting.lines import pseudonyms
from annotate.models import Assignment, Pair, Project

STREAMS = ("random", "all")
ENOUGH_RANDOM = 200
"""Pairs the random stream must hold before it is the default."""

# Pairs whose first two votes are of the kind asked for. Spelt as in the index that covers it.
COUNTED = """
    FROM annotate_pair WHERE project_id = %(project)s AND "second" > ''
        AND kind NOT IN ('gold', 'retest') AND (%(simulated)s = 1 OR NOT firsts_simulated)
        AND (%(stream)s = 'all' OR stream = %(stream)s)
"""
# The six ways in which two votes can fall, as rows of votes for A, tie and B.
ANSWERS = [[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0], [0, 1, 1], [1, 0, 1]]
_FALLS = (
    """"first" = 'a' AND "second" = 'a'""",
    """"first" = 'tie' AND "second" = 'tie'""",
    """"first" = 'b' AND "second" = 'b'""",
    """"first" <> "second" AND "first" <> 'b' AND "second" <> 'b'""",
    """"first" <> "second" AND "first" <> 'a' AND "second" <> 'a'""",
    """"first" <> "second" AND "first" <> 'tie' AND "second" <> 'tie'""",
)
_FELL = ", ".join(f"COUNT(CASE WHEN {fall} THEN 1 END) AS f{i}" for i, fall in enumerate(_FALLS))
_NAMES = ", ".join(f"f{i}" for i in range(6))
# How many prompts have the same answers on their pairs: a few rows, however many pairs.
PATTERNS = f"""
    SELECT COUNT(*), {_NAMES} FROM (
        SELECT {_FELL} {COUNTED} GROUP BY prompt_id
    ) per_prompt GROUP BY {_NAMES}
"""
DUOS = f"""
    SELECT first_by_id, second_by_id, "first", "second", COUNT(*)
    {COUNTED} AND first_by_id IS NOT NULL AND second_by_id IS NOT NULL
    GROUP BY first_by_id, second_by_id, "first", "second"
"""
EVERY_VOTE = """
    SELECT p.prompt_id, SUM(CASE WHEN a.choice = 'a' THEN 1 ELSE 0 END),
        SUM(CASE WHEN a.choice IN ('tie', 'both_bad') THEN 1 ELSE 0 END),
        SUM(CASE WHEN a.choice = 'b' THEN 1 ELSE 0 END)
    FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
    WHERE p.project_id = %(project)s AND p.kind NOT IN ('gold', 'retest')
        AND a.state = 'voted' AND NOT a.surplus
        AND (%(simulated)s = 1 OR NOT a.simulated)
        AND (%(stream)s = 'all' OR p.stream = %(stream)s)
    GROUP BY a.pair_id, p.prompt_id HAVING COUNT(*) >= 2
    ORDER BY a.pair_id
"""


@dataclass(frozen=True)
class Measured:
    stream: str
    agreement: Agreement


def measure(
    project: Project,
    *,
    stream: str | None = None,
    every: bool = False,
    include_simulated: bool = False,
) -> Measured:
    """Agreement on a stream; by default the random one once it holds enough pairs."""
    read = _every_vote if every else _first_two
    found = read(project, stream or "random", include_simulated)
    if stream is None:
        stream = "random"
        if found.pairs < ENOUGH_RANDOM:
            stream, found = "all", read(project, "all", include_simulated)
    return Measured(stream, found)


def _first_two(project: Project, stream: str, include_simulated: bool) -> Agreement:
    found = rows(PATTERNS, project, stream, include_simulated)
    numbers = np.array(found, dtype=np.int64).reshape(-1, 7)
    return of_patterns(numbers[:, 1:] @ sums(np.array(ANSWERS)), numbers[:, 0])


def _every_vote(project: Project, stream: str, include_simulated: bool) -> Agreement:
    found = rows(EVERY_VOTE, project, stream, include_simulated)
    numbers = np.array(found, dtype=np.int64).reshape(-1, 4)
    return agreement(numbers[:, 1:], numbers[:, 0])


def rows(sql: str, project: Project, stream: str, include_simulated: bool) -> list[tuple[Any, ...]]:
    """What a statement of this module's kind finds; `stream` may be "all"."""
    parameters = {"project": project.pk, "stream": stream, "simulated": int(include_simulated)}
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
    cast = Assignment.objects.filter(pair__project=project)
    if not include_simulated:
        cast = cast.filter(simulated=False)
    found = (
        cast.values("annotator_id")
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
    compared, same = Counter[int](), Counter[int]()
    for one, other, first, second, n in rows(DUOS, project, "all", include_simulated):
        for person in (one, other):
            compared[person] += n
            same[person] += n if first == second else 0
    name = pseudonyms(project)
    return [
        _annotator_row(row, name(pk), compared[pk], same[pk])
        for row in found
        for pk in (row["annotator_id"],)
    ]


def _annotator_row(row: dict[str, Any], name: str, n: int, same: int) -> AnnotatorRow:
    return AnnotatorRow(
        pseudonym=name,
        simulated=row["simulated_votes"] > 0,
        votes=row["votes"],
        agreement=same / n if n else None,
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
