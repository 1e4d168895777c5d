from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate import exporting, queue
from annotate.exporting import freezing, trl_format
from annotate.exporting.export_files import write_atomically
from annotate.importing.row_shapes import read as read_row
from annotate.models import Assignment, Pair, Project, Prompt

VOTE_COLUMNS = [
    "vote_id",
    "pair_id",
    "prompt_id",
    "annotator",
    "choice",
    "strength",
    "left",
    "reasons",
    "comment",
    "criteria",
    "leased_at",
    "voted_at",
    "active_ms",
    "first_key_ms",
    "wall_ms",
    "input",
    "guideline_version",
    "stream",
    "propensity",
    "surplus",
    "simulated",
    "imported",
    "metadata",
]
TRL_COLUMNS = [
    "prompt",
    "chosen",
    "rejected",
    "margin",
    "vote_fraction",
    "n_votes",
    "method",
    "split",
    "pair_id",
    "prompt_id",
    "chosen_id",
    "rejected_id",
]


def judge(project, pairs, *ballots, **columns):
    """Each ballot (user, choice, strength) goes to every one of the pairs."""
    for pair in pairs:
        Pair.objects.filter(pk=pair.pk).update(shuffle=-pair.pk)  # the next in the queue
        for user, choice, strength in ballots:
            lease = queue.next_pair(project, user)
            assert lease.pair_id == pair.pk
            queue.vote(user, lease.token, choice=choice, strength=strength, **columns)


@pytest.fixture
def export(project, tmp_path):
    """export(format, *flags): the rows of the file and of its side file, and what was printed."""

    def run(format: str, *flags: str) -> tuple[list[Any], list[Any], str]:
        path, out = tmp_path / f"{format}.jsonl", StringIO()
        arguments = ("--project", "desk", "--format", format, "--out", str(path), *flags)
        call_command("export_data", *arguments, stdout=out)
        return read(path), read(path.with_name(f"{path.name}.ties.jsonl")), out.getvalue()

    return run


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_votes_have_one_line_per_standing_vote_with_the_documented_columns(
    export, project, make_pairs, ann, ben, cleo
):
    make_pairs(2)
    judge(project, project.pairs.order_by("pk")[:1], (ann, "a", 3), (ben, "both_bad", 2))
    queue.skip(cleo, queue.next_pair(project, cleo).token)
    queue.next_pair(project, ann)
    rows, _, output = export("votes")
    assert [list(row) for row in rows] == [VOTE_COLUMNS] * 2
    first = rows[0]
    assert (first["choice"], first["strength"], first["annotator"]) == ("a", 3, "ann-ann")
    assert first["left"] in ("a", "b") and first["pair_id"] == "pair-0"
    assert first["voted_at"].endswith("Z") and len(first["voted_at"]) == 27
    assert "votes" in output and len({row["vote_id"] for row in rows}) == 2


def test_trl_rows_hold_the_winner_its_margin_and_its_share(
    export, project, make_pairs, ann, ben, cleo
):
    make_pairs(1)
    judge(project, project.pairs.all(), (ann, "b", 3), (ben, "a", 1), (cleo, "b", 2))
    rows, ties, _ = export("trl")
    pair = Pair.objects.select_related("prompt", "completion_a", "completion_b").get()
    assert ties == []
    assert [list(row) for row in rows] == [TRL_COLUMNS]
    assert rows[0] == {
        "prompt": "Where is my order 0?",
        "chosen": pair.completion_b.text,
        "rejected": pair.completion_a.text,
        "margin": round((3 - 1 + 2) / 3 / 3, 6),
        "vote_fraction": round(2 / 3, 6),
        "n_votes": 3,
        "method": "majority",
        "split": "test" if pair.prompt.held_out else "train",
        "pair_id": "pair-0",
        "prompt_id": pair.prompt.sha256,
        "chosen_id": pair.completion_b.sha256,
        "rejected_id": pair.completion_a.sha256,
    }


def test_ties_both_bad_and_splits_are_counted_and_kept_in_a_side_file(
    export, project, make_pairs, ann, ben
):
    for pair, (one, two) in zip(
        make_pairs(4),
        [("tie", "tie"), ("both_bad", "both_bad"), ("a", "b"), ("a", "a")],
        strict=True,
    ):
        judge(project, [pair], (ann, one, 2), (ben, two, 2))
    rows, ties, output = export("trl")
    assert [row["pair_id"] for row in rows] == ["pair-3"]
    assert [(t["pair_id"], t["outcome"]) for t in ties] == [
        ("pair-0", "tie"),
        ("pair-1", "both_bad"),
        ("pair-2", "split"),
    ]
    printed = {line.split()[0]: line.split()[-1] for line in output.splitlines() if line}
    assert [printed[name] for name in ("trl", "tie", "both_bad", "split")] == ["1"] * 4


def test_simulated_votes_are_left_out_unless_asked(export, project, make_pairs, ann, ben):
    pairs = make_pairs(2)
    judge(project, pairs[:1], (ann, "a", 2))
    judge(project, pairs[:1], (ben, "a", 2), simulated=True)
    assert len(export("votes")[0]) == 1
    assert export("trl")[0][0]["n_votes"] == 1
    assert len(export("votes", "--include-simulated")[0]) == 2
    assert export("trl", "--include-simulated")[0][0]["n_votes"] == 2


