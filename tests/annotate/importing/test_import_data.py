from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate import queue
from annotate.importing import row_shapes
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


def test_gzip_is_read(project, tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(pair(1)).encode()))
    call_command("import_data", str(path), "--project", "desk", stdout=StringIO())
    assert project.pairs.count() == 1


def test_a_large_file_takes_few_queries_per_row(project, tmp_path, django_assert_max_num_queries):
    path = tmp_path / "many.jsonl"
    rows = [pair(i, votes={"anna": "a", "bob": "b"}) for i in range(2000)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with django_assert_max_num_queries(300):
        call_command("import_data", str(path), "--project", "desk", stdout=StringIO())
    assert Assignment.objects.count() == 4000


def test_a_shape_of_rows_takes_one_function_and_one_line_of_the_table(run, project, monkeypatch):
    def question(raw: dict[str, Any]) -> row_shapes.Row:
        return row_shapes.Row(messages=[{"role": "user", "content": raw["question"]}])

    shape = row_shapes.Shape(lambda raw: "question" in raw, question)
    monkeypatch.setitem(row_shapes.SHAPES, "question", shape)
    run([{"question": "Where is my parcel?"}])
    assert project.prompts.get().messages == [{"role": "user", "content": "Where is my parcel?"}]
