from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.config import LoraConfig, PPOConfig
from training.rlhf.data import data_files
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.ppo import training_loop
from training.rlhf.run.work import Work

MODEL = os.environ["PAIRLOOP_REAL_MODEL"]
QUESTIONS = ("Hi!", "What do I need to bake bread at home?")
CHATS = [[{"role": "user", "content": question}] for question in QUESTIONS]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return pretrained.load_tokenizer(MODEL)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return pretrained.load_causal(MODEL, dtype="float32").eval()


def test_prompts_have_the_tokens_of_the_models_own_template(tokenizer: Tokenizer) -> None:
    plain = AutoTokenizer.from_pretrained(MODEL)
    for messages in CHATS:
        text = plain.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        expected = plain(text, add_special_tokens=False)["input_ids"]
        assert chat_template.prompt_ids(tokenizer, messages) == expected


def test_replies_of_a_batch_are_those_that_transformers_generates_one_by_one(
    model: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    prompts = [chat_template.prompt_ids(tokenizer, messages) for messages in CHATS]
    stops = pretrained.stop_token_ids(model, tokenizer)
    settings = {"max_new_tokens": 8, "temperature": 0.0, "stop_ids": stops}
    for prompt, reply in zip(
        prompts, generation.generate(model, tokenizer, prompts, **settings), strict=True
    ):
        whole = plain.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0]
        assert reply.ids == whole[len(prompt) :].tolist()
        with torch.no_grad():
            logits = plain(whole[None]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logits.gather(-1, torch.tensor(reply.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=1e-4, rtol=1e-4)


def shorter_is_better(
    chats: Sequence[Sequence[Mapping[str, str]]], replies: Sequence[str]
) -> list[float]:
    return [-len(text.split()) / 10 for text in replies]


def test_an_update_of_ppo_begins_at_no_divergence_and_leaves_adapters_that_load(
    tmp_path: Path,
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": question}) + "\n" for question in QUESTIONS))
    config = PPOConfig(
        updates=1, batch_size=2, minibatch_size=2, epochs=1, max_new_tokens=4, lora=LoraConfig(r=4)
    )
    metrics = training_loop.train(
        MODEL,
        MODEL,
        data_files.prompts(file, held_out_share=0.0),
        shorter_is_better,
        config,
        tmp_path / "model",
        Work.in_folder(tmp_path),
    )
    assert abs(metrics["kl"]) < 1e-3
    assert pretrained.load_causal(tmp_path / "model").num_parameters() > 100_000_000
