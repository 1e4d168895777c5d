"""Exports: a dataset version as lines of JSON, streamed and byte-identical when repeated.

Each format is a module with `PARTS`, `lines(version, *, part, include_simulated)` and
`counts(version, *, include_simulated)`; adding one is a module and a line here.
"""

from __future__ import annotations

from types import ModuleType

from annotate.exporting import sft_format, trl_format, votes_format

FORMATS: dict[str, ModuleType] = {"sft": sft_format, "trl": trl_format, "votes": votes_format}


class UnknownFormat(ValueError):
    """A format nobody wrote; the message names the known ones."""


def format_named(name: str) -> ModuleType:
    """The module of a format."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UnknownFormat(f"Unknown export format {name!r}. Known formats: {known}.") from None
