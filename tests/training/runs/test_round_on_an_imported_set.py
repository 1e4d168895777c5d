"""A labelled set that somebody imports is enough for a round, without one vote cast here."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from annotate.models import Pair, Project
from tests.training.rlhf import tiny, world
from training.models import Plan, Run, StageResult
from training.rlhf.round import STAGES
from training.versions import promotion

PAIRS = 80
DECIDED = PAIRS - PAIRS // 20
"""Without those on which the two are not of one mind."""
ROUND = {
    "reward": world.CONFIG["reward"] | {"batch_size": 32},
    "ppo": world.CONFIG["ppo"] | {"updates": 1},
}


def table(path: Path) -> Path:
    """One row per vote: two raters of each pair, who mostly agree."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("prompt", "completion_a", "completion_b", "winner", "annotator"))
        for i in range(PAIRS):
            ask, better, worse = f"Where is order {i}?", f"Order {i} is on its way.", f"{i}? Hm."
            sides, won = ((better, worse), "a") if i % 2 else ((worse, better), "b")
            rows.writerow((ask, *sides, won, "anna"))
            rows.writerow((ask, *sides, "tie" if i % 20 == 7 else won, "ben"))
    return path


@pytest.mark.long
def test_a_table_of_votes_comes_in_trains_a_round_and_leaves_as_preferences(
    project: Project, home: Path, transactional_db: None, settings: Settings, tmp_path: Path
) -> None:
    settings.TRAINING_THREADS = 1
    file = table(tmp_path / "votes.csv")
    call_command("import_data", str(file), "--project=desk", stdout=StringIO())
    assert Pair.objects.filter(state="resolved").count() == DECIDED
    tiny.llama(home / "starter")
    promotion.adopt_starter(project, "starter")
    own = {name: value for name, value in world.CONFIG.items() if name != "seed"}
    Plan.objects.create(project=project, config=own | ROUND)
    call_command("run_round", "--project=desk", "--seed=3", stdout=StringIO())
    run = Run.objects.get()
    assert run.state == "done", run.error
    stages = StageResult.objects.filter(run=run).order_by("pk").values_list("stage", flat=True)
    assert [*stages] == [stage.name for stage in STAGES]
    assert project.rounds.get().dataset_version == 1
    out = tmp_path / "out.jsonl"
    told = ("--project=desk", "--format=trl-conversational", "--version=1", f"--out={out}")
    call_command("export_data", *told, stdout=StringIO())
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert all("is on its way" in row["chosen"][0]["content"] for row in rows)
    assert len(rows) == DECIDED
