"""Names of the files of an export, and their kinds as browsers know them."""

from __future__ import annotations

from annotate.exporting import ExportFormat
from annotate.exporting.compression import SUFFIXES
from annotate.models import DatasetVersion

MEDIA = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "zip": "application/zip",
}
"""By what a file's name ends in."""


def ending(chosen: ExportFormat, compression: str) -> str:
    """The end of the names of a format's files."""
    return chosen.suffix + SUFFIXES[compression]


def file_name(version: DatasetVersion, part: str, ending: str) -> str:
    """The name under which a person downloads a part."""
    return f"{version.project.slug}-v{version.number}-{part}.{ending}"
