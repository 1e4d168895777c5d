"""Supervised fine-tuning of the starter policy, with TRL's SFTTrainer.

A real model is loaded and tuned, whole or by LoRA. A tiny one is made on the spot: a byte-level
BPE tokenizer trained on the corpus, and a small Llama with random weights. Chats become tokens by
`chat`, as everywhere else, so the policy is trained on exactly what it is prompted with later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from datasets import Dataset
from peft import PeftModel
from tokenizers import Tokenizer as BPETokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig as TRLConfig
from trl import SFTTrainer

from training.rlhf import chat, trainer_edge
from training.rlhf.config import SFTConfig, TinyModelConfig
from training.rlhf.models import (
    load_causal,
    load_tokenizer,
    new_adapter,
    resolve_device,
    save_model,
    seed_everything,
    without_dropout,
)
from training.rlhf.trainer_edge import Report

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")
TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{ '<|assistant|>' }}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)
"""ChatML with one token per role: short chats stay short, and nothing depends on newlines."""

IGNORED = -100
"""Label of a token that the loss leaves out."""

METRICS = {"loss": "loss", "mean_token_accuracy": "token_accuracy", "entropy": "entropy"}
"""TRL's names to ours."""

Message = dict[str, str]


class SFTError(ValueError):
    """The data cannot be trained on; the message names the file and line."""


def train(
    config: SFTConfig,
    out: str | Path,
    *,
    report: Report,
    guard: Callable[[], None],
    checkpoints: str | Path,
    device: str = "cpu",
) -> dict[str, float]:
    """Train a starter policy and write it to `out` as a Hugging Face (or PEFT) folder.

    Args:
        report: called with (step, total steps, numbers) as training goes on.
        guard: called at the edge of every step; what it raises ends the training. `Stopped` is
            honoured after a checkpoint.
        checkpoints: folder for resume state; training goes on from what lies there.

    Returns:
        loss (mean of the last tenth of the logged ones), loss_first, steps, chats, truncated.

    Raises:
        SFTError: the data file is missing, broken or empty.
        ConfigError: checkpoints of another run.
        Diverged: the loss is no longer finite.
        Stopped: a stop was asked for; calling again resumes.
    """
    chats = read_chats(config.data)
    seed_everything(config.seed)
    model, tokenizer = starting_model(config, chats, device=device)
    rows, truncated = tokenize(tokenizer, chats, max_length=config.max_length)
    trainer_edge.require_same_run(Path(checkpoints), config, data=rows)
    arguments = _arguments(config, Path(checkpoints), device=device)
    trainer = _trainer(model, tokenizer, rows, arguments)
    trainer_edge.run(
        trainer, checkpoints=Path(checkpoints), report=report, guard=guard, names=METRICS
    )
    trained = trainer.accelerator.unwrap_model(trainer.model)
    trainer_edge.check_weights(trained)
    save_model(trained, tokenizer, out)
    return trainer_edge.summary(trainer.state, METRICS) | {
        "chats": len(rows),
        "truncated": truncated,
    }


