"""Agreement between annotators.

Agreement counts the first two votes of each pair in the order they were cast: later votes were
asked *because* of a disagreement, and counting them makes 0.73 look like 0.82. Surplus votes,
gold and retest pairs are outside. A pair counts only if both of its first votes are of the kind
asked for, since a person's vote after a simulated one was asked for the same reason.
Pairs that were chosen because their votes teach most are harder than pairs drawn at random, so
each stream is measured by itself beside all pairs together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, ExpressionWrapper, F, FloatField, QuerySet, Sum

from annotate.models import Pair, Project
from annotate.models.pair import FALLS
from annotate.statistics.agreement import Agreement, agreement, sums

State = Pair.State
STREAMS = ("random", "all")
"""The streams that scripts may ask for; the page shows the active stream as well."""
ENOUGH_RANDOM = 200
"""Pairs the random stream must hold before it is the default."""
SAMPLE = 10_000
"""Prompts that the intervals are taken from at most: their width is then known within 1 %."""
BINS = 1009

# Pairs whose first two votes are of the kind asked for. Spelt as in the index that covers it.
COUNTED = """
    FROM annotate_pair WHERE project_id = %(project)s AND fell IS NOT NULL
        AND kind NOT IN ('gold', 'retest') AND (%(simulated)s = 1 OR NOT firsts_simulated)
        AND (%(stream)s = 'all' OR stream = %(stream)s)
"""
# One pass without sorting: each stream by how the votes fell. Neither random nor active are
# comparisons of policies, and pairs whose votes came in a file.
_ONES = ("= 'active'", "= 'random'", "NOT IN ('active', 'random')")
TOTALS = "SELECT {} {}".format(
    ", ".join(
        f"COUNT(*) FILTER (WHERE fell = {fell} AND stream {one})"
        for one in _ONES
        for fell in range(len(FALLS))
    ),
    COUNTED,
)
# A part of the prompts that has nothing to do with the order in which they came.
SAMPLED = f"""
    SELECT prompt_id, fell, CASE stream WHEN 'active' THEN 0 WHEN 'random' THEN 1 ELSE 2 END
        {COUNTED}
        AND prompt_id * 7919 %% {BINS} < %(bins)s
"""
STREAM_CODES = {"random": (1,), "active": (0,), "all": (0, 1, 2)}
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
    if every:
        return _measure_every(project, stream, include_simulated)
    streams = by_stream(project, include_simulated=include_simulated)
    stream = stream or default_stream(streams)
    return Measured(stream, streams[stream])


def default_stream(streams: Mapping[str, Agreement]) -> str:
    """The stream to judge a project by."""
    return "random" if streams["random"].pairs >= ENOUGH_RANDOM else "all"


def by_stream(project: Project, *, include_simulated: bool = False) -> dict[str, Agreement]:
    """Agreement of the random stream, of the actively chosen pairs, and of all.

    Values count every pair; intervals come from all prompts, or from `SAMPLE` of them.
    """
    counted = np.array(rows(TOTALS, project, "all", include_simulated)).reshape(
        len(_ONES), len(FALLS)
    )
    bins = BINS
    if counted.sum() > SAMPLE:
        bins = min(BINS, -(-BINS * SAMPLE // project.prompts.count()))
    sampled = rows(SAMPLED, project, "all", include_simulated, bins=bins)
    prompt, fell, code = np.array(sampled, dtype=np.int64).reshape(-1, 3).T
    answers = np.array(FALLS)
    streams = {}
    for stream, codes in STREAM_CODES.items():
        chosen = np.isin(code, codes)
        streams[stream] = agreement(
            answers[fell[chosen]],
            prompt[chosen],
            totals=counted[list(codes)].sum(axis=0) @ sums(answers),
            share=bins / BINS,
        )
    return streams


def _measure_every(project: Project, stream: str | None, include_simulated: bool) -> Measured:
    measured = _every_vote(project, stream or "random", include_simulated)
    if stream is None and measured.pairs < ENOUGH_RANDOM:
        return Measured("all", _every_vote(project, "all", include_simulated))
    return Measured(stream or "random", measured)


def _every_vote(project: Project, stream: str, include_simulated: bool) -> Agreement:
    counts = rows(EVERY_VOTE, project, stream, include_simulated)
    numbers = np.array(counts, dtype=np.int64).reshape(-1, 4)
    return agreement(numbers[:, 1:], numbers[:, 0])


def rows(
    sql: str, project: Project, stream: str, include_simulated: bool, **more: str | int | None
) -> list[tuple[Any, ...]]:
    """Rows of a statement of this module's kind; `stream` may be "all"."""
    parameters: dict[str, str | int | None] = {
        "project": project.pk,
        "stream": stream,
        "simulated": int(include_simulated),
        **more,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


@dataclass(frozen=True)
class Summary:
    """Progress of the project."""

    open: int
    resolved: int
    adjudicate: int
    votes: int
    settled_votes: int

    @property
    def pairs(self) -> int:
        """Pairs of the project: those that people are, or were, asked about."""
        return self.open + self.resolved + self.adjudicate

    @property
    def votes_per_pair(self) -> float | None:
        """Votes that a settled pair took."""
        settled = self.resolved + self.adjudicate
        return self.settled_votes / settled if settled else None


def summary(project: Project) -> Summary:
    """Counts of pairs and votes, from the pairs' own counters."""
    states = (
        project.pairs.exclude(kind__in=Pair.OUTSIDE_LABELS)
        .values_list("state")
        .annotate(n=Count("*"), cast=Sum(F("n_a") + F("n_b") + F("n_tie")))
        .order_by()
    )
    pairs, votes = Counter[str](), Counter[str]()
    for state, n, cast in states:
        pairs[state], votes[state] = n, cast
    return Summary(
        open=pairs[State.OPEN],
        resolved=pairs[State.RESOLVED],
        adjudicate=pairs[State.ADJUDICATE],
        votes=votes.total(),
        settled_votes=votes[State.RESOLVED] + votes[State.ADJUDICATE],
    )


def hardest(project: Project, *, stream: str = "all", n: int = 10) -> QuerySet[Pair]:
    """Pairs whose standing votes disagree most; those to adjudicate first among equals."""
    asked = project.pairs.exclude(kind__in=Pair.OUTSIDE_LABELS)
    if stream != "all":
        asked = asked.filter(stream=stream)
    votes = F("n_a") + F("n_b") + F("n_tie")
    squares = F("n_a") * F("n_a") + F("n_b") * F("n_b") + F("n_tie") * F("n_tie")
    return (
        asked.annotate(total=votes)
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
