"""Recipes as such: what they may say, and which of their phases run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.rlhf import tiny
from training.rlhf import pipeline
from training.rlhf.__main__ import main
from training.rlhf.config import SFTJob
from training.rlhf.rundir import DONE, USAGE

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
    assert "first has other settings: remove" in capsys.readouterr().err
    for file in sorted((tmp_path / "out" / "first").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "out" / "first").rmdir()
    assert run(path, "--only", "first") == DONE
    assert run(path) == DONE, "equal results are no other ones"
    meta = tmp_path / "out" / "first" / "meta.json"
    meta.write_text(meta.read_text() + "\n")
    assert run(path) == USAGE
    assert "second was made from other results of first" in capsys.readouterr().err


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
