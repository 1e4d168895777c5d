"""The first pairs of a file as its owner looks at them before the import."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from annotate.importing.imported_row import Row
from annotate.importing.storage.pair_states import turned
from annotate.models.content import Messages

SHOWN = 5
"""Pairs of the preview, or rows where there are none."""
SHOWN_VOTES = 20
SHOWN_TEXT = 20_000
"""Characters of a text in the preview."""
SHOWN_TURNS = 20


class Preview:
    """The first pairs as annotators will see them, with the votes of all their rows at hand; the
    first rows where there is no pair."""

    def __init__(self) -> None:
        self._pairs: list[_ShownPair] = []
        self._others: list[dict[str, Any]] = []

    def look_at(self, batch: Iterable[Row]) -> None:
        if len(self._pairs) == SHOWN:
            return
        for row in batch:
            if not row.comparisons:
                if len(self._others) < SHOWN:
                    self._others.append(shown_row(row))
                continue
            one = _ShownPair(row)
            if not any(pair.takes(one) for pair in self._pairs) and len(self._pairs) < SHOWN:
                self._pairs.append(one)

    def shown(self) -> list[dict[str, Any]]:
        return [pair.shown() for pair in self._pairs] or self._others


class _ShownPair:
    """The first comparison of a row, and the votes of other rows on the same replies."""

    def __init__(self, row: Row) -> None:
        self._row, first = row, row.comparisons[0]
        a, b = (row.replies[place] for place in (first.a, first.b))
        self._sides = [(a.sha256, a.model), (b.sha256, b.model)]
        self._name = first.source_id
        self._votes = list(first.judgements[:SHOWN_VOTES])

    def takes(self, other: _ShownPair) -> bool:
        """Take the votes of another row in, if it is one pair with this one: of several votes of a
        person the last one counts, unless the source tells the rows apart."""
        is_turned = other._sides == self._sides[::-1] != self._sides
        of_one = is_turned or other._sides == self._sides
        if not of_one or other._row.prompt_sha256 != self._row.prompt_sha256:
            return False
        people = {vote.rater for vote in other._votes if vote.rater}
        twice = [vote for vote in self._votes if vote.rater in people]
        if twice and other._name != self._name:
            return False
        kept = [vote for vote in self._votes if vote not in twice]
        new = map(turned, other._votes) if is_turned else other._votes
        self._votes = [*kept, *new][:SHOWN_VOTES]
        return True

    def shown(self) -> dict[str, Any]:
        votes = [{"rater": one.rater[:80], "choice": one.choice} for one in self._votes]
        return shown_row(self._row) | {"votes": votes}


def shown_row(row: Row) -> dict[str, Any]:
    places = [row.comparisons[0].a, row.comparisons[0].b] if row.comparisons else range(2)
    replies = [row.replies[place] for place in places if place < len(row.replies)]
    return {
        "messages": _cut(row.messages),
        "tools": row.tools if _is_short(row.tools) else None,
        "replies": [
            {
                "text": one.text[:SHOWN_TEXT],
                "model": one.model,
                "messages": one.messages and _cut(one.messages),
            }
            for one in replies
        ],
        "votes": [],
        "tags": list(row.tags)[:20],
        "comparisons": len(row.comparisons),
    }


def _cut(messages: Messages) -> Messages:
    """The last turns of a chat, without what is too long to look at."""
    return [
        {
            name: value[:SHOWN_TEXT] if name == "content" else value
            for name, value in message.items()
            if name == "content" or _is_short(value)
        }
        for message in messages[-SHOWN_TURNS:]
    ]


def _is_short(value: Any) -> bool:
    return len(json.dumps(value, default=str)) <= SHOWN_TEXT