def test_surplus_gold_and_retest_stay_outside_trl_rows(export, project, make_pairs, ann):
    pairs = make_pairs(3)
    judge(project, pairs, (ann, "a", 2))
    Assignment.objects.filter(pair=pairs[0]).update(surplus=True)
    Pair.objects.filter(pk=pairs[1].pk).update(kind=Pair.Kind.GOLD)
    Pair.objects.filter(pk=pairs[2].pk).update(kind=Pair.Kind.RETEST)
    rows, ties, _ = export("trl")
    assert rows == ties == []
    assert len(export("votes")[0]) == 3


def test_evaluation_pairs_and_held_out_prompts_are_in_the_test_split(
    export, project, make_pairs, ann
):
    pairs = make_pairs(3)
    Prompt.objects.update(held_out=False)
    Prompt.objects.filter(pk=pairs[1].prompt_id).update(held_out=True)
    judge(project, pairs, (ann, "a", 2))
    Pair.objects.filter(pk=pairs[2].pk).update(kind=Pair.Kind.EVALUATION)
    assert [row["split"] for row in export("trl")[0]] == ["train", "test", "test"]


def test_an_old_version_can_be_exported_again_byte_for_byte(
    export, project, make_pairs, ann, tmp_path
):
    make_pairs(2)
    judge(project, project.pairs.order_by("pk")[:1], (ann, "a", 2))
    export("votes")
    before = (tmp_path / "votes.jsonl").read_bytes()
    queue.undo(ann, project)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="b")
    export("votes")
    assert (tmp_path / "votes.jsonl").read_bytes() != before
    export("votes", "--version", "1")
    assert (tmp_path / "votes.jsonl").read_bytes() == before


def test_a_dialogue_becomes_one_prompt_text_that_imports_as_the_same_dialogue():
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "More?"},
    ]
    row = read_row({"prompt": trl_format.prompt_text(messages), "chosen": "x", "rejected": "y"})
    assert row.messages == messages


def test_an_exported_file_imports_into_another_project_as_it_was(
    export, project, make_pairs, ann, tmp_path
):
    make_pairs(3)
    judge(project, project.pairs.order_by("pk"), (ann, "b", 2))
    exported = export("trl")[0]
    other = Project.objects.create(slug="other", name="Other")
    path = str(tmp_path / "trl.jsonl")
    call_command("import_data", path, "--project", "other", stdout=StringIO())
    version = freezing.freeze(other)
    again = [json.loads(line) for line in trl_format.lines(version, include_simulated=False)]
    same = ("prompt", "chosen", "rejected", "split", "prompt_id", "chosen_id")
    assert [[row[k] for k in same] for row in again] == [[row[k] for k in same] for row in exported]
    # The file says who won, and not how strongly anybody felt.
    assert {row["margin"] for row in again} == {None}


def test_a_wrong_format_project_version_or_folder_is_named(project, tmp_path):
    def run(slug="desk", format="votes", out="x.jsonl", *more):
        call_command(
            "export_data",
            "--project",
            slug,
            "--format",
            format,
            "--out",
            str(tmp_path / out),
            *more,
        )

    with pytest.raises(CommandError, match=r"'csvx'\. Known formats: sft, trl, votes"):
        run(format="csvx")
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        run(slug="nowhere")
    with pytest.raises(CommandError, match="no dataset version 9"):
        run("desk", "votes", "x.jsonl", "--version", "9")
    with pytest.raises(CommandError, match="Cannot write"):
        run(out="no/such/folder.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_the_old_file_and_no_half_one(project, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("old\n")

    def broken():
        yield b"new\n"
        raise RuntimeError("database gone")

    with pytest.raises(RuntimeError):
        write_atomically(path, broken())
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_person_without_a_membership_still_has_a_pseudonym(export, project, make_pairs, ann):
    make_pairs(1)
    judge(project, project.pairs.all(), (ann, "a", 2))
    project.memberships.all().delete()
    name = export("votes")[0][0]["annotator"]
    assert name.startswith("ann-") and name != "ann-ann"


def test_a_format_takes_one_function_and_one_line_of_the_table(
    export, project, make_pairs, ann, ben, zed, client_for, monkeypatch
):
    def keys(version, *, part, include_simulated):
        labelled = trl_format.judged(version, include_simulated)
        return (f'{{"pair": {one.pair_id}}}\n'.encode() for one in labelled)

    new = exporting.ExportFormat(keys, {"keys": "one line per labelled pair"})
    monkeypatch.setitem(exporting.FORMATS, "keys", new)
    pair, *_ = make_pairs(2)
    judge(project, [pair], (ann, "a", 2), (ben, "a", 2))
    rows, _, printed = export("keys")
    assert rows == [{"pair": pair.pk}]
    assert printed.split()[printed.split().index("keys") + 1] == "1"
    page = client_for(zed).get("/projects/desk/export/").content.decode()
    assert "<code>keys</code> one line per labelled pair." in page
    assert "?format=keys&amp;version=1" in page
