"""Recipes as such: what they may say, and which of their phases run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.rlhf import tiny
from tests.training.rlhf.data.test_reddit import reddit_dump
from training.rlhf.__main__ import main
from training.rlhf.config import SFTJob
from training.rlhf.pipeline import recipe as pipeline
from training.rlhf.run.run_directory import DONE, USAGE

PHASES = {
    "first": {"command": "save", "parts": {"a": "${models.base}"}},
    "second": {"command": "save", "parts": {"b": "${first}/a"}},
    "third": {"command": "save", "parts": {"c": "${second}/b", "d": "${first}/a"}},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("base") / "model")


def recipe(folder: Path, base: Path, **changes: Any) -> Path:
    path = folder / "recipe.yaml"
    data = {"models": {"base": str(base)}, "phases": PHASES} | changes
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def run(path: Path, *options: str) -> int:
    return main(["recipe", str(path), "--out", str(path.parent / "out"), *options])


def done(path: Path) -> list[str]:
    return [name for name in PHASES if (path.parent / "out" / name / "meta.json").exists()]


def test_the_phases_run_in_their_order_and_the_folder_tells_their_metrics(
    tmp_path: Path, base: Path
) -> None:
    path = recipe(tmp_path, base)
    assert run(path) == DONE and done(path) == list(PHASES)
    out = tmp_path / "out"
    assert json.loads((out / "summary.json").read_text())["third"] == {"parts": 2.0}
    text = (out / "README.md").read_text()
    assert text.index("## first") < text.index("## third") and "| parts | 2 |" in text
    meta = json.loads((out / "second" / "meta.json").read_text())
    assert meta["recipe"] == PHASES["second"]


def test_a_phase_that_is_done_is_not_run_again(tmp_path: Path, base: Path) -> None:
    path = recipe(tmp_path, base)
    assert run(path) == DONE
    before = {name: os.stat(tmp_path / "out" / name / "meta.json").st_mtime_ns for name in PHASES}
    assert run(path) == DONE
    assert before == {
        name: os.stat(tmp_path / "out" / name / "meta.json").st_mtime_ns for name in PHASES
    }


def test_phases_run_alone_and_from_one_on(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, base)
    assert run(path, "--from", "second") == USAGE
    assert "phase second needs first, not run yet" in capsys.readouterr().err
    assert run(path, "--only", "first") == DONE and done(path) == ["first"]
    assert "Still to run: second, third." in (tmp_path / "out" / "README.md").read_text()
    assert run(path, "--from", "second") == DONE and done(path) == list(PHASES)


def test_a_folder_that_was_moved_goes_on(tmp_path: Path, base: Path) -> None:
    path = recipe(tmp_path, base)
    assert run(path, "--only", "first", "second") == DONE
    other = tmp_path / "elsewhere"
    other.mkdir()
    (tmp_path / "out").rename(other / "out")
    moved = recipe(other, base)
    assert run(moved) == DONE and done(moved) == list(PHASES)


def test_results_of_other_settings_or_other_inputs_are_refused(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, base)
    assert run(path) == DONE
    assert run(path, "--set", "models.base=elsewhere") == USAGE
    error = capsys.readouterr().err
    told = f'first has other settings (parts.a was "{base}" and is "elsewhere"). --redo runs it'
    assert told in error and "made from it (second, third), or choose another --out" in error
    for file in sorted((tmp_path / "out" / "first").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "out" / "first").rmdir()
    assert run(path, "--only", "first") == DONE
    assert run(path) == DONE, "equal results are no other ones"
    meta = tmp_path / "out" / "first" / "meta.json"
    meta.write_text(meta.read_text() + "\n")
    assert run(path) == USAGE
    assert "second was made from other results of first" in capsys.readouterr().err


def made(path: Path) -> dict[str, int]:
    """When each phase was done."""
    out = path.parent / "out"
    return {meta.parent.name: meta.stat().st_mtime_ns for meta in out.glob("*/meta.json")}


def test_redo_runs_what_a_change_concerns_and_leaves_the_rest(tmp_path: Path, base: Path) -> None:
    alone = {"alone": {"command": "save", "parts": {"x": str(base)}}}
    path = recipe(tmp_path, base, phases=PHASES | alone)
    assert run(path) == DONE
    before = made(path)
    change = ["--set", "phases.second.parts.b=${models.base}", "--redo"]
    assert run(path, *change, "--only", "first", "second") == DONE
    assert {name for name, at in made(path).items() if at != before[name]} == {"second"}
    assert run(path, *change) == DONE
    assert {name for name, at in made(path).items() if at != before[name]} == {"second", "third"}
    assert run(path, *change[:2]) == DONE


def test_a_phase_whose_data_changed_under_the_same_name_is_refused_or_run_again(
    tmp_path: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    reddit_dump(tmp_path, posts=4)
    pairs = {"command": "reddit", "submissions": "RS.jsonl", "comments": "RC.jsonl"}
    pairs |= {"reddit": {"min_characters": 5}}
    path = recipe(tmp_path, base, phases={"pairs": pairs, "first": PHASES["first"]})
    assert run(path) == DONE
    os.utime(tmp_path / "RC.jsonl")
    assert run(path) == DONE, "a copy of the same file is the same"
    reddit_dump(tmp_path, posts=5)
    before = made(path)
    assert run(path) == USAGE and made(path) == before
    assert "pairs was made before RC.jsonl, RS.jsonl changed. --redo" in capsys.readouterr().err
    assert run(path, "--redo") == DONE
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["pairs"]["posts"] == 5
    assert made(path)["first"] == before["first"]
    (tmp_path / "RS.jsonl").unlink()
    assert run(path) == DONE, "what is done needs its data no more"


def test_a_model_that_changed_in_its_folder_is_noticed_too(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    path = recipe(tmp_path, copy)
    assert run(path) == DONE
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert run(path) == USAGE
    assert f"first was made before {copy} changed" in capsys.readouterr().err


def test_a_phase_that_was_begun_with_other_settings_starts_anew_by_redo(
    tmp_path: Path, base: Path
) -> None:
    path = recipe(tmp_path, base)
    assert run(path, "--set", "models.base=gone") == USAGE
    state = tmp_path / "out" / "checkpoints" / "first" / "state"
    state.touch()
    assert run(path, "--set", "models.base=gone", "--redo") == USAGE
    assert state.exists(), "the same settings go on from it"
    assert run(path, "--redo") == DONE and not state.exists()


def test_what_a_later_phase_lacks_is_said_before_the_first_one_runs(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = [
        (
            {"command": "reddit", "submissions": "gone", "comments": "x"},
            "submissions: there is no file gone",
        ),
        ({"command": "sft"}, "the config file needs sft.data"),
        ({"command": "ppo", "starter": "x", "prompts": "x"}, "the config file needs reward_model"),
        ({"command": "reward", "starter": "x"}, "the config file needs preferences"),
    ]
    for second, message in lacking:
        path = recipe(tmp_path, base, phases={"first": PHASES["first"], "second": second})
        assert run(path) == USAGE and done(path) == []
        error = capsys.readouterr().err
        assert f"error: phase second: {message}" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "unknown setting epochs"),
        ({"phases": {}}, "phases must be a mapping"),
        ({"phases": {"one": 3}}, "phases.one must be a mapping"),
        ({"phases": {"../x": {"command": "save"}}}, "names are a-z, 0-9 and _"),
        ({"phases": {"one": {"command": "fly"}}}, "phases.one.command must be one of sft, reward"),
        ({"phases": {"one": {"command": "save", "part": {}}}}, "phases.one: unknown setting part"),
        (
            {"phases": {"one": {"command": "ppo", "ppo": {"updates": "x"}}}},
            "phases.one.ppo.updates must be int",
        ),
        (
            {"phases": {"one": {"command": "save", "parts": {"x": "${two}/x"}}}},
            "phases.one.parts.x: ${two} is no name of an earlier phase",
        ),
        ({"phases": {"one": {"command": "ppo"}}}, "phase one: the config file needs starter"),
        (
            {"phases": {"one": {"command": "save", "parts": {"x": "gone"}}}},
            "phase one: parts.x: there is no model in gone",
        ),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_the_place(
    tmp_path: Path,
    base: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    assert run(recipe(tmp_path, base, **changes)) == USAGE
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--set", "models.bas=x"], "--set models.bas: the recipe has no such setting"),
        (["--set", "models.base"], "expected key=value"),
        (["--set", "phases.first.part=x"], "phases.first: unknown setting part"),
        (["--set", "phases.gone.command=x"], "--set phases.gone.command: the recipe has no"),
        (["--only", "fourth"], "there is no phase fourth; the recipe has first, second, third"),
        (["--from", "fourth"], "there is no phase fourth"),
    ],
)
def test_a_wrong_option_is_one_line(
    tmp_path: Path,
    base: Path,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
    message: str,
) -> None:
    assert run(recipe(tmp_path, base), *option) == USAGE
    assert message in capsys.readouterr().err
    assert done(tmp_path / "recipe.yaml") == []


def test_a_name_that_is_neither_a_file_nor_a_shipped_recipe_is_told_which_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "texbook") == USAGE
    assert "those that come along are flan_t5, gpt2, hh_rlhf, reddit, textbook" in (
        capsys.readouterr().err
    )


def test_a_part_that_does_not_say_what_it_is_a_model_of_is_refused(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    config = json.loads((copy / "config.json").read_text())
    del config["architectures"]
    (copy / "config.json").write_text(json.dumps(config))
    assert run(recipe(tmp_path, copy)) == USAGE
    assert "phase first: parts.a: config.json names no architectures" in capsys.readouterr().err


def test_a_change_of_one_phase_leaves_the_others_alone(tmp_path: Path) -> None:
    """YAML's anchors make one object of what stands in two phases."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "phases:\n"
        "  short: {command: ppo, ppo: &ppo {updates: 1, lora: {r: 8}}}\n"
        "  long: {command: ppo, ppo: {<<: *ppo, updates: 2}}\n"
    )
    short, long = pipeline.load(path, tmp_path, ["phases.long.ppo.lora.r=16"])
    assert short.settings["ppo"] == {"updates": 1, "lora": {"r": 8}}
    assert long.settings["ppo"] == {"updates": 2, "lora": {"r": 16}}


