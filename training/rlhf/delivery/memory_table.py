"""Memory and time that PPO on a policy of a given size takes, by arithmetic. Torch-free.

`python -m training.rlhf memory --params 8e9` prints it; docs/operations.md shows it for three sizes
and says where every line comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["full", "lora", "qlora"]

GIB = 2**30
HALF, SINGLE = 2, 4
"""Bytes of a number in bfloat16 and in float32."""
ADAM_STATES = 2
NF4_BYTES = 0.5 + SINGLE / 64
"""Of a weight: four bits, and one float32 per block of 64 (Dettmers et al. 2023, arXiv 2305.14314,
section 3, without the second quantisation)."""
LOGITS_KEPT, LOGITS_AT_ONCE = 2**26, 2**23
"""Numbers, as in token_logprobs.py."""
LAUNCH = 0.8e-3
"""Seconds that one layer takes for one token however small it is, as PyTorch starts its kernels one
by one: SmolLM2-135M with its 30 layers writes 39 tokens/s
(huggingface.co/kernels/phanerozoic/model-as-a-kernel)."""
OVERHEAD = 1.1
"""For what the sum leaves out: the allocator's gaps, buffers, the CUDA context."""


@dataclass(frozen=True)
class Shape:
    """A decoder with grouped-query attention and a gated MLP (Llama, Qwen)."""

    parameters: float
    layers: int
    hidden: int
    key_value: int
    """Numbers per token and layer in the keys: heads of keys times their size."""
    wide: int
    """Width of the MLP."""
    vocabulary: int
    tables: int
    """Matrices of vocabulary by width: one where the head is the embedding, else two."""

    @property
    def linear(self) -> float:
        """Weights of the layers, which LoRA adapts and four bits hold: all but the tables."""
        return self.parameters - self.tables * self.vocabulary * self.hidden


SHAPES = (
    Shape(0.494e9, layers=24, hidden=896, key_value=128, wide=4864, vocabulary=151_936, tables=1),
    Shape(
        8.03e9, layers=32, hidden=4096, key_value=1024, wide=14_336, vocabulary=128_256, tables=2
    ),
    Shape(
        70.6e9, layers=80, hidden=8192, key_value=1024, wide=28_672, vocabulary=128_256, tables=2
    ),
)
"""Qwen2.5-0.5B, Llama-3.1-8B and Llama-3.1-70B by their published configs."""


@dataclass(frozen=True)
class Load:
    """Sequences and tokens that are worked on at a time."""

    sequences: int = 32
    """Replies that are sampled together."""
    pass_rows: int = 8
    """Sequences of one forward and backward pass."""
    prompt: int = 512
    reply: int = 256
    lora_rank: int = 16
    updates_epochs: int = 4


@dataclass(frozen=True)
class Need:
    """GiB of one PPO run, all on one device."""

    weights: float
    """Of the policy; for full training also their bfloat16 copy, which autocast keeps through a
    pass, and the frozen reference."""
    gradients: float
    optimiser: float
    cache: float
    """Keys and values while sampling."""
    activations: float
    """With gradient checkpointing: the input of every layer, and one layer at work."""
    logits: float
    """On reply positions only: all of them up to LOGITS_KEPT, else a slice at a time."""

    @property
    def total(self) -> float:
        """Sampling and training do not overlap, so the larger of cache and pass counts."""
        passing = self.activations + self.logits
        kept = self.weights + self.gradients + self.optimiser
        return OVERHEAD * (kept + max(self.cache, passing))


def nearest(parameters: float) -> Shape:
    """The known shape nearest in size, widened or narrowed to `parameters`.

    Parameters grow with layers times the square of the width; both are stretched alike.
    """
    known = min(SHAPES, key=lambda s: max(s.parameters, parameters) / min(s.parameters, parameters))
    stretch = (parameters / known.parameters) ** (1 / 3)
    return Shape(
        parameters,
        layers=max(1, round(known.layers * stretch)),
        hidden=max(1, round(known.hidden * stretch)),
        key_value=max(1, round(known.key_value * stretch)),
        wide=max(1, round(known.wide * stretch)),
        vocabulary=known.vocabulary,
        tables=known.tables,
    )


def adapter_parameters(shape: Shape, rank: int) -> float:
    """LoRA on all linear layers: rank * (inputs + outputs) of each."""
    h, kv = shape.hidden, shape.key_value
    attention = 2 * (h + h) + 2 * (h + kv)
    return rank * shape.layers * (attention + 3 * (h + shape.wide))


