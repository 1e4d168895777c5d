"""`python -m benchmarks.ppo_engines.ours TASK.json`: the task on this project's PPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.ppo_engines.task import Clock, Task
from training.rlhf import rows
from training.rlhf.config import PPOConfig
from training.rlhf.language import generation
from training.rlhf.ppo import training_loop, update
from training.rlhf.reward import reward_model
from training.rlhf.run.work import Work


def config(task: Task) -> PPOConfig:
    """TRL's defaults where TRL has the setting, and of what it lacks only a rate for the critic's
    head: TRL's critic begins as a copy of the reward model, ours with a fresh head."""
    return PPOConfig(
        updates=task.updates,
        batch_size=task.batch_size,
        minibatch_size=task.batch_size,
        epochs=task.epochs,
        max_new_tokens=task.max_new_tokens,
        learning_rate=task.learning_rate,
        critic_learning_rate=1e-3,
        kl_coef=task.kl_coef,
        gamma=1.0,
        lam=0.95,
        clip_ratio=0.2,
        clip_value=0.2,
        value_coef=0.1,
        missing_eos_penalty=1.0,
        target_update_kl=None,
        score_clip=None,
        checkpoint_every=task.updates,
    )


def within(clock: Clock, phase: str, following: str, function: Callable[..., Any]) -> Any:
    """The function, with its seconds counted to `phase` and those after it to `following`."""

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        clock.enter(phase)
        try:
            return function(*args, **kwargs)
        finally:
            clock.enter(following)

    return timed


def main() -> None:
    task, clock = Task.read(), Clock()
    generation.generate = within(clock, "sampling", "scoring", generation.generate)
    update.PPO._optimise = within(clock, "training", "", update.PPO._optimise)
    lengths: list[float] = []
    work = Work.in_folder(task.out, seed=task.seed, device="cpu", threads=1)
    metrics = training_loop.train(
        task.starter,
        task.starter,
        list(rows.read(rows.Prompt, task.prompts)),
        reward_model.load(task.reward_model).score,
        config(task),
        Path(task.out) / "model",
        replace(work, report=lambda done, total, metrics: lengths.append(metrics["length"])),
    )
    clock.answer(task, reward_last=metrics["reward_last"], length=sum(lengths) / len(lengths))


if __name__ == "__main__":
    main()
