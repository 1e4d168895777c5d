"""The programs in examples/, on a tiny model: each does what its first lines say."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from annotate.models import ApiToken, Assignment, Pair, Project
from tests.training.conftest import vote_on
from tests.training.history import add_starter
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


def test_client_labels_asks_for_a_round_and_exports(
    live_server: LiveServer,
    project: Project,
    ann: User,
    ben: User,
    settings: Settings,
    make_pairs: Callable[..., list[Pair]],
    zed: User,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.HOME = tmp_path
    voted, fresh = make_pairs(30), make_pairs(2)
    vote_on(voted, ann, ben)
    add_starter(project)
    monkeypatch.setenv("PAIRLOOP_TOKEN", ApiToken.issue(zed)[1])
    out = tmp_path / "preferences.jsonl"
    run("client", live_server.url, "desk", out, 2)
    *votes, round, version = capsys.readouterr().out.splitlines()
    assert len(votes) == 2 and all(re.search(r": (left|right), stored$", line) for line in votes)
    assert round == "round 1 is queued" and version.startswith("version 1 is in")
    longer = {
        pair.pk: "a" if len(pair.completion_a.text) > len(pair.completion_b.text) else "b"
        for pair in fresh
    }
    cast = Assignment.objects.filter(annotator=zed, state="voted")
    assert dict(cast.values_list("pair", "choice")) == longer
    assert sum(1 for _ in rows.read_json(out)) == 32, "whatever people voted on"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_without_arguments_an_example_says_how_it_is_run(example: Path) -> None:
    with pytest.raises(SystemExit, match=rf"python examples/{example.name} [A-Z]"):
        run(example.stem)


def test_the_documents_name_every_example() -> None:
    pages = "".join((ROOT / "docs" / page).read_text("utf-8") for page in ("engine.md", "guide.md"))
    assert [path.name for path in EXAMPLES if f"(../examples/{path.name})" not in pages] == []
