from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.rlhf import tiny
from training.rlhf.config import LoraConfig, PPOConfig
from training.rlhf.language import lora_adapters, pretrained
from training.rlhf.language.response_states import Sequences
from training.rlhf.ppo import load_and_save
from training.rlhf.ppo.actor_critic import ActorCritic
from training.rlhf.run.failures import ModelError

FOLDERS = {"llama": tiny.llama, "gpt2": tiny.gpt2, "smollm2": tiny.smollm2}
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [2, 5, 2], [30, 31, 32, 33, 34]]
RESPONSES = [[40, 41, 2], [42, 43, 44, 45, 46, 47], [2]]
LORA = LoraConfig(r=2)


def load(policy: Path, reference: Path, lora: LoraConfig | None = None, **changes) -> ActorCritic:
    config = PPOConfig(lora=lora, **changes)
    return load_and_save.load(policy, reference, config, device=torch.device("cpu"), seed=0)


def batch(rows: slice = slice(None)) -> Sequences:
    return Sequences.build(PROMPTS[rows], RESPONSES[rows], torch.device("cpu"))


def stir(actor: ActorCritic, *, std: float = 0.2) -> None:
    """Move the trained weights, as training would."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in actor.parameters().values():
            parameter.add_(torch.randn_like(parameter) * std)


def save(actor: ActorCritic, folder: Path, words: Path) -> Path:
    pretrained.save_model(actor.model, pretrained.load_tokenizer(words), folder)
    load_and_save.save_value_head(actor, folder)
    return folder


def gap(actor: ActorCritic) -> float:
    """Largest difference between policy and reference log-probabilities."""
    with torch.no_grad():
        policy = actor.read(batch(), temperature=0.8).logprobs
    return (policy - actor.reference_logprobs(batch(), temperature=0.8)).abs().max().item()


@pytest.mark.parametrize("kind", FOLDERS)
def test_response_only_logits_equal_full_ones(tmp_path, kind):
    actor = load(FOLDERS[kind](tmp_path / "m"), tmp_path / "m")
    with torch.no_grad():
        reading = actor.read(batch(), temperature=0.7)
        for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            logits = actor.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
            every = (logits / 0.7).log_softmax(-1)
            chosen = every.gather(-1, torch.tensor(response)[:, None])[:, 0]
            n = len(response)
            torch.testing.assert_close(reading.logprobs[row, :n], chosen, atol=1e-5, rtol=1e-5)
            entropy = -(every.exp() * every).sum(-1)
            torch.testing.assert_close(reading.entropy[row, :n], entropy, atol=1e-5, rtol=1e-5)
            assert not reading.logprobs[row, n:].any()


@pytest.mark.parametrize("kind", FOLDERS)
def test_padding_and_neighbours_change_nothing(tmp_path, kind):
    actor = load(FOLDERS[kind](tmp_path / "m"), tmp_path / "m")
    nn.init.normal_(actor.value_head.outer.weight)
    with torch.no_grad():
        together = actor.read(batch(), temperature=1.0)
        for row, response in enumerate(RESPONSES):
            alone = actor.read(batch(slice(row, row + 1)), temperature=1.0)
            for whole, single in (
                (together.logprobs, alone.logprobs),
                (together.values, alone.values),
            ):
                torch.testing.assert_close(
                    whole[row, : len(response)], single[0], atol=1e-5, rtol=1e-5
                )


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("kind", FOLDERS)
def test_kl_is_zero_before_the_first_update(tmp_path, kind, lora):
    folder = FOLDERS[kind](tmp_path / "m")
    actor = load(folder, folder, lora)
    assert gap(actor) == 0
    stir(actor)
    assert gap(actor) > 0.01


def test_with_the_adapter_off_the_trunk_is_the_starter(tmp_path):
    folder = tiny.llama(tmp_path / "m")
    actor, starter = load(folder, folder, LORA), load(folder, folder)
    stir(actor)
    with torch.no_grad():
        expected = starter.read(batch(), temperature=1.0).logprobs
    assert torch.equal(actor.reference_logprobs(batch(), temperature=1.0), expected)
    assert isinstance(actor.parameters(), dict)
    assert all("lora" in name for name in actor.parameters())


def test_reading_the_reference_leaves_the_policy_trainable(tmp_path):
    base = tiny.llama(tmp_path / "base")
    starter = save(load(base, base, LORA), tmp_path / "starter", base)
    actor = load(starter, starter, LORA)
    before = set(actor.parameters())
    gap(actor)
    assert set(actor.parameters()) == before
    assert all(".default." in name for name in before)
    again = save(actor, tmp_path / "again", base)
    assert not (again / "reference").exists()
    assert lora_adapters.adapter_base(again) == str(base)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_kl_is_zero_at_the_start_when_the_starter_is_itself_an_adapter(tmp_path, lora):
    base = tiny.llama(tmp_path / "base")
    tuned = load(base, base, LORA)
    stir(tuned)
    starter = save(tuned, tmp_path / "starter", base)
    assert gap(load(starter, starter, lora)) == 0


@pytest.mark.parametrize("starter_kind", ["full", "adapter"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_kl_of_a_promoted_policy_stays_relative_to_the_starter(tmp_path, lora, starter_kind):
    starter = base = tiny.llama(tmp_path / "base")
    if starter_kind == "adapter":
        tuned = load(base, base, LORA)
        stir(tuned)
        starter = save(tuned, tmp_path / "starter", base)
    first = load(starter, starter, lora)
    stir(first, std=0.1)
    promoted = save(first, tmp_path / "promoted", base)
    second = load(promoted, starter, lora)
    with torch.no_grad():
        expected = first.read(batch(), temperature=1.0).logprobs
        policy = second.read(batch(), temperature=1.0).logprobs
    torch.testing.assert_close(policy, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        second.reference_logprobs(batch(), temperature=1.0),
        first.reference_logprobs(batch(), temperature=1.0),
        atol=1e-4,
        rtol=1e-4,
    )
    assert gap(second) > 0.01


def test_lora_goes_on_from_a_policy_that_was_trained_in_full(tmp_path):
    starter = tiny.llama(tmp_path / "starter")
    full = load(starter, starter)
    stir(full, std=0.05)
    promoted = save(full, tmp_path / "promoted", starter)
    actor = load(promoted, starter, LORA)
    assert gap(actor) == pytest.approx(gap(full), abs=1e-4)
    assert all("lora" in name for name in actor.parameters())


def test_the_critic_starts_at_zero_and_goes_on_from_the_round_before(tmp_path):
    folder = tiny.llama(tmp_path / "m")
    first = load(folder, folder)
    with torch.no_grad():
        assert not first.read(batch(), temperature=1.0).values.any()
    nn.init.normal_(first.value_head.outer.weight)
    promoted = save(first, tmp_path / "promoted", folder)
    with torch.no_grad():
        expected = first.read(batch(), temperature=1.0).values
        values = load(promoted, folder).read(batch(), temperature=1.0).values
    torch.testing.assert_close(values, expected)


def test_models_of_two_vocabularies_are_refused(tmp_path):
    policy = tiny.llama(tmp_path / "a")
    other = tiny.llama_model(vocab=400)
    other.save_pretrained(str(tmp_path / "b"))
    with pytest.raises(ModelError, match="vocabular"):
        load(policy, tmp_path / "b")


def test_a_model_that_caps_its_logits_is_refused_by_name():
    class Capped(type(tiny.llama_model())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = 2 * torch.tanh(output.logits / 2)
            return output

    with pytest.raises(ModelError, match="Capped"):
        ActorCritic(Capped(tiny.llama_model().config), None)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_gradient_checkpointing_changes_memory_and_no_number(tmp_path, lora):
    folder = tiny.gpt2(tmp_path / "m")

    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        actor = load(folder, folder, lora, gradient_checkpointing=checkpointing)
        actor.model.train(checkpointing)
        actor.read(batch(), temperature=1.0).logprobs.sum().backward()
        return [p.grad for p in actor.parameters().values() if p.grad is not None]

    plain, saved = gradients(False), gradients(True)
    assert len(plain) == len(saved) > 0
    for expected, value in zip(plain, saved, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
