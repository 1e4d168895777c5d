"""The first rows of a file as its owner looks at them before the import."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from annotate.importing.imported_row import Row
from annotate.models.content import Messages

SHOWN = 5
"""Rows of the preview."""
SHOWN_TEXT = 20_000
"""Characters of a text in the preview."""
SHOWN_TURNS = 20


class Preview:
    """The first rows as annotators will see them: pairs, if there are any."""

    def __init__(self) -> None:
        self._pairs: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []

    def look_at(self, batch: Iterable[Row]) -> None:
        if len(self._pairs) == SHOWN:
            return
        for row in batch:
            kept = self._pairs if row.comparisons else self._others
            if len(kept) < SHOWN:
                kept.append(shown_row(row))

    def shown(self) -> list[dict[str, Any]]:
        return self._pairs or self._others


def shown_row(row: Row) -> dict[str, Any]:
    places = [row.comparisons[0].a, row.comparisons[0].b] if row.comparisons else range(2)
    replies = [row.replies[place] for place in places if place < len(row.replies)]
    judgements = row.comparisons[0].judgements if row.comparisons else ()
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
        "votes": [{"rater": one.rater[:80], "choice": one.choice} for one in judgements[:20]],
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
