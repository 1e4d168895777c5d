"""RLOO and GRPO on tiny models: the score goes up, KL is to the starter, runs resume exactly."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.rlhf import tiny
from tests.training.rlhf.language.test_chat_template import QWEN3_LIKE
from tests.training.rlhf.trainers.test_dpo_kto_orpo import assert_same_weights
from training.rlhf.config import GroupConfig, LoraConfig
from training.rlhf.language import chat_template
from training.rlhf.metrics import reward_hacking
from training.rlhf.reward.score_functions import Score
from training.rlhf.run.failures import Diverged
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work
from training.rlhf.trainers import rloo_grpo

OPTIMISERS = ("rloo", "grpo")
LORA = LoraConfig(r=4)
TOY: dict[str, Any] = {
    "updates": 4,
    "batch_size": 8,
    "minibatch_size": 8,
    "group_size": 4,
    "max_new_tokens": 6,
    "learning_rate": 3e-3,
    "checkpoint_every": 2,
    "missing_eos_penalty": 0.0,
}
Metrics = dict[str, float]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return tiny.llama(tmp_path / "starter", sharpness=4.0)


def likes_e(chats: list[Any], replies: list[str]) -> list[float]:
    return [float(reply.count("e")) for reply in replies]


def train(
    optimiser: str,
    starter: Path,
    work: Path,
    *,
    score: Score = likes_e,
    policy: Path | None = None,
    stop_at: int | None = None,
    stop_with: type[BaseException] = Stopped,
    **changes: Any,
) -> tuple[Metrics, list[Metrics]]:
    """Train in `work`; the summary and what was reported. `stop_at` ends it after that update."""
    seen: list[Metrics] = []
    edges = [0]

    def guard() -> None:
        edges[0] += 1
        if edges[0] == stop_at:
            raise stop_with

    summary = rloo_grpo.train(
        optimiser,
        policy or starter,
        starter,
        tiny.prompts(10),
        score,
        GroupConfig(**(TOY | changes)),
        work / "model",
        Work(
            seed=3,
            device=torch.device("cpu"),
            checkpoints=work / "checkpoints",
            report=lambda done, total, metrics: seen.append(
                metrics | {"done": done, "total": total}
            ),
            guard=guard,
        ),
    )
    return summary, seen


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_score_goes_up(optimiser, starter, tmp_path):
    summary, seen = train(
        optimiser,
        starter,
        tmp_path / "run",
        updates=14,
        batch_size=32,
        minibatch_size=16,
        epochs=2,
        learning_rate=1e-2,
        beta=0.01,
        checkpoint_every=99,
    )
    assert summary["reward_last"] > summary["reward_first"] + 1
    assert summary["updates"] == 14
    assert (seen[-1]["done"], seen[-1]["total"]) == (14, 14)
    measured = {*reward_hacking.WATCHED, "reward_deviation", "kl", "entropy", "alarms"}
    assert measured <= seen[0].keys()


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_kl_is_to_the_starter_even_when_training_begins_elsewhere(
    optimiser, lora, starter, tmp_path
):
    _, first = train(optimiser, starter, tmp_path / "one", lora=lora, learning_rate=2e-2)
    assert first[0]["kl"] == pytest.approx(0, abs=1e-5)
    promoted = tmp_path / "one" / "model"
    _, second = train(optimiser, starter, tmp_path / "two", lora=lora, policy=promoted, updates=1)
    assert abs(second[0]["kl"]) > 1e-3


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_run_killed_at_a_random_update_ends_with_the_same_weights(optimiser, starter, tmp_path):
    kill_and_compare(optimiser, starter, tmp_path, random.Random().randint(1, 3))


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_kills_at_five_random_updates(optimiser, attempt, starter, tmp_path):
    kill_and_compare(optimiser, starter, tmp_path, random.Random().randint(1, 3))


def kill_and_compare(optimiser: str, starter: Path, folder: Path, update: int) -> None:
    changes = {"minibatch_size": 4, "epochs": 2}
    whole, updates = train(optimiser, starter, folder / "whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        train(
            optimiser,
            starter,
            folder / "parts",
            stop_at=update,
            stop_with=KeyboardInterrupt,
            **changes,
        )
    torch.manual_seed(update)  # a new process knows nothing of the old one's generators
    parts, rest = train(optimiser, starter, folder / "parts", **changes)
    assert_same_weights(folder / "whole", folder / "parts")
    assert parts == whole
    assert rest == updates[-len(rest) :]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_an_update_of_several_steps_is_told_once_with_their_means(optimiser, starter, tmp_path):
    parted = {"updates": 2, "minibatch_size": 4, "epochs": 2, "learning_rate": 1e-9}
    _, parts = train(optimiser, starter, tmp_path / "parts", **parted)
    _, whole = train(optimiser, starter, tmp_path / "whole", updates=2, learning_rate=1e-9)
    assert [update["done"] for update in parts] == [1, 2]
    for one, other in zip(parts, whole, strict=True):
        assert one.keys() == other.keys()
        for name in ("reward", "kl", "length"):
            assert one[name] == pytest.approx(other[name], abs=1e-4)
        assert one["entropy"] == pytest.approx(other["entropy"], rel=0.05)  # a mean of means


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_reward_that_is_told_is_the_score_before_penalties(optimiser, starter, tmp_path):
    summary, _ = train(
        optimiser,
        starter,
        tmp_path / "run",
        score=lambda chats, replies: [1.0] * len(replies),
        updates=1,
        missing_eos_penalty=5.0,
    )
    assert summary["eos_rate"] < 1
    assert summary["reward_first"] == summary["reward_last"] == 1.0


@torch.no_grad()
def read(folder: Path, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Log-probabilities of every reply's tokens under the model in `folder`, one at a time."""
    model = AutoModelForCausalLM.from_pretrained(str(folder)).eval()
    found = []
    for row in range(len(batch["completion_ids"])):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        reply = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        logits = model(torch.cat([prompt, reply])[None]).logits[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1).gather(1, reply[:, None])[:, 0])
    return found


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_kl_per_reply_and_the_references_surprise_against_reading_each_reply(
    optimiser, starter, tmp_path, monkeypatch
):
    train(optimiser, starter, tmp_path / "one", learning_rate=2e-2)
    promoted = tmp_path / "one" / "model"
    seen: list[dict[str, torch.Tensor]] = []
    kind, settings = rloo_grpo.KINDS[optimiser]

    class Watched(kind):  # type: ignore[misc,valid-type]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            seen.append(super()._generate_and_score_completions(inputs))
            return seen[-1]

    monkeypatch.setitem(rloo_grpo.KINDS, optimiser, (Watched, settings))
    parted = {"updates": 1, "minibatch_size": 4, "epochs": 2}
    summary, updates = train(optimiser, starter, tmp_path / "two", policy=promoted, **parted)
    own, theirs = read(promoted, seen[0]), read(starter, seen[0])
    ratios = torch.cat(own) - torch.cat(theirs)
    assert summary["kl"] == pytest.approx(float(ratios.sum()) / len(own), rel=1e-3)
    surprise = math.exp(-float(torch.cat(theirs).mean()))
    assert updates[0]["reference_perplexity"] == pytest.approx(surprise, rel=1e-3)


