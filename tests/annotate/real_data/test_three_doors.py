"""Every small file of a public shape, by page, REST and command: the same in the project."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.models import Assignment, Completion, Pair, Project, Prompt
from tests.annotate.jobs.files import work_off

SHAPES = Path(os.environ["PAIRLOOP_DATA"]) / "shapes"
ONE_VOTE = (1, 2, 1, 1)
TABLE = {
    "01_trl_std.jsonl": ONE_VOTE,
    "03_trl_conv.jsonl": ONE_VOTE,
    "05_ultrafeedback_binarized.jsonl": ONE_VOTE,
    "08_margin.jsonl": ONE_VOTE,
    "09_kto.jsonl": (1, 2, 0, 0),
    "12_sharegpt.jsonl": ONE_VOTE,
    "13_tool_call.jsonl": ONE_VOTE,
    "17_multiturn_after_prompt.jsonl": ONE_VOTE,
    "20_helpsteer2.jsonl": (1, 1, 0, 0),
    "24_mtbench_human.jsonl": ONE_VOTE,
    "26_lmsys55k_csvlike.jsonl": ONE_VOTE,
    "27_nectar.jsonl": ONE_VOTE,
    "31_pku_safe.jsonl": ONE_VOTE,
    "33_alpacafarm.jsonl": ONE_VOTE,
    "37_ls_json_rows.jsonl": ONE_VOTE,
    "38_ls_json_min.jsonl": ONE_VOTE,
    "40_argilla_v2_records.jsonl": ONE_VOTE,
    "42_potato_input.jsonl": (1, 2, 1, 0),
    "45_own_votes_scale.jsonl": (1, 2, 1, 4),
    "47_own_votes_strength.jsonl": ONE_VOTE,
    "49_long_format_votes.jsonl": (1, 2, 1, 3),
    "51_swapped_dup.jsonl": (1, 2, 1, 2),
    "60_pairs.csv": ONE_VOTE,
    "61_pairs.parquet": ONE_VOTE,
    "63_array_pretty.json": ONE_VOTE,
    "68_crlf.jsonl": ONE_VOTE,
}
"""Prompts, completions, pairs and votes that an import of each file gives."""
NOTHING = ("41_potato_annotated_instances.jsonl", "50_typo.jsonl", "70_nan.jsonl")
"""Files of which nothing comes in before somebody has answered, added or mended something."""

Door = Callable[[Client, Path], None]


def by_page(client: Client, path: Path) -> None:
    file = SimpleUploadedFile(path.name, path.read_bytes())
    page = client.post("/projects/desk/import/", {"file": file})["Location"]
    work_off()
    client.post(f"{page}start/", {})
    work_off()


def by_rest(client: Client, path: Path) -> None:
    file = SimpleUploadedFile(path.name, path.read_bytes())
    client.post("/api/v1/projects/desk/imports/?auto=1", {"file": file})
    work_off()


def by_command(client: Client, path: Path) -> None:
    with suppress(CommandError):  # the page and REST tell of refused rows without one
        call_command("import_data", str(path), "--project", "desk", stdout=StringIO())


def held(project: Project) -> tuple[int, int, int, int]:
    return (
        Prompt.objects.filter(project=project).count(),
        Completion.objects.filter(prompt__project=project).count(),
        Pair.objects.filter(project=project).count(),
        Assignment.objects.standing().filter(pair__project=project).count(),
    )


DOORS = pytest.mark.parametrize("door", [by_page, by_rest, by_command])


@DOORS
@pytest.mark.parametrize("file", TABLE)
def test_a_file_of_a_shape_gives_what_its_table_says_by_every_door(
    client_for, project, zed, file, door
):
    door(client_for(zed), SHAPES / file)
    assert held(project) == TABLE[file]


@DOORS
@pytest.mark.parametrize("file", NOTHING)
def test_a_file_without_a_whole_row_writes_nothing_by_any_door(
    client_for, project, zed, file, door
):
    door(client_for(zed), SHAPES / file)
    assert held(project) == (0, 0, 0, 0)


def test_no_file_of_a_shape_is_left_out():
    others = {"README.md", *NOTHING}
    assert {one.name for one in SHAPES.iterdir()} - others == set(TABLE)
