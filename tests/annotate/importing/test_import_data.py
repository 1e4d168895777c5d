from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from django.core.management import CommandError, call_command
from pyarrow import parquet

from annotate import queue
from annotate.importing import import_rows
from annotate.importing.imported_row import Row
from annotate.importing.shapes import shape_table
from annotate.importing.shapes.columns import Cells, built, has
from annotate.models import Assignment, Completion, Label, Project, Prompt
from annotate.queue import slots

Importer = Callable[..., str]


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Importer:
    """run(rows, *flags): what `manage.py import_data` prints for these rows."""

    def imported(rows: list[Any], *flags: str, name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_bytes("\n".join(lines).encode())
        out = StringIO()
        try:
            call_command("import_data", str(path), "--project", project.slug, *flags, stdout=out)
        except CommandError as error:
            return f"{out.getvalue()}\nERROR {error}"
        return out.getvalue()

    return imported


def counted(output: str, name: str) -> int:
    line = next(line for line in output.splitlines() if line.startswith(name))
    return int(line.removeprefix(name).strip().replace(",", ""))


def pair(i: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt": f"Q{i}", "completion_a": f"one {i}", "completion_b": f"two {i}"} | more


def test_it_imports_pairs_that_annotators_then_get(run, project, ann):
    output = run([pair(1, tags=["x"]), pair(2)])
    assert counted(output, "pairs added") == 2
    assert counted(output, "prompts added") == 2
    assignment = queue.next_pair(project, ann)
    assert assignment is not None
    shown = queue.shown(assignment)
    texts = {shown["left"], shown["right"]}
    assert texts in ({"one 1", "two 1"}, {"one 2", "two 2"})
    tagged = project.pairs.get(prompt__messages=[{"role": "user", "content": "Q1"}])
    assert (tagged.tags, tagged.prompt.tags) == (["x"], [])


def test_the_same_file_twice_adds_nothing(run):
    rows = [pair(1, votes={"anna": "a", "bob": "b"}), {"prompt": "P"}, {"prompt": "P"}]
    first, second = run(rows), run(rows)
    assert counted(first, "votes added") == 2
    for name in ("prompts", "completions", "pairs", "annotators", "votes"):
        assert counted(second, f"{name} added") == 0
    assert counted(second, "rows accepted") == 3


def test_repeated_texts_are_one_pair_and_the_later_vote_of_a_person_counts(run, project):
    run([pair(1, votes={"anna": "a", "bob": "a"}), pair(1, votes={"anna": "b"})])
    found = project.pairs.get()
    assert (found.n_a, found.n_b, found.state) == (1, 1, "adjudicate")
    assert Completion.objects.count() == 2
    assert Assignment.objects.count() == 2


def test_votes_of_a_table_settle_their_pairs_whatever_the_project_asks(run, project):
    run(
        [
            pair(1, votes={"anna": "a", "bob": "a"}),
            pair(2, votes={"anna": "a", "bob": "b"}),
            pair(3, votes={"anna": "a", "bob": "b", "cem": "tie"}),
            pair(4, votes={"anna": "a", "bob": "b", "cem": "b"}),
            pair(5, votes={"anna": "tie"}),
            pair(6),
        ]
    )
    found = {p.prompt.messages[0]["content"]: p for p in project.pairs.select_related("prompt")}
    states = [(p.state, p.open_slots, p.n_a, p.n_tie, p.n_b) for _, p in sorted(found.items())]
    assert states == [
        ("resolved", 0, 2, 0, 0),
        ("adjudicate", 0, 1, 0, 1),
        ("adjudicate", 0, 1, 1, 1),
        ("resolved", 0, 1, 0, 2),
        ("resolved", 0, 0, 1, 0),
        ("open", 2, 0, 0, 0),
    ]
    labels = {label.pair_id: label for label in Label.objects.all()}
    assert labels[found["Q4"].pk].outcome == "b"
    assert labels[found["Q4"].pk].vote_fraction == pytest.approx(1 / 3)
    assert labels[found["Q4"].pk].margin is None
    assert labels[found["Q3"].pk].outcome == "split"
    assert found["Q6"].pk not in labels


def test_a_tables_votes_count_for_agreement_where_the_project_asks_one_vote(run, project):
    project.votes, project.overlap_share = "single", 0.0
    project.save()
    run([pair(1, votes={"anna": "a", "bob": "b"})])
    found = project.pairs.get()
    assert (found.first, found.second) == ("a", "b")
    slots.recount_first_two(found.pk)
    found.refresh_from_db()
    assert (found.first, found.second) == ("a", "b")


def test_votes_keep_the_order_of_the_file(run, project):
    run([pair(1, votes={"zoe": "a", "anna": "b", "mia": "tie"})])
    in_order = Assignment.objects.order_by("seq").values_list("annotator__first_name", "choice")
    assert list(in_order) == [("zoe", "a"), ("anna", "b"), ("mia", "tie")]


def test_imported_annotators_cannot_sign_in_and_are_no_live_accounts(run, project, ann):
    run([pair(1, votes={"ann": "a"})])
    imported = Assignment.objects.get().annotator
    assert imported != ann
    assert not imported.has_usable_password()
    assert not project.memberships.get(user=imported).active


def test_refused_rows_are_reported_with_line_and_field_and_the_others_imported(run, project):
    output = run([pair(1), '{"prompt": "x"', pair(2, completion_b="one 2"), pair(3), {"q": 1}])
    assert "line 2: not valid JSON" in output
    assert "line 3: completion_b: identical to completion_a" in output
    assert "line 5: prompt: the column is missing" in output
    assert "ERROR 3 rows were refused; the others are imported." in output
    assert project.pairs.count() == 2
    assert counted(output, "rows refused") == 3


def test_strict_imports_nothing_when_a_row_is_refused(run, project):
    output = run([pair(1), {"q": 1}], "--strict")
    assert "ERROR 1 row was refused; nothing was imported." in output
    assert not Prompt.objects.exists()


def test_a_dry_run_reports_and_writes_nothing(run, project):
    output = run([pair(1, votes={"anna": "a"})], "--dry-run")
    assert counted(output, "pairs to add") == 1 and counted(output, "votes to add") == 1
    assert not Prompt.objects.exists() and not project.memberships.exists()


def test_an_unknown_project_and_a_missing_file_are_named(project, tmp_path):
    path = tmp_path / "x.jsonl"
    with pytest.raises(CommandError, match=r"Cannot read .*x\.jsonl: No such file"):
        call_command("import_data", str(path), "--project", "desk")
    path.write_text("")
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        call_command("import_data", str(path), "--project", "nowhere")


def test_a_reference_is_added_to_a_prompt_that_had_none(run):
    run([{"prompt": "P"}])
    run([{"prompt": "P", "reference": "gold"}])
    run([{"prompt": "P", "reference": "other"}])
    assert Prompt.objects.get().reference == "gold"


JUDGED = [{"prompt": f"Q{i}", "chosen": "good", "rejected": "bad"} for i in range(2)]


def csv_file(path: Path) -> Path:
    lines = [";".join(JUDGED[0]), *(";".join(row.values()) for row in JUDGED)]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    return path


def parquet_file(path: Path) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(JUDGED), path)
    return path


def json_file(path: Path, **layout: Any) -> Path:
    path.write_text(json.dumps(JUDGED, **layout))
    return path


def gzip_file(path: Path) -> Path:
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, JUDGED)).encode()))
    return path


