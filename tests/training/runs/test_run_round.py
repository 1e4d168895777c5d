from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from annotate.models import Project
from tests.training.conftest import Spawned, trace, wait_for
from tests.training.rlhf import tiny
from training.models import Round, Run
from training.versions import promotion

Spawn = Callable[..., Spawned]
Here = Callable[..., tuple[int, str]]


def test_it_runs_a_whole_round_and_says_what_came_of_it(
    voted: Project, home: Path, spawn: Spawn
) -> None:
    promotion.adopt_starter(voted, "starter")
    code, output = spawn("run_round", "--project", "desk", "--seed", "5").finish()
    assert code == 0
    round_ = voted.rounds.get()
    assert (round_.state, round_.trigger, round_.config["seed"]) == ("done", "command", 5)
    assert "Improve policy" in output
    assert "policy-1: candidate. Passed every gate; people decide" in output


AUDIT = """    Stage(
        "audit",
        "Audit",
        "Counts what the round made.",
        "training.rlhf.pipeline.audit:count",
    ),
)
"""


def test_a_stage_that_is_added_to_the_list_and_leaves_no_rows_ends_well(
    a_round: Round, run: Run, spawn: Spawn, tmp_path: Path
) -> None:
    """In a copy of the code, where the list of stages has one line more."""
    tree = tmp_path / "copy"
    for folder in ("annotate", "config", "training", "tests/training"):
        shutil.copytree(settings.BASE_DIR / folder, tree / folder)
    shutil.copy(settings.BASE_DIR / "manage.py", tree)
    file = tree / "training" / "rlhf" / "round.py"
    before, stages, after = file.read_text().partition("STAGES = (\n")
    file.write_text(before + stages + after.replace("\n)\n", f"\n{AUDIT}", 1))
    code, output = spawn("run_round", "--project", "desk", tree=tree).finish()
    assert code == 0, output
    assert "Audit" in output and "audit:" in output
    run.refresh_from_db()
    assert run.state == "done"
    assert run.stages.order_by("-pk")[0].stage == "audit"


def test_a_failed_round_has_exit_code_1_and_its_error(
    a_round: Round, run: Run, behave: Callable[..., None], spawn: Spawn
) -> None:
    behave(exit={"evaluate": 1})
    code, output = spawn("run_round", "--project", "desk").finish()
    assert code == 1
    assert "Round 1 is queued already; following it." in output
    assert "CUDA out of memory" in output


def test_ctrl_c_stops_it_and_the_next_call_goes_on(
    a_round: Round, run: Run, behave: Callable[..., None], spawn: Spawn, command: Here
) -> None:
    behave(pause=0.15)
    process = spawn("run_round", "--project", "desk")
    wait_for(lambda: len(trace(run)) > 4)
    process.send_signal(signal.SIGINT)
    assert process.finish()[0] == 130
    run.refresh_from_db()
    assert run.state == "queued"
    behave()
    assert command("run_round", "--project", "desk")[0] == 0
    steps = [tuple(step) for _, *step in trace(run)]
    assert len(steps) == len(set(steps))


def test_it_follows_a_round_that_a_worker_has(
    a_round: Round, run: Run, behave: Callable[..., None], spawn: Spawn, command: Here
) -> None:
    behave(pause=0.1)
    spawn("worker", "--gpu")
    wait_for(lambda: len(trace(run)) > 1)
    assert command("run_round", "--project", "desk")[0] == 0
    run.refresh_from_db()
    assert (run.state, run.fence) == ("done", 1)


def test_an_unknown_project_is_named(project: Project) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        call_command("run_round", "--project", "nowhere", stdout=StringIO())


def give(model: str) -> str:
    """What run_round --model says on a project with too few votes for a round."""
    with pytest.raises(CommandError) as caught:
        call_command("run_round", "--project", "desk", "--model", model, stdout=StringIO())
    return str(caught.value)


def test_a_first_policy_is_not_taken_where_a_round_could_not_start_with_it_either(
    project: Project, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.llama(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert "There is no model folder ./modle" in give("./modle")
    assert "wants votes for a side on at least 12 pairs" in give("./model")
    assert not project.model_versions.exists() and not Run.objects.exists()


def test_a_first_policy_is_not_replaced_once_something_was_made_from_it(
    voted: Project, home: Path, tmp_path: Path
) -> None:
    tiny.llama(tmp_path / "model")
    promotion.adopt_starter(voted, "org/first")
    Run.objects.create(project=voted, kind="first_pairs", state="done")
    said = give(str(tmp_path / "model"))
    assert "is org/first, and everything since was made from it" in said
    assert voted.model_versions.get().path == "org/first"


def test_a_project_without_votes_says_so(project: Project) -> None:
    with pytest.raises(CommandError, match="wants votes for a side on at least 12 pairs"):
        call_command("run_round", "--project", "desk", "--model", "org/tiny", stdout=StringIO())


def test_an_estimate_is_printed_and_starts_nothing(voted: Project, home: Path) -> None:
    promotion.adopt_starter(voted, "starter")
    out = StringIO()
    call_command("run_round", project="desk", estimate=True, stdout=out)
    assert "Time: No idea yet" in out.getvalue() and "Memory: " in out.getvalue()
    assert not voted.rounds.exists() and not Run.objects.exists()
