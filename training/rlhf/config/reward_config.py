"""The settings of adapters and reward models; `config` has all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.rlhf.config.config_file import require, require_at_least, require_positive

MIN_LENGTH = 8
"""Tokens that a prompt and its reply need together: with fewer there is nothing left to read."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of full training."""

    r: int = 16
    """Rank: the width of the adapters. More can learn more, and takes more memory."""
    alpha: int = 32
    """Adapters' output is multiplied by alpha / rank."""
    dropout: float = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"

    def __post_init__(self) -> None:
        require_at_least(1, "lora", self, "r", "alpha")
        require(0 <= self.dropout < 1, "lora.dropout must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Reward model; by default Bradley-Terry on vote fractions (soft labels)."""

    loss: Literal["bradley_terry", "rao_kupper", "davidson", "regression"] = "bradley_terry"
    """Bradley-Terry is the binary cross-entropy on preferences, a tie as half a vote for each
    side. Rao-Kupper and Davidson give ties a probability of their own. Regression learns ratings
    of single replies instead of pairs."""
    epochs: float = 2.0
    """Passes over all pairs with votes."""
    batch_size: int = 16
    """Pairs per optimiser step."""
    learning_rate: float = 3e-4
    """Size of an optimiser step."""
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    max_length: int = 512
    """Longer pairs lose tokens from the left of the prompt and are counted."""
    margin: float = 0.0
    """Subtracted from the logit in favour of the winner (Llama 2, arXiv 2307.09288, eq. 2)."""
    margin_by: Literal["votes", "fixed", "strength"] = "votes"
    """Share of the margin that a pair gets: as far as its votes agree, all of it, or the mean
    signed strength of its votes / rows.MAX_STRENGTH."""
    label_smoothing: float = 0.0
    """Share of every label that is spread over all outcomes alike."""
    centre: float = 0.01
    """Weight of (r_a + r_b)^2, which centres the scores (Eisenstein et al. 2023)."""
    pooling: Literal["root", "sum", "mean", "last"] = "root"
    """Pooling of the reply's hidden states: their sum divided by the root of their number,
    their sum, their mean, or the last one. Small trunks trained from scratch are 3 to 5 points more
    accurate with one of the first three than with the last. Under the mean every sentence that is
    good, but less good than the best, lowers the score, and PPO learns to be curt
    (docs/decisions.md). Encoders use the head they bring along, but for the mean, on which a linear
    head is put, as sentence encoders are read."""
    probe: bool = True
    """Start the score head at the Bayesian fit on frozen features instead of at zero, so that
    fine-tuning does not first distort the trunk (Kumar et al. 2022, arXiv 2202.10054)."""
    linear_probe: bool = False
    """Fit the score head alone and leave the trunk as it is (Alain and Bengio 2016, arXiv
    1610.01644): each text is read once, and no optimiser step is taken. With a few hundred pairs on
    a pretrained trunk it may be as accurate as fine-tuning, in a small part of the time."""
    heads: int = 5
    """Linear heads on one trunk, each trained on its own bootstrap of the prompts. Where they
    disagree the votes have not decided, and the score is their pessimistic mean, so that a policy
    gains little from what nobody voted on (Coste et al. 2023, arXiv 2310.02743). 1: no ensemble;
    nor is there one on the own head of an encoder."""
    heads_temperature: float = 1.0
    """b of the pessimistic mean -b log mean exp(-score / b), in logits: small counts the lowest
    head alone, large is the plain mean."""
    judge: bool = True
    """Train a second model, which picks PPO's checkpoint and by whose win rate a policy passes.
    With none, the last checkpoint is taken, and only people can put the policy in use."""
    early_stopping: bool = True
    """Keep the epoch with the lowest loss on a slice of the training prompts."""
    slice_share: float = 0.1
    """Share of the training prompts in that slice."""
    soft_labels: bool = False
    """Learn the aggregated probabilities instead of the votes' weighted share. Off, because they
    are worse for the reward model wherever annotators are careful (docs/decisions.md)."""
    lora: LoraConfig | None = None
    """Train small adapters beside frozen weights; none trains all weights, which takes several
    times the memory."""
    quantise: Literal["none", "int8", "nf4"] = "none"
    """Keep the frozen trunk in 8 or 4 bits while adapters are trained (QLoRA, arXiv 2305.14314);
    needs `lora` and bitsandbytes."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights with adapters, else of the matrix products: bfloat16 halves the
    memory, and suits GPUs; auto takes what suits the model and the device."""
    pass_tokens: int = 2048
    """Tokens read in one forward pass, at most: a batch takes as many passes as it needs, of pairs
    of similar length. Bounds the memory and changes nothing else. Small passes suit the caches of
    CPUs; raise it on a GPU."""
    judge_base: str = ""
    """Folder of another model, on whose trunk the judge learns: what the reward model's own trunk
    does not see, such a judge may. Empty: the same trunk, which the figures then say."""
    judge_share: float = 0.25
    """Share of the training prompts whose votes teach the judge alone, so that it has not seen what
    the reward model has; once that is 40 pairs, and none before."""
    folds: int = 5
    """With fewer than 300 pairs with votes and fewer than 60 held-out ones among them, accuracy is
    measured out of fold: by as many further models, each on the prompts that it did not learn
    from. 0 measures on the held-out prompts alone, however few."""
    warm_start: bool = False
    """Start from the last reward model, with its head and pooling, instead of the fixed base."""
    checkpoint_every: int = 20

    def __post_init__(self) -> None:
        require_at_least(1, "reward", self, "batch_size", "pass_tokens", "checkpoint_every")
        require_at_least(MIN_LENGTH, "reward", self, "max_length")
        require_at_least(1, "reward", self, "heads")
        require_positive("reward", self, "epochs", "learning_rate", "heads_temperature")
        require(
            self.dtype != "float16",
            "reward.dtype float16 is refused: small gradients vanish in it; take bfloat16 or"
            " float32",
        )
        require(0 <= self.judge_share <= 0.25, "reward.judge_share must lie in [0, 0.25]")
        require(self.folds >= 0 and self.folds != 1, "reward.folds must be 0 or at least 2")
        require(0 < self.slice_share < 1, "reward.slice_share must lie in (0, 1)")
        require(0 <= self.label_smoothing < 1, "reward.label_smoothing must lie in [0, 1)")
        require(
            self.loss == "bradley_terry" or not self.margin,
            f"reward.margin belongs to bradley_terry, not to {self.loss}",
        )
        require(
            not self.linear_probe or (self.loss == "bradley_terry" and not self.warm_start),
            "reward.linear_probe fits a new head by bradley_terry: leave out warm_start, and take"
            " that loss",
        )
        require(
            self.loss != "regression" or not self.label_smoothing,
            "reward.label_smoothing belongs to preferences, not to regression",
        )
        require(
            self.quantise == "none" or self.lora is not None,
            "reward.quantise needs reward.lora: quantised weights cannot be trained",
        )
