"""The programs in examples/, on a tiny model: each does what its first lines say."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.training.rlhf import tiny, world
from training.rlhf import rows
from training.rlhf.reward import reward_model

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, prompts and pairs."""
    folder = tmp_path_factory.mktemp("examples")
    tiny.brief(folder / "model")
    rows.write(folder / "prompts.jsonl", [{"prompt": f"Where is parcel {i}?"} for i in range(6)])
    rows.write(folder / "pairs.jsonl", world.chosen_and_rejected(32))
    return folder


@pytest.fixture(scope="module")
def rewards(folder: Path) -> Path:
    """A reward model, as its example leaves it."""
    run("reward_model", folder / "model", folder / "pairs.jsonl", folder / "reward", 1)
    return folder / "reward" / "model"


def run(name: str, *arguments: object) -> None:
    """Run an example as `python examples/NAME.py` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_ppo_with_a_rule_leaves_a_policy_and_goes_on_with_the_same_rule_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "ppo"
    run("ppo_with_a_rule", folder / "model", folder / "prompts.jsonl", out, 1)
    assert re.search(
        r"score \S+ at first, \S+ at last; KL -?\d\.\d\d nats$", capsys.readouterr().out
    )
    assert json.loads((out / "model" / "ppo.json").read_text())["updates"] == 1
    run("ppo_with_a_rule", folder / "model", folder / "prompts.jsonl", out, 1)
    assert "1/1" not in capsys.readouterr().out, "it was done, and is not done again"


def test_reward_model_leaves_a_model_and_shows_two_scores(
    rewards: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("reward_model", folder / "model", folder / "pairs.jsonl", folder / "reward", 1)
    *_, first, second, verdict = capsys.readouterr().out.splitlines()
    chat, texts = world.prompts()[0].messages, [first[10:], second[10:]]
    scores = reward_model.load(rewards).score([chat, chat], texts)
    assert [float(line[:8]) for line in (first, second)] == pytest.approx(scores, abs=1e-3)
    assert re.fullmatch(r"the first is better with probability 0\.\d\d", verdict)


def test_compare_prints_a_row_for_every_measure(
    rewards: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, prompts = (folder / "model", folder / "model"), folder / "prompts.jsonl"
    run("compare", *models, prompts, folder / "compared", rewards)
    table = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert table["win_rate_reward"] == ["0.500"], "of the other model, which is the same one"
    assert table["kl"] == ["0.000", "0.000"]
    assert (folder / "compared" / "report.html").exists()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_without_arguments_an_example_says_how_it_is_run(example: Path) -> None:
    with pytest.raises(SystemExit, match=rf"python examples/{example.name} MODEL"):
        run(example.stem)


def test_the_page_about_the_engine_names_every_example() -> None:
    page = (ROOT / "docs" / "engine.md").read_text("utf-8")
    assert [path.name for path in EXAMPLES if f"(../examples/{path.name})" not in page] == []
