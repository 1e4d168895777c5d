"""Formats `trl` and `trl-conversational`: explicit prompt, chosen and rejected per pair.

The first is text, for models without a chat template; the second chats, with tools.
"""

from __future__ import annotations

from collections.abc import Iterator

from annotate.exporting.formats import preference_rows
from annotate.exporting.formats.text_styles import CHAT, Style, text_style
from annotate.models import DatasetVersion

PARTS = {
    "trl": "one line per pair with a winner (prompt, chosen, rejected)",
    "ties": preference_rows.TIES,
}
CHAT_PARTS = {"trl-conversational": PARTS["trl"], "ties": PARTS["ties"]}


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, and the pairs without a winner by kind."""
    return preference_rows.counts(version, part="trl", include_simulated=include_simulated)


def chat_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, and the pairs without a winner by kind."""
    part = "trl-conversational"
    return preference_rows.counts(version, part=part, include_simulated=include_simulated)


def lines(
    version: DatasetVersion, *, part: str = "trl", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the pairs with a winner, or (part `ties`) of those without, as text."""
    return _lines(version, text_style(version), part, include_simulated)


def chat_lines(
    version: DatasetVersion, *, part: str = "trl-conversational", include_simulated: bool
) -> Iterator[bytes]:
    """The same as chats."""
    return _lines(version, CHAT, part, include_simulated)


def _lines(
    version: DatasetVersion, style: Style, part: str, include_simulated: bool
) -> Iterator[bytes]:
    rows = preference_rows.ties if part == "ties" else preference_rows.winners
    return preference_rows.lines(rows(version, style, include_simulated=include_simulated))
