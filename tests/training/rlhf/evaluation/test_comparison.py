from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.training.rlhf import tiny, world
from training.rlhf import __main__ as command_line
from training.rlhf import rows
from training.rlhf.completions.openai_endpoint import EndpointError
from training.rlhf.completions.sampling import Policy
from training.rlhf.completions.writers import Settings
from training.rlhf.config import CompareJob, ConfigError, JudgeConfig, from_dict
from training.rlhf.evaluation import (
    comparison,
    kl_and_perplexity,
    llm_judge,
    measured_replies,
    resumed_measurements,
)
from training.rlhf.reward import reward_model
from training.rlhf.rows import Prompt
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work

CPU = torch.device("cpu")
SETTINGS = Settings(temperature=0.7, max_new_tokens=8, batch_size=4)


def prompts(n: int = 12) -> list[Prompt]:
    """Test prompts, of which every other has a reference answer."""
    return [
        dataclasses.replace(
            prompt,
            held_out=True,
            tags=("adversarial",) if i % 3 == 0 else ("plain",),
            reference="The parcel is late today." if i % 2 else "",
        )
        for i, prompt in enumerate(world.prompts(n))
    ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three models, one of them an encoder-decoder, and a reward model."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    base = world.starter(root / "base")
    model = reward_model.new(base, pooling="mean", max_length=128, device=CPU)
    torch.manual_seed(0)
    assert isinstance(model.head, torch.nn.Linear)
    torch.nn.init.normal_(model.head.weight)
    model.save(root / "reward")
    rows.write(root / "prompts.jsonl", prompts())
    reader = tiny.llama_model(seed=5, context=2048)
    judge = tiny.write(root / "judge", reader, tiny.tokenizer())
    models = {
        "base": str(base),
        "other": str(tiny.llama(root / "other", seed=5)),
        "t5": str(tiny.t5(root / "t5")),
    }
    return {
        "models": models,
        "prompts": str(root / "prompts.jsonl"),
        "reward_models": {"reward": str(root / "reward")},
        "threads": 1,
        "device": "cpu",
        "seed": 2,
        "evaluate": {
            "max_new_tokens": 8,
            "batch_size": 1,
            "samples": 3,
            "resamples": 100,
            "judge": {"path": str(judge)},
        },
    }


def place(folder: Path, *, stop_at: int = 0) -> tuple[Work, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    calls: list[int] = []

    def guard() -> None:
        calls.append(1)
        if len(calls) == stop_at:
            raise Stopped

    report = seen.append
    return Work(2, CPU, folder, lambda done, total, _: report((done, total)), guard), seen


@pytest.fixture(scope="module")
def done(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documented command leaves."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "compare.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["--config", str(folder / "compare.yaml"), "--out", str(folder / "compare")]
    assert command_line.main(["compare", *arguments]) == 0
    return folder / "compare"


def test_it_leaves_one_table_every_reply_and_a_report(done: Path) -> None:
    table = json.loads((done / "comparison.json").read_text())
    assert table["models"] == ["base", "other", "t5"]
    assert set(table["groups"]) == {"all", "plain", "adversarial"}
    replies = [data for _, data in rows.read_json(done / "replies.jsonl")]
    assert len(replies) == 3 * 12
    assert {(r["model"], r["prompt_id"]) for r in replies} == {
        (model, f"p{i}") for model in table["models"] for i in range(12)
    }
    meta = json.loads((done / "meta.json").read_text())
    assert meta["metrics"]["other.kl"] > 0.5
    assert meta["parents"]["models.t5"].endswith("t5")
    html = (done / "report.html").read_text()
    assert "<script" not in html and "http" not in html and "adversarial (4 prompts)" in html
    assert (done / "report.md").read_text().count("\n---\n") == 3


def test_kl_and_perplexity_hold_for_encoder_decoders_and_are_zero_for_the_starter(
    done: Path,
) -> None:
    found = json.loads((done / "comparison.json").read_text())["groups"]["all"]["models"]
    assert found["base"]["kl"]["value"] == pytest.approx(0.0, abs=1e-4)
    assert found["t5"]["kl"]["value"] > 0.5
    assert found["t5"]["reference_perplexity"]["n"] == 6


def test_a_judge_that_reads_the_replies_gives_a_verdict_on_every_pair(done: Path) -> None:
    found = json.loads((done / "comparison.json").read_text())["groups"]["all"]["models"]
    assert "judged_win_rate" not in found["base"]
    assert found["other"]["judged_win_rate"]["n"] == 12
    assert found["other"]["judge_silent_rate"]["value"] == 0


def test_peoples_votes_on_its_blind_pairs_come_back_as_a_win_rate(
    recipe: dict[str, Any], done: Path, tmp_path: Path
) -> None:
    """Everybody prefers what `other` wrote, except on one pair; another is a tie."""
    pairs = [data for _, data in rows.read_json(done / "pairs.jsonl")]
    mine = [pair for pair in pairs if "other" in (pair["model_a"], pair["model_b"])]
    assert {pair["model_a"] for pair in mine} == {"base", "other"}  # the sides are mixed
    voted = []
    for number, pair in enumerate(mine):
        ours, theirs = pair["completion_a"], pair["completion_b"]
        if (pair["model_a"] == "other") == (number == 0):
            ours, theirs = theirs, ours
        voted.append({"prompt": pair["prompt"], "chosen": ours, "rejected": theirs})
    rows.write(tmp_path / "votes.jsonl", voted[:-1])
    rows.write(tmp_path / "ties.jsonl", mine[-1:])
    # The replies of the first run are taken from where it left them.
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("votes", "ties")}
    settings = recipe | {"votes": files["votes"], "undecided": files["ties"]}
    (done.parent / "again.yaml").write_text(yaml.safe_dump(settings))
    (done.parent / "checkpoints" / "again").symlink_to(done.parent / "checkpoints" / "compare")
    arguments = ["--config", str(done.parent / "again.yaml"), "--out", str(done.parent / "again")]
    assert command_line.main(["compare", *arguments]) == 0
    table = json.loads((done.parent / "again" / "comparison.json").read_text())
    found = table["groups"]["all"]["models"]
    assert found["other"]["people_win_rate"]["n"] == len(mine) > 5
    assert found["other"]["people_win_rate"]["value"] == pytest.approx(1 - 1.5 / len(mine))
    assert "people_win_rate" not in found["t5"]


def test_it_goes_on_after_the_last_model_that_was_done(
    recipe: dict[str, Any], done: Path, tmp_path: Path
) -> None:
    config = from_dict(CompareJob, recipe)
    out = tmp_path / "out"
    out.mkdir()
    where, seen = place(tmp_path / "checkpoints", stop_at=7)
    with pytest.raises(Stopped):
        comparison.compare(config, prompts(), out, where)
    assert seen and not list(out.iterdir())
    kept = {path: path.stat().st_mtime_ns for path in where.checkpoints.rglob("*.jsonl")}
    assert kept
    where, seen = place(where.checkpoints)
    comparison.compare(config, prompts(), out, where)
    after = {path: path.stat().st_mtime_ns for path in where.checkpoints.rglob("*.jsonl")}
    assert kept.items() <= after.items()
    assert (out / "comparison.json").read_bytes() == (done / "comparison.json").read_bytes()


def test_a_judge_that_fails_goes_on_after_the_last_part_that_it_judged(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured_replies, "JUDGED_AT_ONCE", 5)
    asked: list[int] = []
    broken = True

    def ask(questions: Any) -> list[str]:
        asked.append(len(questions))
        if broken and len(asked) > 2:
            raise EndpointError("the server went away")
        return ["A"] * len(questions)

    monkeypatch.setattr(llm_judge, "load_judge", lambda config, device: ask)
    models = {name: recipe["models"][name] for name in ("base", "other")}
    judge = JudgeConfig(path="judge")
    setup = measured_replies.ComparisonSetup(models, models["base"], {}, judge)
    where, _ = place(tmp_path / "checkpoints")
    with pytest.raises(EndpointError):
        measured_replies.measure_replies(setup, prompts(), SETTINGS, where)
    broken = False
    found = measured_replies.measure_replies(setup, prompts(), SETTINGS, where)
    assert all("judged_win_rate" in one.numbers for one in found["other"])
    # Both orders of the first part, the one that failed, and both of the other two parts.
    assert asked[:2] == [5, 5] and asked[2:] == [5, 5, 5, 2, 2]


def test_a_retrained_model_is_asked_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny.llama(tmp_path / "model")
    before = resumed_measurements.digest(folder, SETTINGS)
    assert resumed_measurements.digest(folder, SETTINGS) == before
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(folder)})
    )
    save_file({}, adapter / "adapter_model.safetensors")
    adapted = resumed_measurements.digest(adapter, SETTINGS)
    tiny.llama(tmp_path / "model", seed=1)
    assert resumed_measurements.digest(folder, SETTINGS) != before
    assert resumed_measurements.digest(adapter, SETTINGS) != adapted


