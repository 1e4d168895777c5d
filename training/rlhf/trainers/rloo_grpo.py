"""Policies from groups of sampled replies and a score, by TRL: RLOO and GRPO.

There is no critic: a reply is compared with the others to the same prompt. One update samples
`batch_size` replies and trains on them; training resumes at the edges of updates. The replies are
sampled (language/generation.py) and watched (metrics/reward_hacking.py) as those of PPO are, and do
not depend on how many processes share the work.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import TrainerState
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer import add_fused_lm_head

from training.rlhf.config import ConfigError, GroupConfig
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.language.lora_adapters import base_model
from training.rlhf.language.policy_and_reference import load_policy_and_reference
from training.rlhf.language.random_numbers import draws, random_source
from training.rlhf.metrics import reward_hacking
from training.rlhf.metrics.texts.diversity_and_refusals import mean
from training.rlhf.reward.score_functions import Score
from training.rlhf.rows import Prompt
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import seed_everything
from training.rlhf.run.failures import Diverged
from training.rlhf.run.work import Work
from training.rlhf.trainers import callbacks

UPDATE = "update/"
"""Before the names of what is measured once per update, in the lines that the trainer logs."""
METRICS = {name: name for name in ("loss", "grad_norm", "entropy")} | {
    f"{UPDATE}{name}": name
    for name in (
        *reward_hacking.WATCHED,
        "reward_deviation",
        "kl",
        "alarms",
        *(f"alarm_{sign}" for sign in reward_hacking.TITLES),
    )
}
"""Names in those lines to ours; of an update's steps the mean is reported. TRL's own reward is one
after penalties, its KL one per token."""


class _OwnSampling:
    """Prompts as the tokens of chat_template.py, cut from their left to `room` (TRL cuts none), our
    sampler, and minibatches that are the same however many processes hold the replies."""

    accelerator: Any
    args: Any
    model_wrapped: Any
    processing_class: Tokenizer
    reward_funcs: list[_Reward]
    state: TrainerState
    _buffered_inputs: list[dict[str, Tensor]] | None
    _generate_and_score_completions: Callable[[list[Any]], dict[str, Tensor]]
    _step: int
    room: int
    own: float
    """Sum of the log-probabilities that this process sampled its last replies with."""

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Tokens; images and what else TRL would pass on for them there are none."""
        return [row[-self.room :] for row in self._whole(prompts)], None, {}

    def _whole(self, prompts: list[Any]) -> list[list[int]]:
        return [chat_template.prompt_ids(self.processing_class, prompt) for prompt in prompts]

    def cut(self, prompts: list[Any]) -> float:
        """The number of prompts that lose tokens."""
        return float(sum(len(row) > self.room for row in self._whole(prompts)))

    def replies(self, prompts: list[list[int]]) -> list[list[int]]:
        """Tokens of a reply to each prompt of this process, whose place in the whole batch and the
        number of the update decide on its random numbers."""
        config, stops = self.reward_funcs[0].config, self.reward_funcs[0].stops
        update, size = self.state.global_step // _steps(config), len(prompts)
        seed = int(random_source(self.args.seed, "sample", update).integers(2**31))
        noise = draws(size * ranks.size(), config.max_new_tokens, seed=seed)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        model.eval()  # gradient checkpointing switches the cache off in training mode
        with self.accelerator.autocast():
            sampled = generation.generate(
                base_model(model),
                self.processing_class,
                prompts,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                noise=noise[ranks.rank() * size :][:size],
                stop_ids=sorted(stops),
                batch_size=size,
            )
        model.train()
        generation.require_finite(sampled)
        self.own = math.fsum(math.fsum(reply.logprobs) for reply in sampled)
        return [reply.ids for reply in sampled]

    def _prepare_inputs(self, rows: list[Any]) -> dict[str, Tensor]:
        """The next minibatch; each takes every so many-th reply, where TRL lets every process
        shuffle its own."""
        steps: int = self.args.steps_per_generation
        if self._step % _steps(self.reward_funcs[0].config) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(rows)
            self._buffered_inputs = [
                {name: value[step::steps] if value.ndim else value for name, value in batch.items()}
                for step in range(steps)
            ]
        return self._buffered_inputs[self._step % steps]


