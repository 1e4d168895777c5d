"""manage.py export_data --project SLUG --format FORMAT --out FILE [--version V]"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotate.audit.recording import record_command
from annotate.exporting import (
    FORMATS,
    ExportFormat,
    UnknownFormat,
    export_files,
    format_named,
    freezing,
)
from annotate.exporting.compression import SUFFIXES
from annotate.exporting.formats.kto_sft_format import STYLES
from annotate.models import DatasetVersion, Project
from annotate.statements.statement_timeout import unhurried


class Command(BaseCommand):
    help = (
        "Export a dataset version. Without --version the votes that stand now are frozen; an "
        "unchanged state reuses its version. Votes of people whose weight is 0 decide nothing."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        # Django's own --version would hide ours, which the public surface names.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--format", required=True, help=", ".join(sorted(FORMATS)))
        parser.add_argument(
            "--out", required=True, type=Path, metavar="FILE", help="a folder for hf"
        )
        parser.add_argument("--version", type=int, metavar="V", dest="number")
        parser.add_argument("--include-simulated", action="store_true")
        parser.add_argument("--compression", choices=list(SUFFIXES), default="none")
        parser.add_argument("--style", choices=STYLES, help="of kto, sft and ranked")
        parser.add_argument("--licence", metavar="ID", help="that the card of hf states")

    def handle(self, *, project: str, format: str, out: Path, **options: Any) -> None:
        simulated = options["include_simulated"]
        # Libraries' objects stay: without them collections, of which there are many, are quick.
        gc.freeze()
        try:
            chosen = format_named(format)
            told = self._told(chosen, format, options)
            version = self._version(project, options["number"])
            if refusal := chosen.refusal(version):
                raise CommandError(refusal)
            with unhurried():
                paths = export_files.write_export(version, format, out, options=told)
                counts = chosen.counted(version, include_simulated=simulated)
        except UnknownFormat as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"Cannot write {out}: {error.strerror}.") from error
        record_command("export_data", project_slug=project, format=format, version=version.number)
        self.stdout.write(f"{version} sha256 {version.sha256}")
        for name, count in counts.items():
            self.stdout.write(f"{name:<22}{count:>10,}")
        for path in paths.values():
            self.stdout.write(str(path))

    def _told(
        self, chosen: ExportFormat, format: str, options: dict[str, Any]
    ) -> export_files.Options:
        told = {name: options[name] for name in ("style", "licence") if options[name]}
        unknown = [name for name in told if name not in chosen.options]
        if unknown:
            raise CommandError(f"The format {format!r} takes no --{unknown[0]}.")
        if chosen.files is not None and options["compression"] != "none":
            raise CommandError(f"The format {format!r} is a folder of compressed files.")
        return export_files.Options(
            include_simulated=options["include_simulated"],
            compression=options["compression"],
            told=told,
        )

    def _version(self, slug: str, number: int | None) -> DatasetVersion:
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            raise CommandError(f"There is no project {slug!r}.")
        try:
            return freezing.version_or_live(project, number)
        except DatasetVersion.DoesNotExist:
            raise CommandError(f"The project {slug!r} has no dataset version {number}.") from None