def test_models_of_other_vocabularies_have_a_perplexity_and_no_kl(tmp_path: Path) -> None:
    base = world.starter(tmp_path / "base")
    model, words = tiny.llama_model(vocab=400, seed=3), tiny.tokenizer()
    words.add_tokens(["parcel!"])
    other = tiny.write(tmp_path / "other", model, words)
    where, _ = place(tmp_path / "checkpoints")
    setup = measured_replies.ComparisonSetup(
        {"base": str(base), "other": str(other)}, str(base), {}
    )
    found = measured_replies.measure_replies(setup, prompts(4), SETTINGS, where)
    assert all("kl" in one.numbers for one in found["base"])
    assert all("kl" not in one.numbers and one.numbers["nll"] > 0 for one in found["other"])


@torch.no_grad()
@pytest.mark.parametrize("family", [tiny.llama, tiny.t5])
def test_likelihoods_equal_a_plain_forward_pass(family: Any, tmp_path: Path) -> None:
    policy = Policy(family(tmp_path / "model"), device=CPU)
    chats = [prompt.messages for prompt in prompts(3)]
    ids = [
        kl_and_perplexity.text_ids(policy, text, finished=True)
        for text in ("good", "a sad dog", "")
    ]
    for chat, reply, found in zip(
        chats,
        ids,
        kl_and_perplexity.reply_likelihoods(policy, chats, ids, temperature=0.5),
        strict=True,
    ):
        prompt = policy.prompt(chat, Settings(0.5, len(reply), 1))
        if policy.model.config.is_encoder_decoder:
            fed = torch.tensor([[policy.model.config.decoder_start_token_id, *reply[:-1]]])
            out = policy.model(input_ids=torch.tensor([prompt]), decoder_input_ids=fed)
            logits = out.logits[0]
        else:
            logits = policy.model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0]
            logits = logits[len(prompt) - 1 : -1]
        for heat, value in ((1.0, found.plain), (0.5, found.tempered)):
            slow = (logits / heat).log_softmax(-1)[range(len(reply)), reply].sum()
            assert value == pytest.approx(float(slow), abs=1e-3)
        assert found.tokens == len(reply)


def test_it_wants_two_models_and_a_prompt(recipe: dict[str, Any], tmp_path: Path) -> None:
    where, _ = place(tmp_path)
    config = from_dict(CompareJob, recipe)
    with pytest.raises(ConfigError, match="no held-out prompt"):
        comparison.compare(config, [], tmp_path, where)
    alone = dataclasses.replace(config, models={"base": config.models["base"]})
    with pytest.raises(ConfigError, match="at least two"):
        comparison.compare(alone, prompts(), tmp_path, where)