class _Watched(_OwnSampling):
    """The replies of every update measured as PPO measures its own, and the alarms they raise.

    All of it is in the trainer's lines, which its checkpoints keep: a run that goes on is held
    against the same first updates.
    """

    beta: float
    _metrics: dict[str, dict[str, list[float]]]
    read: Tensor
    """(B, R) log-probabilities that were last read without a gradient."""

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        logprobs = super()._get_per_token_logps_and_entropies(*arguments, **named)  # type: ignore[misc]
        if not torch.is_grad_enabled():
            self.read = logprobs[0]
        return logprobs

    def _generate_and_score_completions(self, inputs: list[Any]) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = super()._generate_and_score_completions(inputs)
        reward = self.reward_funcs[0]
        metrics = reward.measured() | (self._to_reference(batch) if self.beta else {})
        metrics |= reward_hacking.metrics([*_history(self.state), metrics], reward.config)
        for name, value in metrics.items():
            self._metrics["train"][f"{UPDATE}{name}"].append(value)
        return batch

    def _to_reference(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """KL and perplexity to the reference, which TRL reads last before it trains."""
        mask = batch["completion_mask"]
        theirs = float((self.read.double() * mask).sum())
        counts = [float(mask.sum()), float(len(mask))]
        sums = torch.tensor([theirs, self.own - theirs, *counts], dtype=torch.float64)
        logprobs, ratio, tokens, replies = distributed.total(sums.to(mask.device)).tolist()
        return {"reference_perplexity": math.exp(-logprobs / tokens), "kl": ratio / replies}


class _RLOOTrainer(_Watched, RLOOTrainer):  # type: ignore[misc]  # trl is untyped here
    """TRL's, on our tokens and replies."""

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> list[list[int]]:
        return self.replies(prompts)


class _GRPOTrainer(_Watched, GRPOTrainer):  # type: ignore[misc]  # trl is untyped here
    """TRL's, on our tokens and replies."""

    def _generate_single_turn(self, prompts: list[list[int]], *_: Any) -> Any:
        return self.replies(prompts), None


KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "rloo": (_RLOOTrainer, RLOOConfig),
    "grpo": (_GRPOTrainer, GRPOConfig),
}


def train(
    optimiser: str,
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[Prompt],
    score: Score,
    config: GroupConfig,
    out: str | Path,
    work: Work,
    *,
    score_digest: str = "",
) -> dict[str, float]:
    """Train a policy by `rloo` or `grpo` and write it to `out`.

    Args:
        policy: folder to start from.
        reference: the supervised starter, which KL is measured to.
        prompts: held-out ones are left out.
        score: chats and replies to one number each.
        work: told and asked at the edge of every update; training goes on from its checkpoints.
        score_digest: of what `score` is made of; checkpoints of another score are refused.

    Returns:
        The mean of the last tenth of loss and grad_norm, loss_first, steps, prompts_truncated and
        reward_hacking.summary.

    Raises:
        ConfigError: there is no prompt, or checkpoints are of another run; FSDP or DeepSpeed.
        Diverged: a score, the loss or a weight is no longer finite.
        ModelError: the model cannot be trained here.
        Stopped: a stop was asked for; calling again resumes.
    """
    distributed.require_whole_model(optimiser)
    asked = [prompt.messages for prompt in prompts if not prompt.held_out]
    if not asked:
        raise ConfigError("there is no prompt to train on (held-out prompts never are)")
    made_of = (pretrained.digest(policy), pretrained.digest(reference), score_digest)
    callbacks.require_same_run(work.checkpoints, config, optimiser, work.seed, *made_of, data=asked)
    tokenizer = pretrained.load_tokenizer(policy)
    seed_everything(work.seed)
    model, anchor = load_policy_and_reference(
        policy, reference, lora=config.lora, dtype=config.dtype, device=work.device
    )
    trainer = _trainer(
        optimiser,
        model,
        _Reward(score, tokenizer, config, base_model(model)),
        Dataset.from_list([{"prompt": messages} for messages in asked]),
        _arguments(config, work),
    )
    _hold_to(trainer, anchor, config)
    steps = _steps(config)
    callbacks.train_to_end(trainer, work, names=METRICS, every=steps)
    callbacks.save_policy(trainer, tokenizer, out)
    told = reward_hacking.summary(_history(trainer.state)) | {
        "prompts_truncated": trainer.cut(asked)
    }
    return callbacks.summary(trainer.state, {"loss": "loss", "grad_norm": "grad_norm"}) | told


