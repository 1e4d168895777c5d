"""`manage.py import_data`: mapping, questions, what becomes of judged pairs, undoing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate import exchange
from annotate.importing.row_store import Writer
from annotate.jobs import upload_files
from annotate.models import Import, Prompt
from tests.annotate.jobs.files import checked, judged, lines, pair

Command = Callable[..., str]


@pytest.fixture
def command(project, tmp_path: Path) -> Command:
    """command(rows, *flags): what it prints, and its error."""

    def called(rows: list[Any], *flags: str) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_bytes(lines(*rows))
        out = StringIO()
        try:
            call_command("import_data", str(path), *flags, project=project.slug, stdout=out)
        except CommandError as error:
            return f"{out.getvalue()}\nERROR {error}"
        return out.getvalue()

    return called


MAP = ("--map", "prompt=question", "chosen=better", "rejected=not so good")


def asked(i: int = 0) -> dict[str, str]:
    return {"question": f"Q{i}", "better": f"x{i}", "not so good": f"y{i}"}


def test_columns_of_any_name_are_mapped(command, project):
    output = command([asked(), asked(1)], *MAP)
    assert "ERROR" not in output and project.pairs.count() == 2
    assert re.search(r"not so good +rejected, 2 rows", output)


def test_a_mapping_is_remembered_and_said_so(command, project):
    command([asked()], *MAP)
    output = command([asked(1)])
    assert "as in an earlier import" in output and project.pairs.count() == 2


def test_a_question_prints_the_flag_that_answers_it_and_writes_nothing(command, project):
    row = {"prompt": "Q", "choosen": "x", "rejected": "y"}
    output = command([row])
    assert "--map chosen=choosen" in output and "ERROR Nothing was imported" in output
    assert not Prompt.objects.exists() and not Import.objects.exists()
    assert "ERROR" not in command([row], "--map", "chosen=choosen")
    assert project.pairs.count() == 1


def test_a_near_miss_that_is_none_is_left_as_it_is(command, project):
    rows = [pair(refrence="x")]
    assert "--map metadata=refrence" in command(rows)
    assert "ERROR" not in command(rows, "--map", "metadata=refrence")
    assert project.pairs.count() == 1 and Prompt.objects.get().reference == ""


@pytest.mark.parametrize("wrong", ["prompt", "=question"])
def test_a_mapping_without_a_sign_is_a_usage_error(command, wrong):
    assert "FIELD=COLUMN is expected" in command([asked()], "--map", wrong)


def test_no_pairs_are_said_before_and_after(command):
    rows = [{"prompt": "Q"}]
    assert "0 pairs to add." in command(rows, "--dry-run")
    assert "0 pairs were added." in command(rows)


def test_a_dry_run_leaves_neither_rows_nor_an_import(command):
    output = command([pair(), {"prompt": ""}], "--dry-run")
    assert "pairs to add" in output and "ERROR 1 row was refused" in output
    assert not Prompt.objects.exists() and not Import.objects.exists()


def test_every_problem_goes_into_the_report(command, tmp_path: Path):
    report = tmp_path / "problems.jsonl"
    command([pair()] + [{"prompt": ""}] * 70, "--report", str(report))
    told = [json.loads(line) for line in report.read_text().splitlines()]
    assert [one["line"] for one in told] == list(range(2, 72))


def test_the_choice_about_judged_pairs_is_kept(command):
    command([judged()], "--judged", "ask")
    assert Import.objects.get().options == {"judged": "ask"}


def test_an_import_is_taken_back_by_its_number(command, project):
    command([pair(9)])
    output = command([pair(i, votes={"u1": "a"}) for i in range(3)])
    uuid = re.search(r"Import ([0-9a-f-]{36})", output)
    assert uuid is not None
    taken = command([], "--undo", uuid[1])
    assert "Taken back" in taken and project.pairs.count() == 1
    assert "taken back already" in command([], "--undo", uuid[1])


def test_an_import_of_another_project_or_none_is_not_taken_back(command, project):
    assert "has no import" in command([], "--undo", "00000000-0000-0000-0000-000000000000")


def test_a_worker_has_nothing_to_do_with_a_commands_import(command):
    command([pair()])
    import_ = Import.objects.get()
    assert import_.state == "done" and import_.foreground
    assert exchange.waiting_jobs() == []


def test_the_file_stays_where_it_was(command, tmp_path: Path):
    command([pair()])
    exchange.tidy_jobs()
    assert (tmp_path / "rows.jsonl").exists()


def test_an_import_that_fails_in_the_middle_says_how_to_go_on(command, monkeypatch):
    add = Writer.add

    def fail(self: Writer, rows: Any) -> Any:
        if not self._context.dry_run:
            raise ZeroDivisionError
        return add(self, rows)

    monkeypatch.setattr(Writer, "add", fail)
    output = command([pair()])
    assert "ERROR Something went wrong" in output and "--undo" in output
    assert Import.objects.get().state == "failed" and not Prompt.objects.exists()


def test_a_folder_is_imported(project, tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.jsonl").write_bytes(lines(pair(i)))
    (folder / "scan.png").write_bytes(b"\x89PNG")
    out = StringIO()
    call_command("import_data", str(folder), project=project.slug, stdout=out)
    assert project.pairs.count() == 3
    assert "left out, as it holds no rows: scan.png" in out.getvalue()


def test_what_was_sent_to_the_page_can_be_taken_back_by_command(command, project, zed):
    import_ = checked(project, zed, pair())
    assert "Nothing of it was imported" in command([], "--undo", str(import_.uuid))
    assert upload_files.sent_path(import_).exists()
