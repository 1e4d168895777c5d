"""Exports of a dataset version, streamed and byte-identical when repeated.

May import: models, statistics, votes.
"""

from __future__ import annotations

from annotate.exporting.format_table import (
    FORMATS,
    ExportFormat,
    UnknownFormat,
    format_named,
)

__all__ = ["FORMATS", "ExportFormat", "UnknownFormat", "format_named"]