def test_a_score_that_is_not_finite_ends_the_run(starter, tmp_path):
    with pytest.raises(Diverged, match="score of a reply is nan"):
        train(
            "rloo",
            starter,
            tmp_path / "run",
            score=lambda chats, replies: [math.nan] * len(replies),
        )
    assert not (tmp_path / "run" / "model").exists()


@pytest.fixture
def prompted(monkeypatch) -> list[tuple[Any, list[int]]]:
    """Chats, and the tokens that a policy was sampled with for each."""
    seen: list[tuple[Any, list[int]]] = []

    def watched(kind: Any) -> Any:
        class Watched(kind):
            def _tokenize_prompts(self, prompts: list[Any]) -> Any:
                found = super()._tokenize_prompts(prompts)
                seen.extend(zip(prompts, found[0], strict=True))
                return found

        return Watched

    for name, (kind, settings) in rloo_grpo.KINDS.items():
        monkeypatch.setitem(rloo_grpo.KINDS, name, (watched(kind), settings))
    return seen


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_prompt_that_is_too_long_loses_tokens_from_its_left_and_is_counted(
    optimiser, starter, tmp_path, prompted
):
    words = tiny.tokenizer()
    whole = [chat_template.prompt_ids(words, chat) for chat in tiny.chats(10)]
    room = sorted(map(len, whole))[4]
    longer = sum(len(ids) > room for ids in whole)
    assert 0 < longer < 10
    summary, _ = train(optimiser, starter, tmp_path / "run", max_prompt_length=room)
    assert summary["prompts_truncated"] == longer
    assert any(len(chat_template.prompt_ids(words, messages)) > room for messages, _ in prompted)
    for messages, ids in prompted:
        assert ids == chat_template.prompt_ids(words, messages)[-room:]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_prompt_longer_than_the_models_context_makes_room_for_the_reply(
    optimiser, starter, tmp_path, prompted
):
    model = AutoModelForCausalLM.from_pretrained(str(starter))
    model.config.max_position_embeddings = 20
    model.save_pretrained(str(starter))
    summary, _ = train(optimiser, starter, tmp_path / "run", updates=1)
    assert summary["prompts_truncated"] > 0
    assert max(len(ids) for _, ids in prompted) == 20 - TOY["max_new_tokens"]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_policy_is_trained_on_the_prompts_that_it_is_sampled_with(
    optimiser, starter, tmp_path, prompted
):
    words = tiny.tokenizer(template=QWEN3_LIKE)
    words.save_pretrained(str(starter))
    train(optimiser, starter, tmp_path / "run", updates=1)
    assert prompted
    for messages, ids in prompted:
        assert ids == chat_template.prompt_ids(words, messages)
