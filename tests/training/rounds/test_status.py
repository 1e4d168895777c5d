from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotate.models import Project
from tests.training.history import add_policy, add_starter, make_round
from training.rlhf.round import STAGES


def status(*arguments: str) -> str:
    out = StringIO()
    call_command("status", *arguments, stdout=out)
    return out.getvalue()


def test_the_json_has_exactly_the_promised_keys(voted: Project) -> None:
    add_starter(voted)
    add_policy(make_round(voted, 1), state="candidate")
    make_round(voted, 2, "running", done=1, stage="train_policy", step=3, total=24)
    data = json.loads(status("--project", "desk", "--json"))
    assert set(data) == {"pairs_open", "pairs_resolved", "votes", "policy", "rounds"}
    assert (data["pairs_open"], data["pairs_resolved"], data["votes"]) == (0, 50, 100)
    assert data["policy"] == "policy-0"
    for round_ in data["rounds"]:
        assert set(round_) == {"number", "state", "stages", "metrics"}
    running, done = data["rounds"]
    assert (running["number"], running["state"]) == (2, "running")
    assert running["stages"] == ["train_reward"]
    assert done["stages"] == [stage.name for stage in STAGES]
    assert done["metrics"]["evaluate"]["win_rate"] == 0.66


def test_a_new_project_has_no_policy_and_no_rounds(project: Project) -> None:
    data = json.loads(status("--project", "desk", "--json"))
    assert data["policy"] is None and data["rounds"] == []


def test_the_text_says_the_same_in_lines(voted: Project) -> None:
    add_starter(voted)
    add_policy(make_round(voted, 1), state="candidate", kl=52.4)
    make_round(voted, 2, "running", done=1, stage="train_policy", step=3, total=24)
    text = status("--project", "desk")
    assert "0 open, 50 resolved" in text
    assert "round 2  running, improve policy 3/24" in text
    assert "win rate 66.0" in text and "Not promoted. KL to the starter" in text


def test_a_failed_round_says_why(voted: Project) -> None:
    error = "Improve policy: no room to write: the disk is full."
    make_round(voted, 1, "failed", done=1, error=error)
    assert (
        status("--project", "desk")
        .rstrip()
        .endswith(f"failed, accuracy 81.0\N{NO-BREAK SPACE}%. {error}")
    )


@pytest.mark.django_db
def test_an_unknown_project_is_named() -> None:
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        status("--project", "nowhere")
