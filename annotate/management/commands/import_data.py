"""manage.py import_data FILE --project SLUG [--dry-run] [--strict]"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotate.importing import Report, Unreadable, import_rows
from annotate.models import Project


class Command(BaseCommand):
    help = (
        "Import prompts, completions, pairs and votes from JSON, CSV, TSV, Parquet or Arrow, plain "
        "or in gzip, zstd, ZIP or tar, or from a folder of such files (save_to_disk too). Rows "
        "that cannot be imported are reported with their line; the others are imported, and the "
        "exit code is 1. The same file again adds nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--dry-run", action="store_true", help="only report what would happen")
        parser.add_argument(
            "--strict", action="store_true", help="import nothing if any row is refused"
        )

    def handle(self, *, file: Path, project: str, **options: Any) -> None:
        target = Project.objects.filter(slug=project).first()
        if target is None:
            raise CommandError(f"There is no project {project!r}.")
        try:
            report = import_rows(target, file, dry_run=options["dry_run"], strict=options["strict"])
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from error
        except Unreadable as error:
            raise CommandError(f"{file}: {error} Nothing was imported.") from error
        self.stdout.write(report.table())
        self._complain(report)

    def _complain(self, report: Report) -> None:
        """Exit code 1 when rows were refused, so that scripts notice."""
        if report.verdict:
            raise CommandError(report.verdict)
