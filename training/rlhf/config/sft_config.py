"""The settings of models to start from and of supervised fine-tuning; `config` has all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from training.rlhf.config.config_file import require, require_at_least, require_positive
from training.rlhf.config.reward_config import MIN_LENGTH, LoraConfig


@dataclass(frozen=True, kw_only=True)
class TinyModelConfig:
    """Shape of a Llama-style model trained from scratch, with its own tokenizer."""

    vocab_size: int = 768
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384
    context: int = 256
    initializer_range: float = 0.05
    """Standard deviation of the first weights. At 0.02 copying a word from the prompt into the
    reply appears about twice as late in the training."""

    def __post_init__(self) -> None:
        require_at_least(1, "tiny", self, "layers", "heads", "intermediate_size")
        require_at_least(MIN_LENGTH, "tiny", self, "context", "vocab_size")
        require(
            self.hidden_size > 0 and self.hidden_size % (2 * self.heads) == 0,
            "tiny.hidden_size must be a multiple of twice tiny.heads",
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model to start from: a hub id or a folder, or a tiny one built on the spot."""

    path: str = ""
    """Hub id or local folder of a causal language model; empty means `tiny`."""
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    lora: LoraConfig | None = None
    """None trains all weights."""
    quantise: Literal["none", "int8", "nf4"] = "none"
    """Keep the frozen weights in 8 or 4 bits while adapters are trained (QLoRA, arXiv 2305.14314);
    needs `lora` and bitsandbytes."""
    tiny: TinyModelConfig | None = None

    def __post_init__(self) -> None:
        require(
            self.quantise == "none" or (self.lora is not None and bool(self.path)),
            "model.quantise needs model.lora and model.path: quantised weights cannot be trained",
        )


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Supervised fine-tuning of a starter policy on replies to chats."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: str = ""
    """Rows of `messages`, of `prompt` and `completion`, or pairs, whose better reply is learnt; the
    loss is on the last reply. JSON lines, a JSON list, CSV or a dataset, see datafiles."""
    held_out_share: float = 0.0
    """Share of the chats that only measure, by their prompts, where the rows do not say which."""
    epochs: float = 3.0
    batch_size: int = 32
    """Chats per optimiser step."""
    gradient_accumulation: int = 1
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    adam_beta2: float = 0.999
    warmup_ratio: float = 0.05
    weight_decay: float = 0.01
    mixed_precision: Literal["none", "bfloat16", "float16"] = "none"
    """Computed in this type, while the weights stay in `model.dtype`; float16 on GPUs only."""
    gradient_checkpointing: bool = False
    patience: int = 0
    """Checkpoints in a row without a lower loss on the held-out chats after which training ends;
    the best weights are kept. 0: all epochs."""
    max_length: int = 192
    max_steps: int = -1
    """Ends the training before `epochs` are over; -1 does not."""
    seed: int = 0
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        require_at_least(1, "sft", self, "batch_size", "checkpoint_every", "gradient_accumulation")
        require_at_least(MIN_LENGTH, "sft", self, "max_length")
        require(
            self.batch_size % self.gradient_accumulation == 0,
            "sft.batch_size must be a multiple of sft.gradient_accumulation",
        )
        require_positive("sft", self, "epochs", "learning_rate")
        require(0 <= self.held_out_share < 1, "sft.held_out_share must lie in [0, 1)")
