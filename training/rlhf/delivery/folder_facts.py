"""Size, shape, licence and context of a model, read from its files; the memory it will take.

Torch-free, and nothing of the weights is read but the headers that list them.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.rlhf.delivery import memory_table, model_folder_checks
from training.rlhf.delivery.memory_table import GIB, OVERHEAD, SINGLE, Load, Shape
from training.rlhf.delivery.model_folder_checks import Unusable

CARD = "README.md"
LARGEST_HEADER = 100_000_000
HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
"""The YAML at the beginning of a model card."""
LICENCES = {
    "Apache License": "apache-2.0",
    "MIT License": "mit",
    "GNU GENERAL PUBLIC LICENSE": "gpl",
}
"""How the texts of well-known licences begin, and their names on hubs."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model by its files."""

    architecture: str
    parameters: int
    bytes: int
    """Of the weights on the disk."""
    dtype: str
    """In which most weights are stored."""
    context: int
    """Tokens that it reads at once; 0: its settings name no limit."""
    vocabulary: int
    licence: str
    """As the card names it; empty: nowhere."""
    adapter: bool


def facts(folder: Path) -> Facts:
    """Read a folder's files. Raises Unusable: they are missing or damaged."""
    whole = model_folder_checks.folder_of_base(folder)
    config = settings(whole)
    tensors = [one for place in {folder, whole} for one in _tensors(place)]
    kinds = Counter[str]()
    for kind, shape, _ in tensors:
        kinds[kind] += math.prod(shape)
    named = config.get("architectures") or [config.get("model_type", "")]
    return Facts(
        architecture=str(named[0]),
        parameters=sum(kinds.values()),
        bytes=sum(size for _, _, size in tensors),
        dtype=kinds.most_common(1)[0][0] if kinds else "",
        context=context(config),
        vocabulary=int(config.get("vocab_size") or 0),
        licence=_licence(folder) or _licence(whole),
        adapter=folder != whole,
    )


def settings(folder: Path) -> dict[str, Any]:
    """config.json; of a model that also sees, the part on its language."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Unusable(f"{folder} holds no readable config.json.") from error
    nested = config.get("text_config")
    return config | nested if isinstance(nested, dict) else dict(config)


def context(config: Mapping[str, Any]) -> int:
    """Tokens that a model reads at once, by its settings; 0: they name no limit."""
    names = ("max_position_embeddings", "n_positions")
    return next((int(config[name]) for name in names if config.get(name)), 0)


def _tensors(folder: Path) -> Iterator[tuple[str, list[int], int]]:
    """(dtype, shape, bytes) of every tensor of the folder's weights."""
    for path in sorted(folder.glob("*model*.safetensors")):
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                if size > LARGEST_HEADER:
                    raise ValueError(f"a header of {size} bytes")
                header = json.loads(file.read(size))
            header.pop("__metadata__", None)
            for one in header.values():
                start, end = one["data_offsets"]
                yield one["dtype"], one["shape"], end - start
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise Unusable(f"{path.name} is damaged: copy or download it again.") from error


def _licence(folder: Path) -> str:
    """By the head of the card, else by the beginning of a file LICENSE."""
    card = folder / CARD
    head = HEAD.match(card.read_text("utf-8", "replace")[:100_000]) if card.is_file() else None
    if head is not None:
        try:
            told = yaml.safe_load(head[1])
        except yaml.YAMLError:
            told = None
        if isinstance(told, dict) and told.get("license"):
            name = told["license"]
            name = name if isinstance(name, str) else ", ".join(map(str, name))
            return str(told.get("license_name") or name)[:100] if name == "other" else name[:100]
    for path in sorted(folder.glob("LICEN[CS]E*")):
        text = path.read_text("utf-8", "replace")[:500]
        return next((name for start, name in LICENCES.items() if start in text), path.name)
    return ""


def shape(config: Mapping[str, Any], parameters: float) -> Shape:
    """A model's shape by its settings, in whatever words its family has for them."""

    def first(*names: str, otherwise: int) -> int:
        return next((int(config[name]) for name in names if config.get(name)), otherwise)

    hidden = first("hidden_size", "n_embd", "d_model", otherwise=0)
    if not hidden:
        return memory_table.nearest(parameters)
    heads = first("num_attention_heads", "n_head", "num_heads", otherwise=1)
    per_head = first("head_dim", "d_kv", otherwise=hidden // heads)
    return Shape(
        parameters,
        layers=first("num_hidden_layers", "n_layer", "num_layers", otherwise=1),
        hidden=hidden,
        key_value=per_head * first("num_key_value_heads", otherwise=heads),
        wide=first("intermediate_size", "n_inner", "d_ff", otherwise=4 * hidden),
        vocabulary=first("vocab_size", otherwise=1),
        tables=1 if config.get("tie_word_embeddings", True) else 2,
    )


def memory(config: Mapping[str, Any], parameters: float) -> dict[str, float]:
    """GiB that a model takes: to write completions, and to be trained by PPO in each way.

    By arithmetic, on one device: see memory_table. Writing holds its weights in float32.
    """
    of_model, load = shape(config, parameters), Load()
    cache = memory_table.need(of_model, "lora", load).cache
    writing = OVERHEAD * (SINGLE * parameters / GIB + 2 * cache)  # the cache in float32, too
    trained = {
        method: memory_table.need(of_model, method, load).total for method in ("lora", "full")
    }
    return {"writing": writing, **trained}


def free_memory() -> int:
    """Bytes of this machine that a new process can have: its own limit counts as well (cgroups)."""
    free = _number(Path("/proc/meminfo"), r"MemAvailable:\s*(\d+) kB") * 1024
    group = Path("/sys/fs/cgroup")
    most, taken = (_number(group / name, r"(\d+)") for name in ("memory.max", "memory.current"))
    # What the kernel only caches it gives back.
    taken -= _number(group / "memory.stat", r"(?m)^inactive_file (\d+)$")
    return min(free, most - taken) if most else free


def _number(path: Path, pattern: str) -> int:
    try:
        match = re.search(pattern, path.read_text())
    except OSError:
        return 0
    return int(match[1]) if match else 0
