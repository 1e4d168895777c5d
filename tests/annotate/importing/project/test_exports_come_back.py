"""What an export holds is in the project that imports it: in its column, or as metadata."""

from __future__ import annotations

import csv
import json
from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from annotate.models import Assignment, Completion, Membership, Pair, Project, Prompt
from annotate.models.content import is_held_out
from tests.annotate.importing.project.everything import imported, live_through

NAMED = {"margin": "source_margin"}
"""Where else a value may stand: how sure votes were that are not there is the source's margin."""


@pytest.fixture
def lived(project, ann, ben, cleo, olga, zed) -> Project:
    """With pseudonyms and a split as they are made."""
    live_through(project, ann, ben, cleo, olga, zed)
    for number, member in enumerate(Membership.objects.filter(project=project)):
        member.pseudonym = f"ann-{number:08x}"
        member.save()
    for prompt in Prompt.objects.all():
        prompt.held_out = is_held_out(prompt.sha256)
        prompt.save()
    return project


def rows(project: Project, format: str, path: Path) -> list[dict[str, Any]]:
    style = ("--style", "chat") if format == "kto" else ()
    arguments = ("--project", project.slug, "--format", format, "--out", str(path))
    call_command("export_data", *arguments, *style, stdout=StringIO())
    if format in ("parquet", "verl"):
        return list(pq.read_table(path).to_pylist())
    if format == "csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def lost(row: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """The values of a row that its copy does not hold."""
    held = dict(again)
    for name in ("pair_metadata", "metadata"):
        held |= _inside(again.get(name))
    gone = {}
    for name, value in row.items():
        places = (again.get(name), held.get(name), again.get(NAMED.get(name, "")))
        inside = _inside(value) if "metadata" in name else {}
        if inside:
            gone |= {
                f"{name}.{n}": v
                for n, v in inside.items()
                if not _is_in(v, n, held | _inside(again.get(name)))
            }
        elif value not in (None, "") and value not in places and str(value) not in places:
            gone[name] = value
    return gone


def _inside(value: Any) -> dict[str, Any]:
    """An object, which tables hold as text."""
    read = json.loads(value) if isinstance(value, str) and value else value
    return read if isinstance(read, dict) else {}


def _is_in(value: Any, name: str, held: dict[str, Any]) -> bool:
    inner = held.get("metadata")
    nested = inner if isinstance(inner, dict) else {}
    return value in (held.get(name), nested.get(name))


@pytest.mark.parametrize("format", ["votes", "trl", "trl-conversational", "kto", "csv", "parquet"])
def test_nothing_of_an_export_is_lost_by_an_import(lived, format, tmp_path):
    other = Project.objects.create(slug="other", name="Another desk")
    before = rows(lived, format, tmp_path / f"before.{format}")
    imported(other, tmp_path / f"before.{format}")
    after = rows(other, format, tmp_path / f"after.{format}")
    assert len(before) == len(after) > 3
    assert [lost(*pair) for pair in zip(before, after, strict=True)] == [{}] * len(before)


def test_ranked_replies_come_back_with_who_won_and_what_is_said_of_each(lived, tmp_path):
    """Of equal ranks it is not known that anybody compared them."""
    other = Project.objects.create(slug="other", name="Another desk")
    before = rows(lived, "ranked", tmp_path / "before.jsonl")
    imported(other, tmp_path / "before.jsonl")
    assert len(before) > 3
    won = {(one.completion_a.sha256, one.completion_b.sha256): one.n_a for one in pairs_of(other)}
    for row in before:
        prompt = other.prompts.get(sha256=row["prompt_id"])
        assert (prompt.messages, prompt.tools) == (row["prompt"], row["tools"])
        replies = {one.sha256: one for one in prompt.completions.all()}
        told = zip(row["completion_ids"], row["models"], row["scores"], strict=True)
        for sha256, model, score in told:
            assert replies[sha256].policy == model
            assert [one.value for one in replies[sha256].ratings.filter(name="score")] == [score]
        ranked = zip(row["completion_ids"], row["ranks"], strict=True)
        for (better, rank), (worse, lower) in combinations(ranked, 2):
            if rank < lower:
                assert won.get((better, worse)) == 1 or won.get((worse, better)) == 0


def pairs_of(project: Project) -> list[Pair]:
    return list(project.pairs.select_related("prompt", "completion_a", "completion_b"))


def test_rows_for_openrlhf_come_back_as_they_left(lived, tmp_path):
    other = Project.objects.create(slug="other", name="Another desk")
    Assignment.objects.in_project(lived).filter(strength=None).update(strength=2)
    before = rows(lived, "openrlhf", tmp_path / "before.jsonl")
    imported(other, tmp_path / "before.jsonl")
    after = rows(other, "openrlhf", tmp_path / "after.jsonl")
    assert len(before) == len(after) > 2
    margins = {one.prompt.messages[-1]["content"]: one.source_margin for one in pairs_of(other)}
    for row, again in zip(before, after, strict=True):
        assert row == again | {"margin": margins[row["prompt"][-1]["content"]]}


def test_completions_to_imitate_come_back_with_all_that_is_known_of_them(lived, tmp_path):
    """No comparison is in them, so what comes back are replies, and they leave as `project`."""
    other = Project.objects.create(slug="other", name="Another desk")
    before = rows(lived, "sft", tmp_path / "before.jsonl")
    output = imported(other, tmp_path / "before.jsonl")
    assert "rows refused                   0" in output
    held = Completion.objects.filter(prompt__project=other).select_related("prompt")
    by_text = {(one.prompt.sha256, one.sha256): one for one in held}
    assert len(before) > 2
    for row in before:
        reply = by_text[row["prompt_id"], row["completion_id"]]
        assert reply.prompt.messages == row["prompt"]
        known = {**reply.metadata, **reply.prompt.metadata, "tags": reply.prompt.tags}
        known |= {"tools": reply.prompt.tools, "model": reply.policy}
        gone = {
            name: value
            for name, value in row.items()
            if name not in ("prompt", "completion", "metadata")
            and value not in (None, "", [])
            and known.get(name) != value
        }
        assert gone == {}
        assert (row.get("metadata") or {}).items() <= known.items()


def test_prompts_for_verl_come_back_as_they_left(lived, tmp_path):
    """Without their tools, which have no column there and are part of a prompt's hash."""
    other = Project.objects.create(slug="other", name="Another desk")
    before = rows(lived, "verl", tmp_path / "before.parquet")
    imported(other, tmp_path / "before.parquet")
    after = rows(other, "verl", tmp_path / "after.parquet")
    for row in (*before, *after):
        del row["data_source"], row["extra_info"]["prompt_id"]
    assert before == after and len(before) > 3