def _steps(config: GroupConfig) -> int:
    """Optimiser steps of an update."""
    return config.batch_size // config.minibatch_size * config.epochs


def _history(state: TrainerState) -> list[dict[str, float]]:
    """The metrics of every update so far."""
    lines = [line for line in state.log_history if f"{UPDATE}reward" in line]
    return [{name: line[key] for key, name in METRICS.items() if key in line} for line in lines]


def _trainer(
    optimiser: str, model: Any, reward: _Reward, prompts: Dataset, arguments: dict[str, Any]
) -> Any:
    callbacks.require_causal(model, optimiser)
    pretrained.without_dropout(model)
    base, config = base_model(model), reward.config
    # TRL takes the ends of a reply from here, and knows nothing of chat templates.
    base.generation_config.eos_token_id = sorted(reward.stops)
    kind, settings = KINDS[optimiser]
    trainer = kind(
        model=model,
        reward_funcs=reward,
        args=settings(**arguments),
        train_dataset=prompts,
        processing_class=reward.tokenizer,
    )
    trainer.room = min(
        config.max_prompt_length, generation.prompt_room(base, config.max_new_tokens)
    )
    return trainer


def _arguments(config: GroupConfig, work: Work) -> dict[str, Any]:
    return callbacks.training_arguments(config, work) | {
        "per_device_train_batch_size": distributed.per_process(
            config.minibatch_size, "groups.minibatch_size"
        )
        // config.gradient_accumulation,
        "gradient_accumulation_steps": config.gradient_accumulation,
        # Counted in passes, of which an optimiser step takes several.
        "steps_per_generation": config.batch_size
        // config.minibatch_size
        * config.gradient_accumulation,
        "num_iterations": config.epochs,
        "num_generations": config.group_size,
        "max_steps": config.updates * _steps(config),
        "save_steps": config.checkpoint_every * _steps(config),
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "epsilon": config.clip_ratio,
        "lr_scheduler_type": "constant",
        # Otherwise TRL loads a reference of its own choice; see _hold_to.
        "beta": 0.0,
    }


class _Reward:
    """The score of a reply as TRL asks for it, with the penalties of the config."""

    __name__ = "score"

    def __init__(self, score: Score, tokenizer: Tokenizer, config: GroupConfig, model: Any) -> None:
        self.score, self.tokenizer, self.config = score, tokenizer, config
        self.stops = set(pretrained.stop_token_ids(model, tokenizer))
        self.said: list[list[int]] = []
        self.ended: list[bool] = []
        self.scores: list[float] = []
        """Of the replies that were last asked about, before penalties."""

    def __call__(
        self, prompts: list[Any], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        texts = [chat_template.response_text(self.tokenizer, ids) for ids in completion_ids]
        scores = torch.tensor(self.score(prompts, texts))
        if not scores.isfinite().all():
            raise Diverged(f"the score of a reply is {scores[~scores.isfinite()][0]}")
        self.said, self.scores = completion_ids, scores.tolist()
        self.ended = [bool(ids) and ids[-1] in self.stops for ids in completion_ids]
        lengths = torch.tensor([len(ids) for ids in completion_ids])
        scores = scores - self.config.missing_eos_penalty * (~torch.tensor(self.ended)).float()
        penalised: list[float] = (scores - self.config.length_penalty * lengths).tolist()
        return penalised

    def measured(self) -> dict[str, float]:
        """Scores and watched numbers of the replies of all processes."""
        scores, said = distributed.gather(self.scores), distributed.gather(self.said)
        finished = [float(ended) for ended in distributed.gather(self.ended)]
        metrics = {"reward": mean(scores), "reward_deviation": statistics.pstdev(scores)}
        return metrics | reward_hacking.of_replies(said, finished)


def _hold_to(trainer: Any, anchor: Any, config: GroupConfig) -> None:
    """Give the trainer the starter as its reference. TRL would take the policy that training began
    with, or load a folder of the same name."""
    trainer.beta = config.beta
    if anchor is None or isinstance(anchor, str):
        callbacks.hold_to_adapter(trainer.model, anchor)
        return
    add_fused_lm_head(anchor, temperature=config.temperature)
    trainer.ref_model = trainer.accelerator.prepare_model(anchor, evaluation_mode=True)


rloo = partial(train, "rloo")
grpo = partial(train, "grpo")
