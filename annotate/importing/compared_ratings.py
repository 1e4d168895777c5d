"""Pairs from ratings: of two replies to one prompt the one with the higher score is better.

Where an import asks for it. Replies stand in one row (UltraFeedback) or in rows that follow each
other (HelpSteer2). The ratings stay what they are, and what a row says besides is its reply's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from typing import NamedTuple

from annotate.importing.files import Place
from annotate.importing.imported_row import Choice, Comparison, Judgement, Reply, Row
from annotate.importing.limits import MAX_COMPARED


class Placed(NamedTuple):
    """A row that can be imported, and where it stands in the file."""

    place: Place
    row: Row


def compared(rows: Iterable[Placed], name: str) -> Iterator[Placed]:
    """The rows, with those that rate replies to one prompt by `name` made into pairs."""
    for _, group in groupby(rows, key=lambda one: _prompt_of_rated(one.row, name)):
        some: list[Placed] = []
        for one in group:
            if len(some) == MAX_COMPARED:
                yield from _joined(some, name)
                some = []
            some.append(one)
        yield from _joined(some, name)


def _prompt_of_rated(row: Row, name: str) -> str:
    """The prompt of a row that only rates; "" of others, which stay as they are."""
    rated = any(rating.name == name for reply in row.replies for rating in reply.ratings)
    return row.prompt_sha256 if rated and not row.comparisons else ""


def _joined(rows: Sequence[Placed], name: str) -> Iterator[Placed]:
    if not _prompt_of_rated(rows[0].row, name):
        yield from rows
        return
    replies = [reply for one in rows for reply in _with_metadata(one.row)]
    pairs = [
        comparison
        for (i, one), (j, other) in combinations(enumerate(replies), 2)
        if (comparison := _comparison(i, one, j, other, name))
    ]
    if not pairs:
        yield from rows
        return
    first = rows[0].row
    tags = dict.fromkeys(tag for one in rows for tag in one.row.tags)
    warnings = [warning for one in rows for warning in one.row.warnings]
    joined = replace(
        first,
        replies=replies,
        comparisons=pairs,
        tags=list(tags),
        metadata={},
        reference=next((one.row.reference for one in rows if one.row.reference), ""),
        warnings=warnings,
    )
    yield Placed(rows[0].place, joined)


def _with_metadata(row: Row) -> list[Reply]:
    return [
        replace(reply, metadata={**row.metadata, **reply.metadata}) if row.metadata else reply
        for reply in row.replies
    ]


def _comparison(i: int, one: Reply, j: int, other: Reply, name: str) -> Comparison | None:
    """Two replies, judged by everybody who rated both; None where nobody did."""
    first, second = _values(one, name), _values(other, name)
    both = [rater for rater in first if rater in second]
    if not both:
        return None
    judgements = [Judgement(_better(first[who], second[who]), who) for who in both]
    gaps = [abs(first[who] - second[who]) for who in both]
    return Comparison(i, j, judgements, margin=sum(gaps) / len(gaps))


def _values(reply: Reply, name: str) -> dict[str, float]:
    return {rating.rater: rating.value for rating in reply.ratings if rating.name == name}


def _better(first: float, second: float) -> Choice:
    if first == second:
        return "tie"
    return "a" if first > second else "b"
