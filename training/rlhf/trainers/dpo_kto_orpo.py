"""Policies from preferences alone: DPO and KTO by TRL, ORPO by our own loss.

All three read the tokens of preference_pairs.py, the same that the policy is prompted with; TRL's
own tokenisation would add what a chat template writes after the turn's end, and read control tokens
spelt out in a reply as such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers import PreTrainedTokenizerBase as Tokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from training.rlhf.config import PairsConfig
from training.rlhf.language import pretrained
from training.rlhf.language.lora_adapters import base_model
from training.rlhf.language.policy_and_reference import load_policy_and_reference
from training.rlhf.language.response_states import Sequences, response_states
from training.rlhf.language.token_logprobs import token_logprobs
from training.rlhf.rows import Preference
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import seed_everything
from training.rlhf.run.work import Work
from training.rlhf.trainers import callbacks, preference_pairs
from training.rlhf.trainers.preference_pairs import Pair

METRICS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "kl": "kl",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
}
"""TRL's names to ours. The margin is beta times the difference of the log-ratios to the reference
(ORPO: the log odds ratio)."""


def train(
    optimiser: str,
    policy: str | Path,
    reference: str | Path,
    preferences: Sequence[Preference],
    config: PairsConfig,
    out: str | Path,
    work: Work,
) -> dict[str, float]:
    """Train a policy by `dpo`, `kto` or `orpo` and write it to `out`.

    Args:
        policy: folder to start from.
        reference: the supervised starter, which DPO and KTO hold the policy to.
        work: told and asked at the edge of every step; training goes on from its checkpoints.

    Returns:
        The mean of the last tenth of each logged metric, steps, pairs, ties, equal_replies and
        truncated.

    Raises:
        ConfigError: no pair says which reply is better, or checkpoints of another run.
        Diverged: the loss or a weight is no longer finite.
        ModelError: the model cannot be trained here.
        Stopped: a stop was asked for; calling again resumes.
    """
    tokenizer = pretrained.load_tokenizer(policy)
    length = min(config.max_length, pretrained.context(policy))
    pairs = preference_pairs.read(tokenizer, preferences, max_length=length)
    data = map(vars, pairs.decided)
    made_of = (pretrained.digest(policy), pretrained.digest(reference))
    callbacks.require_same_run(work.checkpoints, config, optimiser, work.seed, *made_of, data=data)
    seed_everything(work.seed)
    model, anchor = load_policy_and_reference(
        policy, reference, lora=config.lora, dtype=config.dtype, device=work.device
    )
    if optimiser != "orpo":
        callbacks.require_causal(model, optimiser)
    pretrained.without_dropout(model)
    arguments = _arguments(config, work)
    setup = Setup(model, anchor, tokenizer, pairs.decided, length, config, arguments)
    trainer = BUILD[optimiser](setup)
    callbacks.train_to_end(trainer, work, names=METRICS)
    callbacks.save_policy(trainer, tokenizer, out)
    return callbacks.summary(trainer.state, METRICS) | {
        "pairs": float(len(pairs.decided)),
        "ties": float(pairs.ties),
        "equal_replies": float(pairs.equal),
        "truncated": float(pairs.truncated),
    }


def _arguments(config: PairsConfig, work: Work) -> dict[str, Any]:
    return callbacks.training_arguments(config, work) | {
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": distributed.per_process(
            config.batch_size // config.gradient_accumulation,
            "pairs.batch_size / gradient_accumulation",
        ),
        "gradient_accumulation_steps": config.gradient_accumulation,
        "lr_scheduler_type": "linear",
        "warmup_steps": config.warmup_ratio,
        "save_steps": config.checkpoint_every,
    }


@dataclass(frozen=True)
class Setup:
    """The parts of a trainer."""

    model: PreTrainedModel | PeftModel
    anchor: PreTrainedModel | str | None
    """As of load_policy_and_reference."""
    tokenizer: Tokenizer
    pairs: list[Pair]
    max_length: int
    config: PairsConfig
    arguments: dict[str, Any]

    @property
    def adapter(self) -> str | None:
        """The reference, when it is an adapter on the policy's trunk."""
        return self.anchor if isinstance(self.anchor, str) else None

    @property
    def frozen(self) -> PreTrainedModel | None:
        """The reference, when it is a model of its own."""
        return None if isinstance(self.anchor, str) else self.anchor


