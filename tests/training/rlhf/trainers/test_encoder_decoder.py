"""Encoder-decoder policies (T5): sampled, read, fine-tuned and improved like causal ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.rlhf import tiny, world
from tests.training.rlhf.ppo.test_training_loop import (
    assert_same_weights,
    learner,
    rolled_out,
    train,
)
from tests.training.rlhf.trainers import test_dpo_kto_orpo
from training.rlhf.config import LoraConfig, ModelConfig, SFTConfig
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.language.response_states import Sequences
from training.rlhf.ppo.actor_critic import ActorCritic
from training.rlhf.run.failures import ModelError
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work
from training.rlhf.trainers import sft

LORA = LoraConfig(r=4, target_modules=("q", "v"))
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return tiny.t5(tmp_path / "starter")


def sampled(folder: Path, **changes: Any) -> tuple[Any, list[list[int]], list[generation.Response]]:
    model, tokenizer = pretrained.load_causal(folder), pretrained.load_tokenizer(folder)
    prompts = [chat_template.prompt_ids(tokenizer, messages) for messages in tiny.chats(6)]
    settings = {"max_new_tokens": 9, "temperature": 0.8, "stop_ids": [2], "batch_size": 4}
    return model, prompts, generation.generate(model, tokenizer, prompts, **(settings | changes))


@pytest.mark.parametrize("tied", [True, False], ids=["t5", "flan-t5"])
def test_sampled_log_probabilities_equal_teacher_forcing(tied, tmp_path):
    model, prompts, replies = sampled(tiny.t5(tmp_path / "starter", tied=tied))
    assert len({len(reply.ids) for reply in replies} | {len(p) for p in prompts}) > 1
    for prompt, reply in zip(prompts, replies, strict=True):
        fed = torch.tensor([[0, *reply.ids[:-1]]])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=fed).logits[0]
        expected = (logits / 0.8).log_softmax(-1)[range(len(reply.ids)), reply.ids]
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False], ids=["t5", "flan-t5"])
def test_the_training_forward_gives_the_samplers_log_probabilities(tied, tmp_path):
    model, prompts, replies = sampled(tiny.t5(tmp_path / "starter", tied=tied))
    batch = Sequences.build(prompts, [reply.ids for reply in replies], CPU)
    with torch.no_grad():
        found = ActorCritic(model, None).read(batch, temperature=0.8).logprobs
    for row, reply in zip(found, replies, strict=True):
        torch.testing.assert_close(
            row[: len(reply.ids)], torch.tensor(reply.logprobs), atol=1e-5, rtol=1e-5
        )


def test_a_reply_does_not_depend_on_its_batch(starter):
    _, _, together = sampled(starter, batch_size=6)
    _, _, alone = sampled(starter, batch_size=1)
    assert [reply.ids for reply in together] == [reply.ids for reply in alone]


@pytest.mark.parametrize(
    "lora", [pytest.param(None, id="full", marks=pytest.mark.long), pytest.param(LORA, id="lora")]
)
def test_ppo_raises_the_score_of_an_encoder_decoder(lora, starter, tmp_path):
    summary, seen = train(
        starter,
        tmp_path / "run",
        updates=14,
        batch_size=32,
        minibatch_size=16,
        epochs=3,
        learning_rate=1e-2 if lora is None else 3e-2,
        kl_coef=0.01,
        missing_eos_penalty=0.0,
        checkpoint_every=99,
        lora=lora,
    )
    assert seen[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert summary["reward_last"] > summary["reward_first"] + 1
    pretrained.load_causal(tmp_path / "run" / "model")


def test_with_adapters_policy_critic_and_reference_share_one_trunk(starter):
    subject = learner(starter, lora=LORA)
    frozen = {
        name: p.clone() for name, p in subject.actor.model.named_parameters() if not p.requires_grad
    }
    subject.step(0)
    after = dict(subject.actor.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    batch, _, ref_logprobs, _ = rolled_out(subject, 1)
    base = ActorCritic(pretrained.load_causal(starter), None)
    with torch.no_grad():
        expected = base.read(batch, temperature=1.0).logprobs
    torch.testing.assert_close(ref_logprobs, expected, atol=1e-5, rtol=1e-5)


def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(starter, tmp_path):
    _, whole = train(starter, tmp_path / "whole", updates=4)
    with pytest.raises(Stopped):
        train(starter, tmp_path / "parts", updates=4, stop_at=2)
    _, rest = train(starter, tmp_path / "parts", updates=4)
    assert rest == whole[2:]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "lora", [pytest.param(None, id="full"), pytest.param(LORA, id="lora", marks=pytest.mark.long)]
)
def test_supervised_fine_tuning_teaches_the_replies(lora, starter, tmp_path):
    rows = [
        {"messages": [*messages, {"role": "assistant", "content": f"good {i % 2}"}]}
        for i, messages in enumerate(tiny.chats(32))
    ]
    data = tmp_path / "chats.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    metrics = sft.train(
        SFTConfig(
            model=ModelConfig(path=str(starter), lora=lora),
            data=str(data),
            epochs=12.0 if lora is None else 25.0,
            batch_size=8,
            learning_rate=1e-2,
            seed=0,
        ),
        tmp_path / "model",
        Work.in_folder(tmp_path, device="cpu", silent=True),
    )
    assert metrics["loss"] < 0.6 * metrics["loss_first"]
    if lora is None:
        _, _, replies = sampled(tmp_path / "model", temperature=0.0)
        tokenizer = pretrained.load_tokenizer(tmp_path / "model")
        texts = [chat_template.response_text(tokenizer, reply.ids) for reply in replies]
        assert all(text.startswith("good") for text in texts)
        assert all(reply.finished for reply in replies)


def test_log_probabilities_of_replies_do_not_depend_on_padding(starter):
    model, prompts, replies = sampled(starter)
    actor = ActorCritic(model, None)
    whole = Sequences.build(prompts, [reply.ids for reply in replies], CPU)
    with torch.no_grad():
        together = ActorCritic.read(actor, whole, temperature=1.0).logprobs
        for row in range(len(prompts)):
            alone = actor.read(whole.select(torch.tensor([row])), temperature=1.0).logprobs[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


def test_orpo_takes_an_encoder_decoder_and_trl_says_that_it_does_not(starter, tmp_path):
    votes = world.preferences(16)
    test_dpo_kto_orpo.train("orpo", starter, tmp_path / "orpo", votes=votes, learning_rate=1e-2)
    found = test_dpo_kto_orpo.preferred(tmp_path / "orpo" / "model", votes)
    assert found > test_dpo_kto_orpo.preferred(starter, votes) + 0.2
    with pytest.raises(ModelError, match="choose ppo or orpo"):
        test_dpo_kto_orpo.train("dpo", starter, tmp_path / "dpo", votes=votes)
