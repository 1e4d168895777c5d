"""Biases: causes of votes other than the better reply, namely the side, the look, the hour.

Read on demand, and from a sample where the project is large; how many votes a figure rests on is
part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db.models import BooleanField, Count, ExpressionWrapper, F, Q

from annotate.models import Assignment, Pair, Project
from annotate.models.assignment import KNOWN_SIDE, KNOWN_TIME
from annotate.quality.agreement_counts import BINS, rows
from annotate.statistics.fatigue import Fatigue, fatigue, minutes_in_sitting
from annotate.statistics.style_effects import ELEMENTS, StyleFit, elements, fit
from annotate.statistics.wilson_interval import wilson
from annotate.votes.export_values import pseudonyms

STYLE_PAIRS = 5_000
"""Pairs whose texts are read: an effect's interval is then a few hundredths wide."""
TIMED_VOTES = 100_000
"""Newest votes whose times are read."""

_OURS = """
    p.project_id = %(project)s AND p.kind NOT IN ('gold', 'retest')
        AND (%(simulated)s = 1 OR NOT p.firsts_simulated)
        AND (%(stream)s = 'all' OR p.stream = %(stream)s)
"""
# The texts of a part of the pairs that has nothing to do with their order.
TEXTS = f"""
    SELECT p.prompt_id, p."first", p."second", a.text, b.text
    FROM annotate_pair p JOIN annotate_completion a ON a.id = p.completion_a_id
        JOIN annotate_completion b ON b.id = p.completion_b_id
    WHERE {_OURS} AND p."first" <> '' AND p.id * 7919 %% {BINS} < %(bins)s
    ORDER BY p.id
"""


@dataclass(frozen=True, kw_only=True)
class LeftPicks:
    """Decided votes for the reply on the left."""

    name: str
    votes: int
    left: int

    @property
    def share(self) -> float | None:
        return self.left / self.votes if self.votes else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.left, self.votes)

    @property
    def leans(self) -> bool:
        """True when one half lies outside the interval."""
        return self.interval is not None and not self.interval[0] <= 0.5 <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class Bias:
    sides: LeftPicks
    outliers: list[LeftPicks]
    people: int
    style: StyleFit
    fatigue: Fatigue


def measure(project: Project, stream: str, include_simulated: bool) -> Bias:
    """Side, style and fatigue of one stream's votes, or of "all"."""
    sides = left_picks(project, stream, include_simulated)
    return Bias(
        sides=LeftPicks(
            name="everybody",
            votes=sum(one.votes for one in sides),
            left=sum(one.left for one in sides),
        ),
        outliers=[one for one in sides if one.leans],
        people=len(sides),
        style=style(project, stream, include_simulated),
        fatigue=tiredness(project, stream, include_simulated),
    )


def left_picks(project: Project, stream: str, include_simulated: bool) -> list[LeftPicks]:
    """Everybody who decided between two sides that are known, busiest first."""
    decided = Assignment.objects.filter(
        KNOWN_SIDE,
        pair__project=project,
        state=Assignment.State.VOTED,
        choice__in=("a", "b"),
    ).exclude(pair__kind__in=Pair.OUTSIDE_LABELS)
    if stream != "all":
        decided = decided.filter(pair__stream=stream)
    if not include_simulated:
        decided = decided.filter(simulated=False)
    decided_votes = (
        decided.values("annotator_id")
        .annotate(votes=Count("id"), on_the_left=Count("id", filter=Q(choice=F("left"))))
        .order_by("-votes", "annotator_id")
    )
    name = pseudonyms(project)
    return [
        LeftPicks(name=name(row["annotator_id"]), votes=row["votes"], left=row["on_the_left"])
        for row in decided_votes
    ]


def style(project: Project, stream: str, include_simulated: bool) -> StyleFit:
    """Effects of length and markdown on the first two votes of the sampled pairs."""
    bins = min(BINS, -(-BINS * STYLE_PAIRS // max(1, project.pairs.count())))
    differences, won, prompts = [], [], []
    for prompt, first, second, a, b in rows(TEXTS, project, stream, include_simulated, bins=bins):
        difference = np.subtract(elements(a), elements(b))
        for choice in (first, second):
            if choice in ("a", "b"):
                differences.append(difference)
                won.append(int(choice == "a"))
                prompts.append(prompt)
    table = np.array(differences, dtype=np.float64).reshape(-1, len(ELEMENTS))
    return fit(table, np.array(won, dtype=np.int64), np.array(prompts, dtype=np.int64))


def tiredness(project: Project, stream: str, include_simulated: bool) -> Fatigue:
    """Agreement along the sittings of the newest votes, whatever they were cast on."""
    cast = Assignment.objects.in_project(project).filter(KNOWN_TIME, state=Assignment.State.VOTED)
    if not include_simulated:
        cast = cast.filter(simulated=False)
    counts = Q(pair__fell__isnull=False) & ~Q(pair__kind__in=Pair.OUTSIDE_LABELS)
    counts &= Q(annotator=F("pair__first_by")) | Q(annotator=F("pair__second_by"))
    if stream != "all":
        counts &= Q(pair__stream=stream)
    if not include_simulated:
        counts &= Q(pair__firsts_simulated=False)
    columns = ("annotator_id", "voted_at", "pair_id", "pair__fell", "counts")
    first_votes = list(
        cast.annotate(counts=ExpressionWrapper(counts, output_field=BooleanField()))
        .order_by("-pk")
        .values_list(*columns)[:TIMED_VOTES]
    )
    people = np.array([row[0] for row in first_votes], dtype=np.int64)
    seconds = np.array([row[1].timestamp() for row in first_votes], dtype=np.float64)
    pairs = np.array([row[2] for row in first_votes], dtype=np.int64)
    same = np.array([row[3] is not None and row[3] < 3 for row in first_votes], dtype=np.int64)
    met = np.array([bool(row[4]) for row in first_votes], dtype=bool)
    minutes = minutes_in_sitting(people, seconds)
    return fatigue(minutes[met], same[met], people[met], pairs[met])
