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
LARGEST = 2**53
"""Numbers above are no sizes; floats hold those below exactly."""
LARGEST_HEADER = 100_000_000
HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
"""The YAML at the beginning of a model card."""
LICENCES = {
    "Apache License": "apache-2.0",
    "MIT License": "mit",
    "GNU GENERAL PUBLIC LICENSE": "gpl",
}
"""Beginnings of the texts of well-known licences, and their names on hubs."""


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
    return Facts(
        architecture=next(
            model_folder_checks.architectures(config), str(config.get("model_type", ""))
        ),
        parameters=sum(kinds.values()),
        bytes=sum(size for _, _, size in tensors),
        dtype=kinds.most_common(1)[0][0] if kinds else "",
        context=context(config),
        vocabulary=_first(config, "vocab_size"),
        licence=_licence(folder) or _licence(whole),
        adapter=folder != whole,
    )


def settings(folder: Path) -> dict[str, Any]:
    """config.json; of a model that also sees, the part on its language."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"{folder} holds no readable config.json.") from error
    if not isinstance(config, dict):
        raise Unusable(f"{folder} holds no readable config.json.")
    nested = config.get("text_config")
    return config | nested if isinstance(nested, dict) else dict(config)


def context(config: Mapping[str, Any]) -> int:
    """Tokens that a model reads at once, by its settings; 0: they name no limit."""
    return _first(config, "max_position_embeddings", "n_positions")


def _first(config: Mapping[str, Any], *names: str, otherwise: int = 0) -> int:
    """The number of the first of these settings that is there. Raises Unusable: it is none."""
    name = next((name for name in names if config.get(name)), None)
    if name is None:
        return otherwise
    value = config[name]
    if isinstance(value, list):  # one for each layer
        value = max((one for one in value if type(one) is int), default=None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST:
        raise Unusable(f"config.json is damaged: its {name} is no number of anything.")
    return int(value)


DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError, struct.error),
)
"""Whatever a header that somebody wrote by hand may raise."""


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
                size_of = [int(n) for n in one["shape"]]
                if not 0 <= math.prod(size_of) < LARGEST or not 0 <= end - start < LARGEST:
                    raise ValueError("no size of a tensor")
                yield str(one["dtype"]), size_of, int(end - start)
        except DAMAGE as error:
            raise Unusable(f"{path.name} is damaged: copy or download it again.") from error


def _licence(folder: Path) -> str:
    """By the head of the card, else by the beginning of a file LICENSE."""
    card = folder / CARD
    head = HEAD.match(card.read_text("utf-8", "replace")[:100_000]) if card.is_file() else None
    if head is not None:
        try:
            told = yaml.safe_load(head[1])
        except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none, for one
            told = None
        if isinstance(told, dict) and told.get("license"):
            name = told["license"]
            name = ", ".join(map(str, name)) if isinstance(name, list) else str(name)
            return str(told.get("license_name") or name)[:100] if name == "other" else name[:100]
    for path in sorted(folder.glob("LICEN[CS]E*")):
        text = path.read_text("utf-8", "replace")[:500]
        return next((name for start, name in LICENCES.items() if start in text), path.name)
    return ""


def shape(config: Mapping[str, Any], parameters: float) -> Shape:
    """A model's shape by its settings, in whatever words its family has for them."""

    hidden = _first(config, "hidden_size", "n_embd", "d_model")
    if not hidden:
        return memory_table.nearest(parameters)
    heads = _first(config, "num_attention_heads", "n_head", "num_heads", otherwise=1)
    per_head = _first(config, "head_dim", "d_kv", otherwise=hidden // heads)
    return Shape(
        parameters,
        layers=_first(config, "num_hidden_layers", "n_layer", "num_layers", otherwise=1),
        hidden=hidden,
        key_value=per_head * _first(config, "num_key_value_heads", otherwise=heads),
        wide=_first(config, "intermediate_size", "n_inner", "d_ff", otherwise=4 * hidden),
        vocabulary=_first(config, "vocab_size", otherwise=1),
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
