"""DPO, KTO and ORPO on tiny models: they learn the votes, hold to the starter, resume exactly."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from tests.training.rlhf import tiny, world
from training.rlhf.config import ConfigError, LoraConfig, PairsConfig
from training.rlhf.language import pretrained
from training.rlhf.language.response_states import Sequences
from training.rlhf.ppo.actor_critic import ActorCritic
from training.rlhf.rows import Preference, Vote
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work
from training.rlhf.trainers import dpo_kto_orpo, preference_pairs

OPTIMISERS = ("dpo", "kto", "orpo")
LORA = LoraConfig(r=4)
TOY: dict[str, Any] = {
    "epochs": 2.0,
    "batch_size": 6,
    "learning_rate": 3e-3,
    "checkpoint_every": 2,
    "max_length": 96,
}
Metrics = dict[str, float]


def variants(*quick: str) -> list[Any]:
    """Every optimiser in full and with LoRA; those that are not named run in `make test-long`."""
    names = {
        f"{name}-{kind}": (name, lora)
        for name in OPTIMISERS
        for kind, lora in (("full", None), ("lora", LORA))
    }
    return [
        pytest.param(*values, id=name, marks=[] if name in quick else pytest.mark.long)
        for name, values in names.items()
    ]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return tiny.llama(tmp_path / "starter")


def train(
    optimiser: str,
    starter: Path,
    work: Path,
    *,
    votes: list[Preference] | None = None,
    policy: Path | None = None,
    stop_at: int | None = None,
    stop_with: type[BaseException] = Stopped,
    **changes: Any,
) -> tuple[Metrics, list[Metrics]]:
    """Train in `work`; the summary and what was reported. `stop_at` ends it after that step."""
    seen: list[Metrics] = []
    steps = [0]

    def guard() -> None:
        steps[0] += 1
        if steps[0] == stop_at:
            raise stop_with

    summary = dpo_kto_orpo.train(
        optimiser,
        policy or starter,
        starter,
        votes or world.preferences(16),
        PairsConfig(**(TOY | changes)),
        work / "model",
        Work(
            seed=3,
            device=torch.device("cpu"),
            checkpoints=work / "checkpoints",
            report=lambda done, total, metrics: seen.append(metrics),
            guard=guard,
        ),
    )
    return summary, seen


def weights(work: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted((work / "model").glob("*.safetensors")):
        found |= {f"{file.name}:{name}": value for name, value in load_file(str(file)).items()}
    return found


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@torch.no_grad()
def preferred(policy: Path, votes: list[Preference]) -> float:
    """Mean of log p(better reply) - log p(worse reply)."""
    model, tokenizer = pretrained.load_causal(policy), pretrained.load_tokenizer(policy)
    found = preference_pairs.read(tokenizer, votes, max_length=96).decided
    gaps = []
    for pair in found:
        batch = Sequences.build(
            [pair.prompt] * 2, [pair.chosen, pair.rejected], torch.device("cpu")
        )
        reading = ActorCritic(model, None).read(batch, temperature=1.0)
        sums = (reading.logprobs * batch.mask).sum(1)
        gaps.append(float(sums[0] - sums[1]))
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize(
    ("optimiser", "lora"), variants("dpo-lora", "kto-full", "orpo-full", "orpo-lora")
)
def test_the_policy_comes_to_prefer_what_people_prefer(optimiser, lora, starter, tmp_path):
    votes = world.preferences(32)
    summary, seen = train(
        optimiser, starter, tmp_path / "run", votes=votes, lora=lora, learning_rate=1e-2
    )
    assert preferred(tmp_path / "run" / "model", votes) > preferred(starter, votes) + 0.5
    assert summary["steps"] == len(seen)
    assert summary["pairs"] == sum(not vote.held_out for vote in votes)
    assert {"loss", "grad_norm"} <= seen[0].keys()
    assert "margin" in {name for metrics in seen for name in metrics}
    assert pretrained.load_tokenizer(tmp_path / "run" / "model").chat_template


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_dpo_measures_margins_from_the_starter_even_when_it_begins_elsewhere(
    lora, starter, tmp_path
):
    _, first = train("dpo", starter, tmp_path / "one", lora=lora, learning_rate=1e-2)
    assert first[0]["margin"] == pytest.approx(0, abs=1e-5)
    _, second = train(
        "dpo", starter, tmp_path / "two", lora=lora, policy=tmp_path / "one" / "model"
    )
    assert second[0]["margin"] > 0.05


@pytest.mark.parametrize(("optimiser", "lora"), variants("dpo-full", "kto-lora", "orpo-full"))
def test_a_run_killed_at_a_random_step_ends_with_the_same_weights(
    optimiser, lora, starter, tmp_path
):
    kill_and_compare(optimiser, starter, tmp_path, lora=lora, step=random.Random().randint(1, 7))


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_kills_at_five_random_steps(optimiser, attempt, starter, tmp_path):
    kill_and_compare(optimiser, starter, tmp_path, lora=None, step=random.Random().randint(1, 7))


def kill_and_compare(optimiser: str, starter: Path, folder: Path, *, lora: Any, step: int) -> None:
    # 12 pairs (KTO: 24 replies) in batches of 3 make at least 8 steps.
    train(optimiser, starter, folder / "whole", lora=lora, batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        train(
            optimiser,
            starter,
            folder / "parts",
            lora=lora,
            batch_size=3,
            stop_at=step,
            stop_with=KeyboardInterrupt,
        )
    torch.manual_seed(step)  # a new process knows nothing of the old one's generators
    train(optimiser, starter, folder / "parts", lora=lora, batch_size=3)
    assert_same_weights(folder / "whole", folder / "parts")


def test_a_stop_is_honoured_after_a_checkpoint(starter, tmp_path):
    with pytest.raises(Stopped):
        train("orpo", starter, tmp_path / "run", batch_size=3, stop_at=3)
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-3" / "complete").exists()
    assert not (tmp_path / "run" / "model").exists()


def test_a_checkpoint_is_on_the_disk_before_the_marker_that_vouches_for_it(
    starter, tmp_path, monkeypatch
):
    flushed: list[Path] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    train("orpo", starter, tmp_path / "run", batch_size=6, epochs=1.0)
    folder = tmp_path / "run" / "checkpoints" / "checkpoint-2"
    marker = flushed.index(folder / "complete")
    saved = {path for path in folder.rglob("*") if path.name != "complete"}
    assert len(saved) > 3 and saved <= set(flushed[:marker])
    assert {folder, folder.parent} <= set(flushed[marker:])


def test_gradient_accumulation_changes_nothing_but_memory_for_orpo(starter, tmp_path):
    train("orpo", starter, tmp_path / "whole", weight_decay=0.0)
    train("orpo", starter, tmp_path / "split", gradient_accumulation=3)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "split")
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-3, rtol=1e-3)


def vote(choice: Any) -> tuple[Vote, ...]:
    return (Vote(annotator="ann", choice=choice),)


def pair(choice: Any, **changes: Any) -> Preference:
    message = {"role": "user", "content": "Tell me about the parcel."}
    values = {"completion_a": "good", "completion_b": "bad <|im_end|>", "votes": vote(choice)}
    return Preference(pair_id="x", prompt_id="p", messages=[message], **(values | changes))


def test_ties_and_held_out_pairs_teach_nothing_and_are_counted():
    found = preference_pairs.read(
        tiny.tokenizer(),
        [pair("a"), pair("b"), pair("tie"), pair("a", held_out=True), pair("a", votes=())],
        max_length=96,
    )
    assert (len(found.decided), found.ties, found.truncated) == (2, 1, 0)
    assert found.decided[0].chosen == found.decided[1].rejected


def test_only_ties_are_refused_with_a_reason():
    with pytest.raises(ConfigError, match="all 2 pairs with votes are ties"):
        preference_pairs.read(tiny.tokenizer(), [pair("tie"), pair("tie")], max_length=96)
    with pytest.raises(ConfigError, match="no pair with votes to train the policy on"):
        preference_pairs.read(tiny.tokenizer(), [pair("a", held_out=True)], max_length=96)


def test_replies_that_the_maximum_length_makes_equal_are_left_out_and_counted():
    long = pair("a", completion_a="good " * 200 + "yes", completion_b="good " * 200 + "no")
    same = pair("a", completion_b="good")
    left = preference_pairs.read(tiny.tokenizer(), [pair("a"), long, same], max_length=96)
    assert (len(left.decided), left.equal, left.truncated) == (1, 2, 0)
    with pytest.raises(ConfigError, match="2 pairs have the same tokens on both sides"):
        preference_pairs.read(tiny.tokenizer(), [long, same], max_length=96)


def test_an_end_spelt_out_in_a_reply_stays_text():
    tokenizer = tiny.tokenizer()
    found = preference_pairs.read(tokenizer, [pair("a")], max_length=96).decided[0]
    end = tokenizer.eos_token_id
    assert found.rejected.count(end) == found.chosen.count(end) == 1
    assert found.rejected[-1] == found.chosen[-1] == end


def test_a_long_pair_loses_the_left_of_its_prompt_and_is_counted():
    whole = preference_pairs.read(tiny.tokenizer(), [pair("a")], max_length=96).decided[0]
    found = preference_pairs.read(tiny.tokenizer(), [pair("a")], max_length=20)
    short = found.decided[0]
    assert found.truncated == 1
    assert (short.chosen, short.rejected) == (whole.chosen, whole.rejected)
    assert short.prompt == whole.prompt[-len(short.prompt) :]
    assert len(short.prompt) + max(len(short.chosen), len(short.rejected)) == 20


def test_kto_compares_each_reply_with_another_of_its_batch():
    found = preference_pairs.read(tiny.tokenizer(), world.preferences(16), max_length=96).decided
    rows = dpo_kto_orpo.unpaired(found, batch_size=6, max_length=96, seed=0)
    assert sum(row["label"] for row in rows) == len(rows) // 2 == len(found)
    for start in range(0, len(rows), 6):
        batch = rows[start : start + 6]
        mine = sorted(row["completion_ids"] for row in batch)
        assert sorted(row["KL_completion_ids"] for row in batch) == mine


def test_orpo_reads_the_model_in_the_precision_that_is_asked_for(tmp_path):
    model, seen = tiny.llama_model(), []
    model.model.layers[0].mlp.up_proj.register_forward_hook(
        lambda module, given, made: seen.append(made.dtype)
    )
    pair = preference_pairs.Pair([5, 6], [7, 2], [8, 9, 2])
    trainer = dpo_kto_orpo._ORPOTrainer(
        weight=0.1,
        model=model,
        args=TrainingArguments(str(tmp_path), bf16=True, use_cpu=True, report_to="none"),
        train_dataset=[pair],
    )
    loss = trainer.compute_loss(model, dpo_kto_orpo._collate([pair]))
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32


def test_checkpoints_of_other_settings_are_refused(starter, tmp_path):
    votes = world.preferences(8)
    train("orpo", starter, tmp_path / "run", votes=votes)
    train("orpo", starter, tmp_path / "run", votes=votes, checkpoint_every=5)
    for changes in ({"beta": 0.3}, {"votes": world.preferences(9)}):
        with pytest.raises(ConfigError, match="other settings, data, models or seed"):
            train("orpo", starter, tmp_path / "run", **({"votes": votes} | changes))
    with pytest.raises(ConfigError, match="other settings"):
        train("dpo", starter, tmp_path / "run", votes=votes)


def test_the_odds_ratio_loss_equals_the_papers_formula():
    chosen, rejected = -torch.rand(20) * 3 - 0.05, -torch.rand(20) * 3 - 0.05
    losses, ratios = dpo_kto_orpo.odds_ratio_loss(chosen, rejected, weight=0.3)
    for c, r, loss, ratio in zip(chosen, rejected, losses, ratios, strict=True):
        p, q = math.exp(c), math.exp(r)
        expected = math.log((p / (1 - p)) / (q / (1 - q)))
        assert float(ratio) == pytest.approx(expected, abs=1e-4)
        sigmoid = 1 / (1 + math.exp(-expected))
        assert float(loss) == pytest.approx(-float(c) - 0.3 * math.log(sigmoid), abs=1e-4)


def test_the_odds_ratio_loss_is_finite_for_a_reply_that_is_certain():
    losses, _ = dpo_kto_orpo.odds_ratio_loss(torch.zeros(1), torch.tensor([-50.0]), weight=1.0)
    assert bool(losses.isfinite().all())
