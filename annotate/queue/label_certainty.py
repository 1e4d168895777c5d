"""Stopping early: how probable a pair's label is, given how reliable those are who voted.

The label is the class with most votes, so the answer agrees with what the votes amount to when
they are counted: one reliable person against another is a pair without a label, whoever is better.
"""

from __future__ import annotations

from collections import Counter

from django.db.models import OuterRef, Subquery

from annotate.models import Assignment, Membership
from annotate.statistics.aggregation import PLACE, posterior

PRIOR = (1 / 3, 1 / 3, 1 / 3)
"""A, tie, B before the first vote: which of the two is called A was drawn by lot."""


def of_label(pair_id: int) -> float:
    """P(label | votes), from 0 to 1; 0 where no class has more votes than every other."""
    author = Membership.objects.filter(
        project=OuterRef("pair__project"), user=OuterRef("annotator")
    )
    votes = Assignment.objects.filter(pair=pair_id).standing()
    cast = list(
        votes.values_list("choice", Subquery(author.values("reliability")[:1])).order_by("seq")
    )
    counts = Counter(PLACE[choice] for choice, _ in cast).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return 0.0
    return posterior(cast, PRIOR)[counts[0][0]]
