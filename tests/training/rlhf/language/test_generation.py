from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tests.training.rlhf import tiny
from training.rlhf.language import chat_template, generation, pretrained

MODELS = {"llama": tiny.llama_model, "gpt2": tiny.gpt2_model, "smollm2": tiny.smollm2_model}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return MODELS[request.param]()


def prompt_tokens(n: int = 6) -> list[list[int]]:
    return [chat_template.prompt_ids(tiny.tokenizer(), messages) for messages in tiny.chats(n)]


def sample(model: PreTrainedModel, prompts: list[list[int]], **changes: object):
    settings = {
        "max_new_tokens": 12,
        "temperature": 0.7,
        "stop_ids": [2],
        "batch_size": 4,
        "seed": 3,
    } | changes
    return generation.generate(model, tiny.tokenizer(), prompts, **settings)


@torch.no_grad()
def teacher_forced(model: PreTrainedModel, prompt: list[int], reply: list[int], temperature=0.7):
    logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(-1, torch.tensor(reply)[:, None])[:, 0]


def test_sampled_log_probabilities_equal_teacher_forced_ones(model):
    prompts = prompt_tokens()
    for prompt, response in zip(prompts, sample(model, prompts), strict=True):
        expected = teacher_forced(model, prompt, response.ids)
        torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-5, rtol=1e-5)


def test_a_reply_does_not_depend_on_the_prompts_that_share_its_batch(model):
    prompts = prompt_tokens(7)
    together = sample(model, prompts, batch_size=7)
    alone = sample(model, prompts, batch_size=1)
    assert [r.ids for r in together] == [r.ids for r in alone]


def test_left_padding_leaves_greedy_replies_unchanged(model):
    short, long = [5, 6, 7], list(range(10, 40))
    padded = sample(model, [short, long], temperature=0.0)[0]
    alone = sample(model, [short], temperature=0.0)[0]
    assert padded.ids == alone.ids
    torch.testing.assert_close(
        torch.tensor(padded.logprobs), torch.tensor(alone.logprobs), atol=1e-5, rtol=1e-5
    )


def test_greedy_replies_equal_those_of_transformers(model):
    prompts = prompt_tokens(5)
    for prompt, response in zip(prompts, sample(model, prompts, temperature=0.0), strict=True):
        expected = model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, len(prompt) :]
        assert response.ids == expected.tolist()


def test_the_same_seed_gives_the_same_replies_and_another_seed_others(model):
    prompts = prompt_tokens()
    first, again, other = (sample(model, prompts, seed=seed) for seed in (1, 1, 2))
    assert [r.ids for r in first] == [r.ids for r in again]
    assert [r.ids for r in first] != [r.ids for r in other]


def test_a_reply_stops_at_any_of_the_stop_tokens_and_keeps_it():
    model = tiny.llama_model()
    everything = sample(model, prompt_tokens(), stop_ids=[])
    stops = {everything[0].ids[3], everything[1].ids[2]}
    for whole, response in zip(
        everything, sample(model, prompt_tokens(), stop_ids=sorted(stops)), strict=True
    ):
        hits = [i for i, token in enumerate(whole.ids) if token in stops]
        assert response.ids == (whole.ids[: hits[0] + 1] if hits else whole.ids)
        assert response.finished == bool(hits)


def test_a_stop_token_inside_the_prompt_is_neither_padding_nor_an_end(tmp_path: Path):
    folder = tiny.smollm2(tmp_path / "model")
    tokenizer = pretrained.load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    model = pretrained.load_causal(folder)
    prompts = [[5, 2, 2, 6], list(range(10, 30))]
    responses = generation.generate(
        model, tokenizer, prompts, max_new_tokens=6, temperature=0.7, stop_ids=[2]
    )
    for prompt, response in zip(prompts, responses, strict=True):
        expected = teacher_forced(model, prompt, response.ids)
        torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-5, rtol=1e-5)


def test_draws_follow_the_tempered_distribution():
    logits = torch.tensor([[2.0, 0.0, -1.0, 1.0]])
    draws = (torch.arange(10_000) + 0.5) / 10_000
    tokens, logprobs = generation.choose(logits.expand(10_000, -1), draws, temperature=2.0)
    expected = (logits[0] / 2).softmax(-1)
    shares = torch.bincount(tokens, minlength=4) / 10_000
    torch.testing.assert_close(shares, expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(logprobs, expected.log()[tokens])


def test_a_token_without_probability_is_never_drawn():
    logits = torch.full((3, 5), float("-inf"))
    logits[:, 2] = 0.0
    draws = torch.tensor([0.0, 0.5, 1 - 2**-24])
    tokens, _ = generation.choose(logits, draws, temperature=1.0)
    assert tokens.tolist() == [2, 2, 2]


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p():
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.97, 0.01, 0.01, 0.01]])
    kept = generation.nucleus(probs, 0.7)
    torch.testing.assert_close(kept[0], torch.tensor([0.0, 2 / 3, 0.0, 1 / 3]))
    torch.testing.assert_close(kept[1], torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_a_prompt_longer_than_the_context_loses_tokens_from_its_left():
    model = tiny.gpt2_model()
    prompt = [5 + i % 200 for i in range(400)]
    long = sample(model, [prompt], temperature=0.0)[0]
    assert long.ids == sample(model, [prompt[-(256 - 12) :]], temperature=0.0)[0].ids
