"""Supervised fine-tuning of the starter policy, with TRL's SFTTrainer.

A real model is loaded and tuned, whole or by LoRA. A tiny one is made on the spot: a byte-level
BPE tokenizer trained on the corpus, and a small Llama with random weights. Chats become tokens by
chat_template.py, as everywhere else, so the policy is trained on exactly what it is prompted with
later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
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
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTConfig as TRLConfig
from trl import SFTTrainer

from training.rlhf.config import SFTConfig, SFTJob, TinyModelConfig
from training.rlhf.config.config_file import require
from training.rlhf.data import data_files
from training.rlhf.language import chat_template
from training.rlhf.language.lora_adapters import new_adapter
from training.rlhf.language.pretrained import (
    context,
    load_causal,
    load_tokenizer,
    without_dropout,
)
from training.rlhf.language.reward_tokens import with_template
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import seed_everything
from training.rlhf.run.work import Work
from training.rlhf.trainers import callbacks

PAD, END = "<|pad|>", "<|end|>"
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


def train(
    config: SFTConfig,
    out: str | Path,
    work: Work,
) -> dict[str, float]:
    """Train a starter policy and write it to `out` as a Hugging Face (or PEFT) folder.

    Args:
        work: told as training goes on, asked at the edge of every step; training goes on from its
            checkpoints. The seed is the config's.

    Returns:
        loss (mean of the last tenth of the logged ones), loss_first, steps, chats, truncated,
        loss_held_out where chats are held out, and what it took (see `_cost`).

    Raises:
        RowError: the data file is missing, broken or empty.
        ConfigError: no chat to train on, none held out to stop early by, or checkpoints of
            another run.
        Diverged: the loss is no longer finite.
        Stopped: a stop was asked for; calling again resumes.
    """
    chats, held_out, counted = read_chats(config)
    seed_everything(config.seed)
    model, tokenizer = starting_model(config, chats, device=work.device)
    length = min(config.max_length, context(model))
    rows, truncated = tokenize(tokenizer, chats, max_length=length)
    measured, _ = tokenize(tokenizer, held_out, max_length=length)
    callbacks.require_same_run(work.checkpoints, config, data=rows)
    arguments = _arguments(config, work)
    trainer = _trainer(model, tokenizer, rows, arguments, measured=measured)
    if config.patience:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    started = time.monotonic()
    callbacks.train_to_end(trainer, work, names=METRICS)
    seconds = time.monotonic() - started
    callbacks.save_policy(trainer, tokenizer, out)
    return callbacks.summary(trainer.state, METRICS) | {
        "chats": len(rows),
        "truncated": truncated,
        **({"loss_held_out": trainer.evaluate()["eval_loss"]} if measured else {}),
        **_cost(trainer, seconds),
        **counted,
    }


def command(config: SFTJob, out: Path, work: Work) -> dict[str, float]:
    """Train a starter policy into `out`/model, as the command `sft`."""
    return train(config.sft, out / "model", work)


def read_chats(
    config: SFTConfig,
) -> tuple[list[list[Message]], list[list[Message]], dict[str, float]]:
    """The chats to train on, the held-out ones, and how many rows were left out, if any.

    Raises:
        RowError, ConfigError: see `train`.
    """
    require(bool(config.data), "sft.data is empty: name a file of chats")
    rows = data_files.chats(config.data, held_out_share=config.held_out_share)
    chats = [each.messages for each in rows if not each.held_out]
    require(bool(chats), f"{config.data}: every chat is held out, and none is left to train on")
    held_out = [each.messages for each in rows if each.held_out]
    require(
        not config.patience or bool(held_out),
        "sft.patience needs held-out chats to measure: set sft.held_out_share",
    )
    return chats, held_out, rows.counted


def _cost(trainer: Trainer, seconds: float) -> dict[str, float]:
    """parameters, parameters_trained, weights_mb and optimiser_mb (MiB that the tensors of each
    take), peak_mb (all memory, on a GPU) and seconds (of this process; a resumed run had more)."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    state = [
        value.numel() * value.element_size()
        for values in trainer.optimizer.state.values()
        for value in values.values()
        if isinstance(value, Tensor)
    ]
    cost = {
        "parameters": float(model.num_parameters()),
        "parameters_trained": float(model.num_parameters(only_trainable=True)),
        "weights_mb": model.get_memory_footprint() / 2**20,
        "optimiser_mb": sum(state) / 2**20,
        "seconds": seconds,
    }
    if torch.cuda.is_available() and trainer.args.device.type == "cuda":
        cost["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return cost


def starting_model(
    config: SFTConfig, chats: Sequence[Sequence[Message]], *, device: torch.device
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Load the configured model and its tokenizer, or make a tiny pair from the chats.

    Draws from torch's global generator: seed it first.
    """
    source = config.model
    if not source.path:
        shape = source.tiny or TinyModelConfig()
        tokenizer = build_tokenizer(_texts(chats), vocab_size=shape.vocab_size)
        return build_model(shape, tokenizer).to(device), tokenizer
    # What it is trained on is what a base model, which knows no roles, will be prompted with.
    loaded = with_template(load_tokenizer(source.path, revision=source.revision))
    model = load_causal(
        source.path,
        dtype=source.dtype,
        device=device,
        revision=source.revision,
        quantise=source.quantise,
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
    special = [PAD, END, *(f"<|{role}|>" for role in data_files.ROLES)]
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
        ids, cut = chat_template.full_ids(tokenizer, messages[:-1], reply, max_length=max_length)
        written = min(len(chat_template.completion_ids(tokenizer, reply)) + 1, len(ids))
        labels = [IGNORED] * (len(ids) - written) + ids[-written:]
        rows.append({"input_ids": ids, "labels": labels})
        truncated += cut > 0
    return rows, truncated


def _texts(chats: Sequence[Sequence[Message]]) -> Iterator[str]:
    for messages in chats:
        for message in messages:
            yield message["content"]


class _ByLength:
    """Rows of similar length in one batch of all processes together, as it would be in one."""

    def _get_train_sampler(self: Any, *_: Any) -> LengthGroupedSampler:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * ranks.size()
        return LengthGroupedSampler(size, dataset=self.train_dataset, model_input_name="input_ids")


class _CausalTrainer(_ByLength, SFTTrainer):  # type: ignore[misc]  # trl is untyped here
    pass


class _Seq2SeqTrainer(_ByLength, Trainer):  # type: ignore[misc]  # transformers is untyped here
    pass


def _trainer(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, list[int]]],
    arguments: dict[str, Any],
    *,
    measured: list[dict[str, list[int]]],
) -> Trainer:
    if model.config.is_encoder_decoder:
        # TRL's trainer would feed the whole row to the encoder and nothing to the decoder.
        return _Seq2SeqTrainer(
            model=model,
            args=TrainingArguments(**arguments),
            train_dataset=Dataset.from_list(_parted(rows)),
            eval_dataset=Dataset.from_list(_parted(measured)) if measured else None,
            data_collator=_collate,
            processing_class=tokenizer,
        )
    return _CausalTrainer(
        model=model,
        # The rows come tokenized, cut and labelled; TRL's own preparation would do it its way.
        args=TRLConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True}, max_length=None),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(measured) if measured else None,
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


def _arguments(config: SFTConfig, work: Work) -> dict[str, Any]:
    where = work.device.type
    part = distributed.per_process(
        config.batch_size // config.gradient_accumulation, "sft.batch_size / gradient_accumulation"
    )
    return {
        "output_dir": str(work.checkpoints),
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps,
        "per_device_train_batch_size": part,
        "per_device_eval_batch_size": part,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup_ratio,
        "weight_decay": config.weight_decay,
        "adam_beta2": config.adam_beta2,
        "save_strategy": "steps",
        "save_steps": config.checkpoint_every,
        "save_total_limit": 2,
        "logging_steps": max(1, min(10, config.checkpoint_every)),
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": where == "cpu",
        "bf16": "bfloat16" in (config.mixed_precision, where != "cpu" and config.model.dtype),
        "fp16": where != "cpu" and "float16" in (config.mixed_precision, config.model.dtype),
        "activation_checkpointing": config.gradient_checkpointing,
        "dataloader_pin_memory": where != "cpu",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        **_stopping(config),
    }


def _stopping(config: SFTConfig) -> dict[str, Any]:
    """The arguments of an early end: the held-out loss is taken at every checkpoint, and the
    weights of the lowest one are kept."""
    if not config.patience:
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": config.checkpoint_every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
