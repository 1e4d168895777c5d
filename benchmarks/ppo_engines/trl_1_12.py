"""`python -m benchmarks.ppo_engines.trl_1_12 TASK.json`: the task on the PPOTrainer of TRL 1.12.

Runs in an environment of its own, without this project's requirements. 1.12.0 is the last release
with PPO; there it lived in `trl.experimental`, which the project itself never imports.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)

from benchmarks.ppo_engines.task import Clock, Task

ppo = importlib.import_module("trl.experimental.ppo")
ppo_trainer = importlib.import_module("trl.experimental.ppo.ppo_trainer")


def config(task: Task) -> Any:
    return ppo.PPOConfig(
        output_dir=str(Path(task.out) / "trainer"),
        total_episodes=task.updates * task.batch_size,
        per_device_train_batch_size=task.batch_size,
        local_rollout_forward_batch_size=task.batch_size,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=task.epochs,
        response_length=task.max_new_tokens,
        stop_token="eos",
        temperature=1.0,
        learning_rate=task.learning_rate,
        lr_scheduler_type="constant",
        kl_coef=task.kl_coef,
        kl_estimator="k1",
        gamma=1.0,
        lam=0.95,
        cliprange=0.2,
        cliprange_value=0.2,
        vf_coef=0.1,
        missing_eos_penalty=1.0,
        num_sample_generations=0,
        save_strategy="no",
        seed=task.seed,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )


def prompts(task: Task) -> Dataset:
    lines = Path(task.prompts).read_text("utf-8").splitlines()
    prompts = [json.loads(line) for line in lines]
    return Dataset.from_list([{"input_ids": p["input_ids"]} for p in prompts if not p["held_out"]])


def watch(clock: Clock, trainer: Any) -> None:
    """Sampling is `batch_generation`, training what happens inside `accumulate`, and scoring
    (log-probabilities, values, rewards, advantages) the rest."""
    generate, accumulate = ppo_trainer.batch_generation, trainer.accelerator.accumulate

    def sampling(*args: Any, **kwargs: Any) -> Any:
        clock.enter("sampling")
        generated = generate(*args, **kwargs)
        clock.enter("scoring")
        return generated

    @contextmanager
    def training(*args: Any) -> Iterator[None]:
        clock.enter("training")
        with accumulate(*args):
            yield

    ppo_trainer.batch_generation = sampling
    trainer.accelerator.accumulate = training


def main() -> None:
    task, clock = Task.read(), Clock()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(task.starter, padding_side="left")

    def classifier() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            task.reward_model, dtype=torch.float32
        )

    data = prompts(task)
    trainer = ppo.PPOTrainer(
        args=config(task),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(task.starter, dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(task.starter, dtype=torch.float32),
        reward_model=classifier(),
        value_model=classifier(),  # as in TRL's own examples
        train_dataset=data,
        eval_dataset=data.select(range(task.batch_size)),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    watch(clock, trainer)
    trainer.train()
    clock.enter("")
    policy = trainer.accelerator.unwrap_model(trainer.model).policy
    policy.generation_config.eos_token_id = tokenizer.eos_token_id
    policy.generation_config.pad_token_id = tokenizer.pad_token_id
    policy.save_pretrained(str(Path(task.out) / "model"))
    tokenizer.save_pretrained(str(Path(task.out) / "model"))
    clock.answer(task)


if __name__ == "__main__":
    main()
