"""Sequence classifiers from disk, of which reward models are made: weights, heads, adapters."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.language.pretrained import load_causal, loading, require_folder
from training.rlhf.reward import score_heads

LAST = "last"
"""Pooling of plain sequence classifiers."""


def longest_text(classifier: Any, tokenizer: Tokenizer) -> int:
    """The longest text that the model can read.

    The tokenizer has a say, because RoBERTa's 514 positions hold 512 tokens.
    """
    positions = getattr(classifier.config, "max_position_embeddings", None) or math.inf
    return int(min(positions, tokenizer.model_max_length, 1e9))


def earlier_head(base: str | Path) -> tuple[int, str | None]:
    """Of a base that is a classifier: its outputs, and where that is one what its head pools.
    (0, None) of any other."""
    require_folder(base)
    with loading(base, "a reward model"):
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        return 0, None
    scores = config.num_labels == 1
    return config.num_labels, getattr(config, "reward_pooling", LAST) if scores else None


def merged_classifier(base: str | Path, dtype: str) -> PreTrainedModel:
    """A classifier on the trunk of an adapter folder merged into its base."""
    writer = load_causal(base, dtype=dtype)
    config = copy.deepcopy(writer.config)
    config.num_labels = 1
    classifier = AutoModelForSequenceClassification.from_config(config, dtype=getattr(torch, dtype))
    states = writer.base_model.state_dict()
    trunk = classifier.base_model
    # Of an encoder-decoder that writes the base is the whole, its language model's head included.
    trunk.load_state_dict({name: states[name] for name in trunk.state_dict()})
    return classifier.eval()


def load_classifier(path: str | Path, *, dtype: str, **options: Any) -> PreTrainedModel:
    """A classifier with its head from a folder, by `options` of `from_pretrained`.

    Raises:
        ModelError: nothing to load there.
    """
    require_folder(path)
    with loading(path, "a reward model"):
        config = AutoConfig.from_pretrained(str(path), trust_remote_code=False)
        classifier = score_heads.kind_of(config).from_pretrained(
            str(path),
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
        return score_heads.restored(classifier, path)
