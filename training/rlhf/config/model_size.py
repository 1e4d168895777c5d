"""Size and shape of a model, read from the files of its folder without loading it. Torch-free."""

from __future__ import annotations

import json
import math
import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HALF_TYPES = {"BF16": "bfloat16", "F16": "float16"}
MOST_HEADER = 100 * 2**20
"""Bytes: the limit that safetensors itself sets."""
DEEPEST = 5
"""Adapters upon adapters that are followed down to their base."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model by its files. Widths that the configuration does not tell are guessed from others."""

    parameters: int
    dtype: str
    """Number format that most of its weights are published in."""
    layers: int
    hidden: int
    key_value: int
    """Numbers per token and layer in the keys: heads of keys times their size."""
    wide: int
    """Width of the MLP."""
    vocabulary: int
    tables: int
    """Matrices of vocabulary by width: one where the head is the embedding, else two."""
    context: int
    """Tokens that it reads at once."""
    heads: int = 1

    def kept_per_token(self, *, lora: bool, checkpointing: bool = False) -> float:
        """Bytes that a pass keeps for its backward pass, for one token through all layers.

        The inputs of norms, products and activations, in float32; adapters keep the output of each
        layer beside their own. With gradient checkpointing the input of every layer, and one layer.
        """
        kept = 8 * self.hidden + 4 * self.key_value + 4 * self.wide
        if lora:
            kept += 4 * self.hidden + 2 * self.key_value + 3 * self.wide
        layers = 1 if checkpointing else self.layers
        return 4.0 * (layers * kept + (self.layers * self.hidden if checkpointing else 0))


def read_facts(path: str | Path) -> ModelFacts | None:
    """The facts of a model folder, an adapter's base, or a hub id that is in this machine's cache.

    None where there is no such folder, or it does not say.
    """
    folder = _base(_folder(str(path)))
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        weights = Counter[str]()
        for count, kind in _tensors(folder):
            weights[kind] += count
        return _facts(config.get("text_config") or config, weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    except (OverflowError, RecursionError):
        return None


def _folder(path: str) -> Path | None:
    if Path(path).is_dir():
        return Path(path)
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    snapshots = hub / f"models--{path.replace('/', '--')}" / "snapshots"
    kept = [one for one in snapshots.glob("*") if (one / "config.json").is_file()]
    return max(kept, key=lambda one: one.stat().st_mtime, default=None)


def _base(folder: Path | None) -> Path | None:
    """The folder of whole weights below an adapter's."""
    for _ in range(DEEPEST):
        if folder is None or not (folder / "adapter_config.json").is_file():
            return folder
        try:
            settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            base = str(settings["base_model_name_or_path"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        folder = folder / base if (folder / base).is_dir() else _folder(base)
    return None


def _tensors(folder: Path) -> Iterator[tuple[int, str]]:
    """Numbers and type of each tensor, by the headers of its safetensors files."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > MOST_HEADER:
                raise ValueError("no safetensors header")
            header = json.loads(opened.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield math.prod(tensor["shape"]), tensor["dtype"]


def _facts(config: dict[str, Any], weights: Counter[str]) -> ModelFacts | None:
    def first(*names: str, otherwise: int = 0) -> int:
        return next((int(config[name]) for name in names if config.get(name)), otherwise)

    hidden = first("hidden_size", "n_embd", "d_model", "dim")
    layers = first("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    if not weights or not hidden or not layers:
        return None
    heads = first("num_attention_heads", "n_head", "num_heads", "n_heads", otherwise=1)
    size = first("head_dim", otherwise=hidden // heads)
    tied = config.get("tie_word_embeddings", True)
    [(kind, _)] = weights.most_common(1)
    return ModelFacts(
        parameters=sum(weights.values()),
        dtype=HALF_TYPES.get(kind, "float32"),
        layers=layers,
        hidden=hidden,
        heads=heads,
        key_value=size * first("num_key_value_heads", otherwise=heads),
        wide=first("intermediate_size", "n_inner", "d_ff", "hidden_dim", otherwise=4 * hidden),
        vocabulary=first("vocab_size"),
        tables=1 if tied else 2,
        context=first("max_position_embeddings", "n_positions", otherwise=1_000_000),
    )
