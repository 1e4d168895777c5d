from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.rlhf.config import ConfigError, GateConfig, ProposeConfig, RoundConfig, dump
from training.rlhf.round import STAGES, Result, RunDirectory, Stage, gates, run_round
from training.rlhf.rows import RowError
from training.rlhf.run.work import Work

HABITS = ("refusal", "flattery", "hedging", "markdown")
GOOD: dict[str, dict[str, float | None]] = {
    "train_reward": {"accuracy": 0.82, "pairs_held_out": 80.0},
    "evaluate": {
        "kl": 9.0,
        "length": 30.0,
        "length_starter": 28.0,
        "distinct2": 0.4,
        "distinct2_starter": 0.5,
        **{f"{habit}_rate{end}": 0.1 for habit in HABITS for end in ("", "_starter")},
        "repetition": 0.01,
        "broken_rate": 0.0,
        "win_rate_low": 0.61,
    },
}


def changed(stage: str, **values: float | None) -> dict[str, dict[str, float | None]]:
    return GOOD | {stage: GOOD[stage] | values}


def failed(metrics: dict[str, dict[str, float | None]]) -> list[str]:
    return [gate.name for gate in gates(metrics, GateConfig()) if not gate.passed]


def test_a_good_candidate_passes_every_gate() -> None:
    assert failed(GOOD) == []


@pytest.mark.parametrize(
    ("metrics", "gate"),
    [
        (changed("train_reward", accuracy=0.55), "reward_accuracy"),
        (changed("evaluate", kl=15.0), "kl"),
        (changed("evaluate", length=10.0), "length"),
        (changed("evaluate", length=60.0), "length"),
        (changed("evaluate", distinct2=0.2), "distinct2"),
        (changed("evaluate", repetition=0.3), "repetition"),
        (changed("evaluate", broken_rate=0.5), "broken"),
        (changed("evaluate", win_rate_low=0.49), "win_rate"),
        (changed("evaluate", win_rate_low=None), "win_rate"),
        (changed("evaluate", kl=float("nan")), "kl"),
        (changed("evaluate", flattery_rate=0.5), "flattery"),
        (changed("evaluate", reward_win_rate=0.95, win_rate=0.6), "judge_lead"),
    ],
)
def test_each_gate_stops_a_candidate_alone(
    metrics: dict[str, dict[str, float | None]], gate: str
) -> None:
    assert failed(metrics) == [gate]


def test_a_candidate_that_was_never_measured_passes_nothing() -> None:
    judged = gates({}, GateConfig())
    assert not any(gate.passed for gate in judged)
    assert all("not measured" in gate.text for gate in judged)


def test_a_gate_says_value_and_bound() -> None:
    gate = next(g for g in gates(changed("evaluate", kl=41.0), GateConfig()) if g.name == "kl")
    assert (gate.value, gate.bound) == (41.0, "at most 14")
    assert "41" in gate.text and "outside" in gate.text


def test_the_stages_are_those_of_the_loop_in_order() -> None:
    names = [stage.name for stage in STAGES]
    assert names == ["train_reward", "train_policy", "evaluate", "sample", "propose"]
    assert all(stage.title and stage.description for stage in STAGES)


def write_inputs(path: Path, **changes: Any) -> None:
    chat = [{"role": "user", "content": "hi"}]
    prompts = changes.get("prompts", [{"held_out": False}, {"held_out": True}])
    votes = [{"annotator": "ann", "choice": "a"}]
    pairs = changes.get("pairs", [{}, {}])
    propose = ProposeConfig(acquisition=changes.get("acquisition", "fisher"))
    dump(RoundConfig(starter="starter", propose=propose), path / "config.json")
    lines = [{"prompt_id": str(i), "messages": chat} | p for i, p in enumerate(prompts)]
    (path / "prompts.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    base = {"prompt_id": "0", "messages": chat, "completion_a": "x", "completion_b": "y"}
    lines = [{"pair_id": str(i), "votes": votes} | base | p for i, p in enumerate(pairs)]
    (path / "preferences.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": [{"held_out": False}]}, "it has 1 and 0"),
        ({"prompts": [{"held_out": True}]}, "it has 0 and 1"),
        ({"prompts": []}, "it has 0 and 0"),
        ({"pairs": [{}, {"held_out": True}]}, "votes on at least two pairs"),
        ({"pairs": [{}, {"votes": []}]}, "votes on at least two pairs"),
        ({"acquisition": "fischer"}, "fisher, i-optimal, margin, random, not 'fischer'"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused_at_its_start(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_inputs(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message):
        run_round(tmp_path)
    error = RunDirectory(tmp_path).error()
    assert error is not None and message in error["error"]


def test_a_broken_input_line_is_named_in_the_error(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    with (tmp_path / "preferences.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(RowError, match="line 3"):
        run_round(tmp_path)


def test_inputs_replaced_after_a_finished_stage_are_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    run = RunDirectory(tmp_path)
    with run.claim():
        run.partial("train_reward")
        run.publish("train_reward", run.meta("train_reward", {}, {}, {}))
    write_inputs(tmp_path, pairs=[{}, {}, {}])
    with pytest.raises(ConfigError, match="changed after stage train_reward"):
        run_round(tmp_path)


def note(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """A stage that leaves a note, no rows and no metrics."""
    (out / "note.txt").write_text(f"round {config.number}")
    work.report(1, 1, {})
    return Result({}, {})


def test_a_stage_is_one_function_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = Stage("note", "Note", "Leaves a note.", f"{__name__}:note")
    monkeypatch.setattr("training.rlhf.round.STAGES", (added,))
    write_inputs(tmp_path)
    run_round(tmp_path)
    run = RunDirectory(tmp_path)
    assert (run.folder("note") / "note.txt").read_text() == "round 1"
    meta = run.stage_meta("note")
    assert meta is not None
    assert (meta["stage"], meta["metrics"]) == ("note", {})
    assert [line["message"] for line in run.progress()] == ["Note", ""]