def read_chats(path: str) -> list[list[Message]]:
    """Read a JSONL of {"messages": [...]} whose last message is the assistant's.

    Raises:
        SFTError: names the line.
    """
    if not path:
        raise SFTError("sft.data is empty: name a JSONL file of chats")
    chats = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    chats.append(_read_chat(line, where=f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise SFTError(f"cannot read {path}: {error}") from error
    if not chats:
        raise SFTError(f"{path} holds no chats")
    return chats


def _read_chat(line: str, *, where: str) -> list[Message]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise SFTError(f"{where}: not JSON: {error}") from error
    messages = data.get("messages") if isinstance(data, dict) else None
    if not isinstance(messages, list) or not messages:
        raise SFTError(f'{where}: expected {{"messages": [...]}}')
    for message in messages:
        known = isinstance(message, dict) and message.get("role") in ROLES
        if not known or not isinstance(message.get("content"), str):
            raise SFTError(f"{where}: a message needs a role ({', '.join(ROLES)}) and a content")
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise SFTError(f"{where}: the last message must be a reply of the assistant")
    return messages


def starting_model(
    config: SFTConfig, chats: Sequence[Sequence[Message]], *, device: str = "cpu"
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Load the configured model and its tokenizer, or make a tiny pair from the chats.

    Draws from torch's global generator: seed it first.
    """
    source = config.model
    if not source.path:
        shape = source.tiny or TinyModelConfig()
        tokenizer = build_tokenizer(_texts(chats), vocab_size=shape.vocab_size)
        return build_model(shape, tokenizer).to(resolve_device(device)), tokenizer
    loaded = load_tokenizer(source.path, revision=source.revision)
    model = load_causal(
        source.path, dtype=source.dtype, device=resolve_device(device), revision=source.revision
    )
    without_dropout(model)
    if source.lora is None:
        return model, loaded
    return new_adapter(model, source.lora, base=source.path), loaded


def build_tokenizer(texts: Iterator[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer (no text is unknown to it) with the chat template."""
    bpe = BPETokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=special[2:],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(shape: TinyModelConfig, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Make a small Llama with random weights (Touvron et al. 2023, arXiv 2302.13971)."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            initializer_range=shape.initializer_range,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def tokenize(
    tokenizer: PreTrainedTokenizerBase, chats: Sequence[Sequence[Message]], *, max_length: int
) -> tuple[list[dict[str, list[int]]], int]:
    """Turn chats into rows of `input_ids` and `labels`; the loss is on the last reply and its end.

    Returns:
        The rows, and how many chats lost tokens to `max_length` (from the left of the prompt).
    """
    rows, truncated = [], 0
    for messages in chats:
        reply = messages[-1]["content"]
        ids, cut = chat.full_ids(tokenizer, messages[:-1], reply, max_length=max_length)
        written = min(len(chat.completion_ids(tokenizer, reply)) + 1, len(ids))
        labels = [IGNORED] * (len(ids) - written) + ids[-written:]
        rows.append({"input_ids": ids, "labels": labels})
        truncated += cut > 0
    return rows, truncated


def _texts(chats: Sequence[Sequence[Message]]) -> Iterator[str]:
    for messages in chats:
        for message in messages:
            yield message["content"]


def _trainer(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, list[int]]],
    arguments: dict[str, Any],
) -> Trainer:
    if model.config.is_encoder_decoder:
        # TRL's trainer would feed the whole row to the encoder and nothing to the decoder.
        return Trainer(
            model=model,
            args=TrainingArguments(**arguments),
            train_dataset=Dataset.from_list(_parted(rows)),
            data_collator=_collate,
            processing_class=tokenizer,
        )
    return SFTTrainer(
        model=model,
        # The rows come tokenized, cut and labelled; TRL's own preparation would do it its way.
        args=TRLConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True}, max_length=None),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def _parted(rows: list[dict[str, list[int]]]) -> list[dict[str, list[int]]]:
    """Rows for an encoder-decoder: the prompt to read, the reply to write."""
    parted = []
    for row in rows:
        start = row["labels"].count(IGNORED)
        parted.append({"input_ids": row["input_ids"][:start], "labels": row["labels"][start:]})
    return parted


def _collate(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Pad on the right, whatever side the tokenizer pads on for sampling."""

    def padded(lists: list[list[int]], value: int) -> Tensor:
        return pad_sequence(list(map(torch.tensor, lists)), True, value)

    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": padded(ids, 0),
        "attention_mask": padded([[1] * len(row) for row in ids], 0),
        "labels": padded([row["labels"] for row in rows], IGNORED),
    }


def _arguments(config: SFTConfig, checkpoints: Path, *, device: str) -> dict[str, Any]:
    where = resolve_device(device).type
    return {
        "output_dir": str(checkpoints),
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps,
        "per_device_train_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": config.warmup_ratio,
        "weight_decay": config.weight_decay,
        "adam_beta2": config.adam_beta2,
        "train_sampling_strategy": "group_by_length",
        "save_strategy": "steps",
        "save_steps": config.checkpoint_every,
        "save_total_limit": 2,
        "logging_steps": max(1, min(10, config.checkpoint_every)),
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": where == "cpu",
        "bf16": where != "cpu" and config.model.dtype == "bfloat16",
        "fp16": where != "cpu" and config.model.dtype == "float16",
        "activation_checkpointing": False,
        "dataloader_pin_memory": where != "cpu",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