def zip_file(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(json_file(path.with_suffix(".json"), indent=2), "data/rows.json")
        archive.writestr("README.md", "# Rows")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    json_file(path / "rows.json")
    return path


@pytest.mark.parametrize(
    "make",
    [csv_file, parquet_file, json_file, gzip_file, zip_file, folder],
    ids=lambda f: f.__name__,
)
def test_files_of_every_format_are_imported_whatever_their_name(project, tmp_path, make):
    call_command(
        "import_data", str(make(tmp_path / "rows.txt")), "--project", "desk", stdout=StringIO()
    )
    assert project.pairs.count() == 2
    winners = {p.completion_a.text if p.n_a else p.completion_b.text for p in project.pairs.all()}
    assert winners == {"good"}


def test_rows_of_other_files_than_lines_are_told_by_their_number_and_file(project, tmp_path):
    member = json.dumps([pair(1), {"q": 1}], indent=2)
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", member)
        archive.writestr("b.json", member)
    report = import_rows(project, path)
    assert [str(problem).partition(": ")[0] for problem in report.refused] == [
        "a.json, row 2",
        "b.json, row 2",
    ]
    [told, _] = report.as_dict()["problems"]
    assert (told["file"], told["unit"], told["line"]) == ("a.json", "row", 2)


def test_nan_is_refused_by_line_and_column(run):
    output = run(['{"prompt":"Q","chosen":"x","rejected":"y","margin":NaN}', pair(1)])
    assert "line 1: margin: NaN is not JSON" in output


def test_a_file_that_cannot_be_read_on_leaves_nothing(project, tmp_path):
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(JUDGED)[:-4])
    with pytest.raises(CommandError, match=r"Row 2 goes on where the file ends.*Nothing was"):
        call_command("import_data", str(path), "--project", "desk", stdout=StringIO())
    assert not Prompt.objects.exists()


def test_a_large_file_takes_few_queries_per_row(project, tmp_path, django_assert_max_num_queries):
    path = tmp_path / "many.jsonl"
    rows = [pair(i, votes={"anna": "a", "bob": "b"}) for i in range(2000)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with django_assert_max_num_queries(300):
        call_command("import_data", str(path), "--project", "desk", stdout=StringIO())
    assert Assignment.objects.count() == 4000


def test_a_shape_of_rows_takes_one_function_and_one_line_of_the_table(run, project, monkeypatch):
    def question(cells: Cells) -> Row:
        return built(cells, [{"role": "user", "content": cells.required("parcel")}])

    shape = shape_table.Shape("parcels", has("parcel"), question)
    monkeypatch.setitem(shape_table.SHAPES, "parcel", shape)
    run([{"parcel": "Where is my parcel?"}])
    assert project.prompts.get().messages == [{"role": "user", "content": "Where is my parcel?"}]
