"""Tiny trunks for reward models of other architectures than `tiny`'s policies, built on the spot.

`gpt_neo` looks back over a window in every second layer; `t5` and `gpt2_base` have no chat
template, the latter no pad token either; the encoders have a vocabulary of their own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.training.rlhf import tiny

CORPUS = [*tiny.CORPUS, "awful rude sad bad good great kind happy parcel invoice manual fox dog"]


def _write(folder: Path, model: PreTrainedModel, words: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(str(folder))
    words.save_pretrained(str(folder))
    return folder


@lru_cache(maxsize=1)
def _pieces() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return str(tokenizer.to_str())


def encoder_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_pieces()),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **options,
    )


def distilbert(folder: Path) -> Path:
    torch.manual_seed(0)
    words = encoder_tokenizer()
    config = DistilBertConfig(
        vocab_size=len(words), dim=32, n_layers=1, n_heads=2, hidden_dim=64, initializer_range=0.1
    )
    return _write(folder, DistilBertModel(config), words)


def bert(folder: Path) -> Path:
    torch.manual_seed(0)
    words = encoder_tokenizer(model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.1,
    )
    return _write(folder, BertModel(config), words)


def t5(folder: Path) -> Path:
    torch.manual_seed(0)
    words = tiny.tokenizer(template=None)
    config = T5Config(
        vocab_size=len(words),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
        feed_forward_proj="gated-gelu",
    )
    return _write(folder, T5ForConditionalGeneration(config), words)


def gpt_neo(folder: Path, *, window: int = 6) -> Path:
    torch.manual_seed(0)
    words = tiny.tokenizer(pad=None, template=None)
    config = GPTNeoConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=window,
        max_position_embeddings=256,
        bos_token_id=2,
        eos_token_id=2,
        initializer_range=0.1,
    )
    return _write(folder, GPTNeoForCausalLM(config), words)


def gpt2_base(folder: Path, *, width: int = 32) -> Path:
    return _write(folder, tiny.gpt2_model(width=width), tiny.tokenizer(pad=None, template=None))
