"""manage.py import_data FILE --project SLUG [--map FIELD=COLUMN ...] [--dry-run] [--undo UUID]

Instead of FILE: --dataset OWNER/NAME [--config NAME] [--split NAME] [--revision NAME].
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from annotate.audit.recording import record_command
from annotate.importing import Report, Unreadable
from annotate.importing.check_result import Check, Source
from annotate.importing.files.text_encodings import ENCODINGS, short_title
from annotate.importing.shapes.column_mapping import Chosen
from annotate.jobs import datasets_by_name, foreground_import
from annotate.jobs.foreground_import import Display
from annotate.jobs.import_actions import JUDGED
from annotate.jobs.upload_files import Refusal, problems_path
from annotate.models import Import, Project


def field_and_column(text: str) -> tuple[str, str]:
    """`prompt=question` as a field and its column; after a bare `=` no column is the field."""
    name, sign, column = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r}: FIELD=COLUMN is expected")
    return name, column


class Command(BaseCommand):
    help = (
        "Import prompts, completions, pairs and votes from JSON, CSV, TSV, Parquet or Arrow, plain "
        "or in gzip, zstd, ZIP or tar, or from a folder of such files (save_to_disk too). Rows "
        "that cannot be imported are reported with their line; the others are imported, and the "
        "exit code is 1. The same file again adds nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, nargs="?")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--dataset",
            metavar="OWNER/NAME",
            help="instead of FILE: a dataset of the Hugging Face hub, or of that name below "
            "PAIRLOOP_IMPORT_ROOTS",
        )
        for part in ("config", "split", "revision"):
            parser.add_argument(f"--{part}", default="", help=f"the {part} of the dataset")
        parser.add_argument("--dry-run", action="store_true", help="only report what would happen")
        parser.add_argument(
            "--strict", action="store_true", help="import nothing if any row is refused"
        )
        parser.add_argument(
            "--map",
            nargs="+",
            action="extend",
            type=field_and_column,
            metavar="FIELD=COLUMN",
            help="the column that holds a field; FIELD= where no column does; metadata=COLUMN of a "
            "column that is no field",
        )
        parser.add_argument(
            "--judged",
            choices=list(JUDGED),
            default="labels",
            help="what becomes of pairs that are judged already: labels (the default), or ask our "
            "people as well",
        )
        parser.add_argument(
            "--pairs-by",
            default="",
            metavar="RATING",
            help="compare replies to one prompt by this score: helpfulness of HelpSteer2, "
            "overall_score of UltraFeedback",
        )
        parser.add_argument(
            "--encoding",
            default="",
            choices=list(ENCODINGS),
            metavar="NAME",
            help="of a text that is not UTF-8, where it is not found out: cp1251, gb18030, cp932",
        )
        parser.add_argument(
            "--report", type=Path, metavar="FILE", help="write every problem, as JSON lines"
        )
        parser.add_argument("--undo", type=UUID, metavar="UUID", help="take an import back")

    def handle(self, *, file: Path | None, project: str, undo: UUID | None, **options: Any) -> None:
        target = Project.objects.filter(slug=project).first()
        if target is None:
            raise CommandError(f"There is no project {project!r}.")
        if undo is not None:
            self._undo(target, undo)
            record_command("import_data", project_slug=project, undo=str(undo))
            return
        name = options["dataset"]
        if (file is None) == (name is None):
            raise CommandError("Name the file to import, or a dataset with --dataset.")
        try:
            if file is None:
                self._import_dataset(target, options)
            else:
                self._import(target, file, options)
        except OSError as error:
            raise CommandError(f"Cannot read {file or name}: {error.strerror}.") from error
        except (Unreadable, Refusal) as error:
            raise CommandError(f"{file or name}: {error} Nothing was imported.") from error
        if not options["dry_run"]:
            record_command("import_data", project_slug=project, source=str(file or name))

    def _import_dataset(self, project: Project, options: Mapping[str, Any]) -> None:
        """Fetch a dataset, import it, and remove its files; what a broken-off fetch has stays."""
        parts = {name: options[name] for name in ("config", "split", "revision")}
        dataset = datasets_by_name.named(options["dataset"], **parts)
        folder = Path(settings.HOME) / "datasets" / dataset.folder_name
        with display("Fetching") as show:
            datasets_by_name.fetch(dataset, folder, partial(show, 0), with_token=True)
        try:
            self._import(project, folder, options)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _import(self, project: Project, file: Path, options: Mapping[str, Any]) -> None:
        mapping = chosen(options["map"] or [])
        by = options["pairs_by"]
        told = {"pairs_by": by, "encoding": options["encoding"]}
        source = foreground_import.source(project, file, mapping, **told)
        judged = options["judged"]
        with display("Checking") as show:
            checked = foreground_import.check(
                project, source, judged=judged, report=options["report"], progress=show
            )
        self._describe(checked, remembered=not mapping and bool(source.mapping))
        self._ask(checked)
        if checked.encoding_asked:
            title = short_title(checked.encoding)
            raise CommandError(
                f"Nothing was imported: the text is not UTF-8, and probably, not surely, {title}. "
                f"Say so by --encoding {checked.encoding}, or name another one: "
                f"{', '.join(ENCODINGS)}."
            )
        if by and by not in checked.ratings:
            known = ", ".join(checked.ratings) or "none"
            raise CommandError(f"No reply has a rating {by!r}. Ratings: {known}.")
        report = checked.report
        refused = options["strict"] and report.n_refused
        if report.accepted and not refused and not options["dry_run"]:
            report = self._write(project, source, checked, options)
        self._tell(report)

    def _write(
        self, project: Project, source: Source, checked: Check, options: Mapping[str, Any]
    ) -> Report:
        with display("Importing") as show:
            import_ = foreground_import.write(
                project, source, checked, judged=options["judged"], display=show
            )
        if options["report"] is not None and problems_path(import_).exists():
            shutil.copyfile(problems_path(import_), options["report"])
        self.stdout.write(f"Import {import_.uuid}")
        if import_.state != Import.State.DONE:
            raise CommandError(
                f"{import_.error} Go on with the same command, or take back what was added with "
                f"--undo {import_.uuid}."
            )
        return Report.from_dict(import_.report["written"])

    def _describe(self, checked: Check, *, remembered: bool) -> None:
        """The file as it was recognised, and what each column is used as."""
        how = "; columns as in an earlier import" if remembered else ""
        self.stdout.write(f"{checked.format}, {checked.shape or 'rows of no known shape'}{how}")
        width = min(40, max((len(one["name"]) for one in checked.columns), default=0))
        for one in checked.columns:
            self.stdout.write(f"  {one['name']:<{width}}  {one['use']}, {one['rows']:,} rows")
        for name in checked.left_out:
            self.stdout.write(f"  left out, as it holds no rows: {name}")
        self.stdout.write("")

    def _ask(self, checked: Check) -> None:
        """Name the --map that answers each question; nothing is written before."""
        for one in checked.questions:
            self.stdout.write(
                f"{one['why']}. If it is: --map {quoted(one['field'], one['column'])}   "
                f"If not: --map {quoted('metadata', one['column'])}"
            )
        if checked.questions:
            raise CommandError("Nothing was imported: say first what these columns are.")

    def _tell(self, report: Report) -> None:
        """Exit code 1 when rows were refused, so that scripts notice."""
        self.stdout.write(report.table())
        if not report.added["pairs"]:
            self.stdout.write(f"\n0 pairs {'were added' if report.written else 'to add'}.")
        if report.verdict:
            raise CommandError(report.verdict)

    def _undo(self, project: Project, uuid: UUID) -> None:
        import_ = project.imports.filter(uuid=uuid).first()
        if import_ is None:
            raise CommandError(f"The project has no import {uuid}.")
        try:
            with display("Taking back") as show:
                foreground_import.take_back(import_, display=show)
        except Refusal as refusal:
            raise CommandError(f"Nothing was taken back: {refusal}") from refusal
        if import_.undone_at is None:
            raise CommandError(import_.error)
        self.stdout.write(f"Taken back: {import_.file_name}")


def chosen(given: Iterable[tuple[str, str]]) -> Chosen:
    """Field -> its column, or its columns where it is named several times."""
    mapping: dict[str, str | list[str]] = {}
    for name, column in given:
        before = mapping.get(name)
        several = before if isinstance(before, list) else [before] if before else []
        mapping[name] = [*several, column] if several else column
    return mapping


@contextmanager
def display(what: str) -> Iterator[Display]:
    """A progress line on a terminal; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]} rows"),
    )
    silent = not sys.stderr.isatty()
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=silent
    ) as progress:
        task = progress.add_task(what, total=1.0, rows="0")

        def show(done: int, share: float) -> None:
            # Called for every row.
            if not silent and (done % 500 == 0 or share >= 1.0):
                progress.update(task, completed=share, rows=f"{done:,}")

        yield show


def quoted(field: str, column: str) -> str:
    return f"{field}={column}" if column.isidentifier() else f"'{field}={column}'"
