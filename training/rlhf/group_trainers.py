"""Policies from groups of sampled replies and a score, by TRL: RLOO and GRPO.

There is no critic: a reply is compared with the others to the same prompt. One update samples
`batch_size` replies and trains on them; training resumes at the edges of updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase as Tokenizer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer import add_fused_lm_head

from training.rlhf import actor_critic, chat, models, trainer_edge
from training.rlhf.config import ConfigError, GroupConfig
from training.rlhf.experience import Diverged, Score
from training.rlhf.trainer_edge import Report

METRICS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "reward": "reward",
    "reward_std": "reward_deviation",
    "completions/mean_length": "length",
}
"""TRL's names to ours."""

KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "rloo": (RLOOTrainer, RLOOConfig),
    "grpo": (GRPOTrainer, GRPOConfig),
}
KL = {"rloo": "kl", "grpo": "kl_per_token"}
"""RLOO measures KL per reply, as PPO does; GRPO its mean over tokens."""


def train(
    optimiser: str,
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[dict[str, Any]],
    score: Score,
    config: GroupConfig,
    out: str | Path,
    *,
    seed: int,
    device: torch.device,
    checkpoints: Path,
    report: Report,
    guard: Callable[[], None],
) -> dict[str, float]:
    """Train a policy by `rloo` or `grpo` and write it to `out`.

    Args:
        policy: folder to start from.
        reference: the supervised starter, which KL is measured to.
        prompts: rows with `messages`.
        score: chats and replies to one number each.
        report, guard, checkpoints: see trainer_edge.run.

    Returns:
        The mean of the last tenth of each logged metric, reward_first, and updates.

    Raises:
        ConfigError: there is no prompt, one is too long, or checkpoints are of another run.
        Diverged: a score, the loss or a weight is no longer finite.
        ModelError: the model cannot be trained here.
        Stopped: a stop was asked for; calling again resumes.
    """
    if not prompts:
        raise ConfigError("there is no prompt to train on (held-out prompts never are)")
    asked = [prompt["messages"] for prompt in prompts]
    trainer_edge.require_same_run(checkpoints, config, optimiser, seed, data=asked)
    tokenizer = models.load_tokenizer(policy)
    models.seed_everything(seed)
    model, anchor = actor_critic.load_pair(
        policy, reference, lora=config.lora, dtype=config.dtype, device=device
    )
    trainer = _trainer(
        optimiser,
        model,
        _Reward(score, tokenizer, config, actor_critic.base_model(model)),
        _rows(tokenizer, prompts, config.max_prompt_length),
        _arguments(config, checkpoints, seed=seed, device=device)
        | {"chat_template_kwargs": chat.switches(tokenizer)},
    )
    _hold_to(trainer, anchor, config)
    names = METRICS | {"kl": KL[optimiser]}
    steps = config.batch_size // config.minibatch_size * config.epochs
    trainer_edge.run(
        trainer, checkpoints=checkpoints, report=report, guard=guard, names=names, every=steps
    )
    trained = trainer.accelerator.unwrap_model(trainer.model)
    trainer_edge.check_weights(trained)
    models.save_model(trained, tokenizer, out)
    return _summary(trainer.state, names, steps)


def _trainer(
    optimiser: str, model: Any, reward: _Reward, prompts: Dataset, arguments: dict[str, Any]
) -> Any:
    trainer_edge.require_causal(model, optimiser)
    models.without_dropout(model)
    # TRL takes the ends of a reply from here, and knows nothing of chat templates.
    actor_critic.base_model(model).generation_config.eos_token_id = sorted(reward.stops)
    kind, settings = KINDS[optimiser]
    return kind(
        model=model,
        reward_funcs=reward,
        args=settings(**arguments),
        train_dataset=prompts,
        processing_class=reward.tokenizer,
    )


def _arguments(
    config: GroupConfig, checkpoints: Path, *, seed: int, device: torch.device
) -> dict[str, Any]:
    steps = config.batch_size // config.minibatch_size
    return trainer_edge.arguments(config, checkpoints, seed=seed, device=device) | {
        "per_device_train_batch_size": config.minibatch_size,
        "steps_per_generation": steps,
        "num_iterations": config.epochs,
        "num_generations": config.group_size,
        "max_steps": config.updates * steps * config.epochs,
        "save_steps": config.checkpoint_every * steps * config.epochs,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "epsilon": config.clip_ratio,
        "lr_scheduler_type": "constant",
        # Otherwise TRL loads a reference of its own choice; see _hold_to.
        "beta": 0.0,
    }


def _rows(tokenizer: Tokenizer, prompts: Sequence[dict[str, Any]], longest: int) -> Dataset:
    """Prompts as chats, which TRL renders by the same template.

    Raises:
        ConfigError: a prompt is too long; TRL cannot cut it from the left.
    """
    for prompt in prompts:
        tokens = len(chat.prompt_ids(tokenizer, prompt["messages"]))
        if tokens > longest:
            raise ConfigError(
                f"a prompt has {tokens} tokens, more than groups.max_prompt_length {longest}: "
                "raise it, or shorten the prompt"
            )
    return Dataset.from_list([{"prompt": prompt["messages"]} for prompt in prompts])


class _Reward:
    """The score of a reply as TRL asks for it, with the penalties of the config."""

    __name__ = "score"

    def __init__(self, score: Score, tokenizer: Tokenizer, config: GroupConfig, model: Any) -> None:
        self.score, self.tokenizer, self.config = score, tokenizer, config
        self.stops = set(models.stop_token_ids(model, tokenizer))

    def __call__(
        self, prompts: list[Any], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        texts = [chat.response_text(self.tokenizer, ids) for ids in completion_ids]
        scores = torch.tensor(self.score(prompts, texts))
        if not scores.isfinite().all():
            raise Diverged(f"the score of a reply is {scores[~scores.isfinite()][0]}")
        lengths = torch.tensor([len(ids) for ids in completion_ids])
        ended = torch.tensor([bool(ids) and ids[-1] in self.stops for ids in completion_ids])
        scores = scores - self.config.missing_eos_penalty * (~ended).float()
        found: list[float] = (scores - self.config.length_penalty * lengths).tolist()
        return found


def _hold_to(trainer: Any, anchor: Any, config: GroupConfig) -> None:
    """Give the trainer the starter as its reference. TRL would take the policy that training began
    with, or load a folder of the same name."""
    trainer.beta = config.beta
    if anchor is None or isinstance(anchor, str):
        trainer_edge.hold_to_adapter(trainer.model, anchor)
        return
    add_fused_lm_head(anchor, temperature=config.temperature)
    trainer.ref_model = trainer.accelerator.prepare_model(anchor, evaluation_mode=True)


def _summary(state: Any, names: dict[str, str], steps: int) -> dict[str, float]:
    found = trainer_edge.summary(state, names)
    rewards = [line["reward"] for line in state.log_history if "reward" in line]
    edge = max(1, len(rewards) // 5)
    return found | {
        "reward_first": sum(rewards[:edge]) / edge,
        "reward_last": sum(rewards[-edge:]) / edge,
        "updates": found["steps"] / steps,
    }