def need(shape: Shape, method: Method, load: Load = Load()) -> Need:
    """The memory of PPO on `shape`."""
    p, rows, length = shape.parameters, load.pass_rows, load.prompt + load.reply
    own = p if method == "full" else adapter_parameters(shape, load.lora_rank)
    trained = own + shape.hidden**2  # the critic's head
    frozen = {
        "full": 2 * HALF * p,
        "lora": HALF * p,
        "qlora": NF4_BYTES * shape.linear + HALF * (p - shape.linear),
    }[method]
    weights = SINGLE * trained + frozen
    at_work = (2 * shape.hidden + 2 * shape.key_value + 3 * shape.wide) * HALF
    return Need(
        weights=weights / GIB,
        gradients=SINGLE * trained / GIB,
        optimiser=ADAM_STATES * SINGLE * trained / GIB,
        cache=2 * HALF * shape.layers * shape.key_value * load.sequences * length / GIB,
        activations=rows * length * (HALF * shape.layers * shape.hidden + at_work) / GIB,
        logits=logits_bytes(rows * load.reply * shape.vocabulary) / GIB,
    )


def logits_bytes(numbers: int) -> float:
    """Bytes: what is kept for the backward pass, and a slice with two temporaries of its size."""
    kept = numbers if numbers <= LOGITS_KEPT else 0
    return SINGLE * (kept + 3 * min(numbers, LOGITS_AT_ONCE))


@dataclass(frozen=True)
class Device:
    """An accelerator by its data sheet (dense bfloat16)."""

    name: str
    memory: float
    """GiB"""
    flops: float
    """Per second."""
    bandwidth: float
    """Bytes per second."""


H100 = Device("H100 SXM", memory=80e9 / GIB, flops=989e12, bandwidth=3.35e12)


@dataclass(frozen=True)
class Speed:
    """Tokens per second on one device, and what an update takes."""

    sampling: float
    training: float
    update_seconds: float


def speed(
    shape: Shape,
    load: Load = Load(),
    device: Device = H100,
    *,
    utilisation: float = 0.35,
    bandwidth_share: float = 0.6,
) -> Speed:
    """The speed of PPO where its memory suffices.

    Sampling is bound by reading all weights and the cache once per token of the whole batch, or by
    starting the kernels; training by 6 FLOPs per parameter and token, 8 with gradient
    checkpointing, and 2 * 2 for the readings of policy and reference before it (Kaplan et al. 2020,
    arXiv 2001.08361, section 2.1).

    Args:
        utilisation: share of the device's FLOPs that training reaches.
        bandwidth_share: share of its memory bandwidth that sampling reaches.
    """
    cache = need(shape, "lora", load).cache
    filled = (load.prompt + load.reply / 2) / (load.prompt + load.reply)  # of the cache, on average
    read = HALF * shape.parameters + cache * GIB * filled
    step = max(read / (device.bandwidth * bandwidth_share), shape.layers * LAUNCH)
    sampling = load.sequences / step
    reach = device.flops * utilisation
    training = reach / (8 * shape.parameters)
    tokens = load.sequences * (load.prompt + load.reply)
    reading = tokens * 4 * shape.parameters / reach
    passes = load.updates_epochs * tokens / training
    sampled = load.sequences * load.reply / sampling
    return Speed(sampling, training, sampled + reading + passes)


def devices(needed: Need, device: Device = H100) -> int:
    """The number of devices that hold it, were it cut into equal parts."""
    return max(1, -int(-needed.total // device.memory))


def table(parameters: float, load: Load = Load()) -> list[str]:
    """Lines of a Markdown table: the memory of each method, in GiB."""
    shape = nearest(parameters)
    lines = [
        "| | weights | gradients | optimiser | KV cache | activations | logits | total | H100s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    methods: tuple[tuple[str, Method], ...] = (
        ("full", "full"),
        ("LoRA", "lora"),
        ("QLoRA", "qlora"),
    )
    for name, method in methods:
        needed = need(shape, method, load)
        numbers = [*vars(needed).values(), needed.total]
        cells = " | ".join(f"{number:.1f}" for number in numbers)
        lines.append(f"| {name} | {cells} | {devices(needed)} |")
    return lines


def sentence(parameters: float, load: Load = Load()) -> str:
    """The speed in words."""
    rate = speed(nearest(parameters), load)
    return (
        f"On an {H100.name} about {_rough(rate.sampling)} tokens/s sampled,"
        f" {_rough(rate.training)} tokens/s trained, {_rough(rate.update_seconds)} s per update"
    )


def _rough(number: float) -> str:
    """Two digits: the shares above are assumptions."""
    return f"{float(f'{number:.2g}'):,.{0 if number >= 10 else 1}f}"