def test_fine_tuning_holds_out_what_the_other_phases_do(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    phases = {
        "one": {"command": "sft", "sft": {"data": "x"}},
        "two": {"command": "sft", "sft": {"data": "x", "seed": 1}},
    }
    path.write_text(yaml.safe_dump({"seed": 5, "held_out_share": 0.3, "phases": phases}))
    one, two = (phase.config for phase in pipeline.load(path, tmp_path))
    assert isinstance(one, SFTJob) and isinstance(two, SFTJob)
    assert (one.sft.seed, one.sft.held_out_share) == (5, 0.3)
    assert (two.sft.seed, two.sft.held_out_share) == (1, 0.3)


def test_the_page_that_a_killed_run_did_not_write_is_written_later(
    tmp_path: Path, base: Path
) -> None:
    path = recipe(tmp_path, base)
    assert run(path) == DONE
    (tmp_path / "out" / "README.md").unlink()
    (tmp_path / "out" / "summary.json").write_text("{")
    assert run(path) == DONE
    assert (tmp_path / "out" / "README.md").exists()
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())) == set(PHASES)


def test_a_recipes_own_settings_reach_the_commands_that_know_them(
    tmp_path: Path, base: Path
) -> None:
    path = recipe(tmp_path, base, seed=5, held_out_share=0.5)
    assert run(path, "--set", "phases.third.seed=7") == DONE
    metas = [json.loads((tmp_path / "out" / name / "meta.json").read_text()) for name in PHASES]
    assert [meta["config"]["seed"] for meta in metas] == [5, 5, 7]
