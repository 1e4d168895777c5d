"""Ratings of replies, and votes from a file, as far as their source knows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from annotate.models import Assignment, Pair, Project, Rating
from annotate.votes import scales
from annotate.votes.export_values import pseudonyms

MOST = 50
"""Ratings of a reply, and imported votes of a pair, that are shown."""


class Rated(NamedTuple):
    """A rating in words; `who` is a pseudonym, or empty where the source names nobody."""

    name: str
    said: str
    who: str


class ImportedVote(NamedTuple):
    """A vote from a file, in words as far as the file knows it."""

    who: str
    says: str
    vote: Assignment


def ratings(project: Project, completions: Iterable[int]) -> dict[int, list[Rated]]:
    """Ratings by the completion that they are of, in the order they came; at most `MOST` of it."""
    name = pseudonyms(project)
    by_completion: dict[int, list[Rated]] = {}
    for rating in Rating.objects.filter(completion__in=list(completions)).order_by("pk"):
        who = name(rating.annotator_id) if rating.annotator_id else ""
        shown = by_completion.setdefault(rating.completion_id, [])
        if len(shown) < MOST:
            shown.append(Rated(rating.name, _said(rating), who))
    return by_completion


def imported_votes(pair: Pair) -> tuple[list[ImportedVote], int]:
    """The votes of the pair that came from a file, and how many more there are."""
    name = pseudonyms(pair.project)
    every = pair.assignments.filter(imported=True, state=Assignment.State.VOTED)
    votes = [
        ImportedVote(
            name(vote.annotator_id),
            scales.stated(pair.project.scale, vote.choice, vote.strength),
            vote,
        )
        for vote in every.order_by("seq")[:MOST]
    ]
    return votes, every.count() - len(votes) if len(votes) == MOST else 0


def _said(rating: Rating) -> str:
    """1 and 0 of a label are words; other values are numbers as they were."""
    if rating.name == "label" and rating.value in (0, 1):
        return "good" if rating.value else "bad"
    return f"{rating.value:g}"