class _DPOTrainer(DPOTrainer):  # type: ignore[misc]  # trl is untyped here
    """TRL's, on rows that are tokens already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class _KTOTrainer(KTOTrainer):  # type: ignore[misc]  # trl is untyped here
    """TRL's, on rows that are tokens already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def _dpo(setup: Setup, **loss: str) -> Trainer:
    config = setup.config
    data = [
        {"prompt_ids": p.prompt, "chosen_ids": p.chosen, "rejected_ids": p.rejected}
        for p in setup.pairs
    ]
    trainer = _DPOTrainer(
        model=setup.model,
        ref_model=setup.frozen,
        args=DPOConfig(
            **setup.arguments,
            beta=config.beta,
            label_smoothing=config.label_smoothing,
            max_length=None,
            **loss,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=setup.tokenizer,
    )
    if setup.frozen is None:
        callbacks.hold_to_adapter(trainer.model, setup.adapter)
    return trainer


def _kto(setup: Setup) -> Trainer:
    size = setup.arguments["per_device_train_batch_size"] * ranks.size()
    rows = unpaired(
        setup.pairs,
        batch_size=size,
        max_length=setup.max_length,
        seed=setup.arguments["seed"],
    )
    trainer = _KTOTrainer(
        model=setup.model,
        ref_model=setup.frozen,
        args=KTOConfig(
            **setup.arguments,
            beta=setup.config.beta,
            max_length=None,
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=setup.tokenizer,
    )
    if setup.frozen is None:
        callbacks.hold_to_adapter(trainer.model, setup.adapter)
    return trainer


def unpaired(
    pairs: Sequence[Pair], *, batch_size: int, max_length: int, seed: int
) -> list[dict[str, Any]]:
    """KTO's rows: every reply alone, shuffled, with the reply of another row of its batch, from
    which KL is estimated (arXiv 2402.01306, section 4.1); of that, what fits after the prompt."""
    replies = [
        {"prompt_ids": pair.prompt, "completion_ids": reply, "label": good}
        for pair in pairs
        for reply, good in ((pair.chosen, True), (pair.rejected, False))
    ]
    order = np.random.default_rng([seed, 11]).permutation(len(replies))
    shuffled = [replies[i] for i in order]
    for start in range(0, len(shuffled), batch_size):
        batch = shuffled[start : start + batch_size]
        for place, row in enumerate(batch):
            room = max_length - len(row["prompt_ids"])
            row["KL_completion_ids"] = batch[place - 1]["completion_ids"][:room]
    return shuffled


def _read_preferences(model: PreTrainedModel | PeftModel) -> None:
    """Let the model's own call take Sequences and give log-probabilities and entropies of the
    replies' tokens: whatever wraps it (DDP, FSDP, mixed precision) goes by that call."""
    base = base_model(model)

    def forward(**fields: Tensor) -> tuple[Tensor, Tensor]:
        hidden, tokens = response_states(base, Sequences(**fields))
        return token_logprobs(base.get_output_embeddings(), hidden, tokens, temperature=1.0)

    model.forward = forward


def odds_ratio_loss(chosen: Tensor, rejected: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """ORPO (Hong et al. 2024, arXiv 2403.07691, eqs. 6 and 7), per pair, and the log odds ratio.

    Args:
        chosen, rejected: (B,) mean log-probability per token of the better and the worse reply.
        weight: lambda, of -log sigmoid(log odds ratio) beside the better reply's likelihood.
    """
    ratio = _log_odds(chosen) - _log_odds(rejected)
    return -chosen - weight * nn.functional.logsigmoid(ratio), ratio


def _log_odds(logprob: Tensor) -> Tensor:
    """log p / (1 - p) from log p; finite where p rounds to 1."""
    return logprob - torch.log(-torch.expm1(logprob.clamp(max=-1e-6)))


SUMS = ("right", "log_odds_ratios", "pairs", "entropies", "tokens")
"""The sums of ORPO between two logged lines: over pairs, and over response tokens."""


class _ORPOTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """Odds-ratio preference optimisation (Hong et al. 2024): no reference model."""

    def __init__(self, *, weight: float, **arguments: Any) -> None:
        _read_preferences(arguments["model"])
        super().__init__(**arguments)
        self.weight = weight
        self.model_accepts_loss_kwargs = False  # the loss is a mean: let accumulation divide it
        self.sums = torch.zeros(len(SUMS))

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor:
        """Loss of a batch of B better replies and then the B worse ones."""
        batch = Sequences(**inputs)
        with self.accelerator.autocast():
            logprobs, entropy = model(**inputs)  # (N,) each, of all response tokens
        totals = torch.zeros(len(batch.ids), device=logprobs.device)  # (2B,)
        # Not the padded mean: token n belongs to the row of the mask's n-th one.
        means = totals.index_add(0, batch.mask.nonzero()[:, 0], logprobs) / batch.lengths
        losses, ratio = odds_ratio_loss(*means.chunk(2), weight=self.weight)
        sums: dict[str, Tensor | int] = {
            "right": (ratio > 0).sum(),
            "log_odds_ratios": ratio.detach().sum(),
            "pairs": len(ratio),
            "entropies": entropy.detach().sum(),
            "tokens": len(entropy),
        }
        self.sums += torch.tensor([float(sums[name]) for name in SUMS])
        return losses.mean()

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Add what the steps since the last line showed, in all processes."""
        if "loss" in logs:
            totals = distributed.total(self.sums.to(self.args.device)).tolist()
            sums = dict(zip(SUMS, totals, strict=True))
            if sums["pairs"]:
                logs["rewards/accuracies"] = sums["right"] / sums["pairs"]
                logs["rewards/margins"] = sums["log_odds_ratios"] / sums["pairs"]
                logs["entropy"] = sums["entropies"] / sums["tokens"]
            self.sums.zero_()
        super().log(logs, *rest)


def _orpo(setup: Setup) -> Trainer:
    if setup.config.gradient_checkpointing:
        trunk = base_model(setup.model)
        trunk.activation_checkpointing_enable({"use_reentrant": False})
    arguments = setup.arguments | {"activation_checkpointing": False}
    return _ORPOTrainer(
        weight=setup.config.beta,
        model=setup.model,
        args=TrainingArguments(**arguments, remove_unused_columns=False),
        train_dataset=setup.pairs,
        data_collator=_collate,
        processing_class=setup.tokenizer,
    )


def _collate(pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """The better replies, then the worse ones, as fields of Sequences."""
    prompts = [pair.prompt for pair in pairs]
    replies = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return vars(Sequences.build(prompts * 2, replies, torch.device("cpu")))


BUILD: dict[str, Callable[[Setup], Trainer]] = {
    "dpo": _dpo,
    "kto": _kto,
    "orpo": _orpo,
}

dpo = partial(train, "dpo")
kto = partial(train, "kto")
orpo = partial(train, "orpo")
