"""The identity of pairs: when rows of files are about one and the same pair.

Two rows are one pair when they have the same prompt and the same two replies, in either order: a
reply is its text and the model that the row names. Rows with other names of their own (`source_id`)
stay apart where the same person would otherwise vote twice on one pair.
"""

from __future__ import annotations

from annotate.importing.imported_row import Comparison
from annotate.importing.limits import MAX_NAME
from annotate.importing.storage.import_context import Item, digest

Side = tuple[str, str]
"""Hash of a reply and the model that wrote it."""


def sides(item: Item, comparison: Comparison) -> tuple[Side, Side]:
    first, second = comparison.a, comparison.b
    replies = item.row.replies
    return (
        (item.replies[first], replies[first].model[:MAX_NAME]),
        (item.replies[second], replies[second].model[:MAX_NAME]),
    )


def pair_key(prompt: str, a: Side, b: Side) -> str:
    """Name of the pair of these two replies, whichever comes first."""
    if b < a:
        a, b = b, a
    return f"import:{digest(prompt, *a, *b)}"


def key_by_source(key: str, source_id: str) -> str:
    """Name of a pair that stays apart from the one of the same replies."""
    return f"{key}:{digest(source_id)[:16]}"
