"""A round's votes and settings for OpenRLHF, which trains what no longer fits here. Torch-free.

`python -m training.rlhf openrlhf RUN_DIR --out DIR` writes preferences and prompts as OpenRLHF's
datasets read them, and train.sh: its commands with the settings of the round. The flags are those
of OpenRLHF 0.11, which groups them by dots (`--actor.adam.lr`).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.config import ConfigError, PPOConfig, RewardConfig, RoundConfig, load
from training.rlhf.data import soft_labels
from training.rlhf.rows import Preference, Prompt
from training.rlhf.run import durable

GPUS = 8
"""Of one machine; the commands name it once, in a variable."""
CHECK = """\
for BATCH in {batches}; do
  if [ $((BATCH % GPUS)) -ne 0 ]; then
    echo "A batch of $BATCH does not divide by $GPUS GPUs: set GPUS to another number." >&2
    exit 2
  fi
done"""
"""The part of the commands that looks at the GPUs, before anything is loaded."""
PREFERENCES, HELD_OUT, PROMPTS = "preferences.jsonl", "held_out.jsonl", "prompts.jsonl"


def export(run_dir: str | Path, out: str | Path) -> dict[str, int]:
    """Write everything for OpenRLHF into a new folder.

    Returns:
        preferences, held_out, prompts, and what is left out because OpenRLHF learns no ties: ties.

    Raises:
        ConfigError: nothing to train on, or a folder that is there already.
        RowError: a broken line in an input file.
    """
    run_dir, out = Path(run_dir), Path(out)
    config = load(RoundConfig, run_dir / "config.json")
    voted = [
        row
        for row in rows.read(Preference, run_dir / "preferences.jsonl")
        if row.kind != "evaluation" and (row.votes or row.decided)
    ]
    train = list(_pairs(row for row in voted if not row.held_out))
    held_out = list(_pairs(row for row in voted if row.held_out))
    asked = [p for p in rows.read(Prompt, run_dir / "prompts.jsonl") if not p.held_out]
    if not train or not asked:
        raise ConfigError(f"{run_dir} has {len(train)} decided pairs and {len(asked)} prompts")
    if out.exists():
        raise ConfigError(f"{out} is there already")
    out.mkdir(parents=True)
    rows.write(out / PREFERENCES, train)
    rows.write(out / HELD_OUT, held_out)
    rows.write(out / PROMPTS, ({"messages": prompt.messages} for prompt in asked))
    durable.replace(out / "train.sh", script(config, pairs=len(train), prompts=len(asked)))
    counts = {"preferences": len(train), "held_out": len(held_out), "prompts": len(asked)}
    return counts | {"ties": len(voted) - len(train) - len(held_out)}


def _pairs(voted: Iterable[Preference]) -> Iterator[dict[str, Any]]:
    """Chats as lists of messages, which OpenRLHF joins before it applies the template."""
    for row in voted:
        better = soft_labels.verdict(row)
        if better is None:
            continue
        texts = [row.completion_a, row.completion_b]
        chosen, rejected = texts if better == "a" else reversed(texts)
        label = soft_labels.label(row)
        yield {
            "prompt": row.messages,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            # How clear the votes are, 0 to 1, which --model.margin_loss_enable would ask for.
            "margin": abs(2 * label.value - 1) if label else 1.0,
        }


def script(config: RoundConfig, *, pairs: int, prompts: int) -> str:
    """The commands: a reward model on `pairs` pairs, then PPO against it on `prompts` prompts.

    OpenRLHF shares each batch out among the GPUs. One that does not divide leaves some of them
    without work, for which the others wait: so batches divide, and another GPUS is looked at first.
    """
    gpus = min(GPUS, pairs, prompts)
    reward = reward_flags(config, config.reward, gpus)
    ppo = ppo_flags(config, config.ppo, prompts, gpus)
    batches = [reward["train.batch_size"], ppo["rollout.batch_size"], ppo["train.batch_size"]]
    parts = [
        "#!/bin/sh",
        "# Written by `python -m training.rlhf openrlhf` for OpenRLHF 0.11.",
        "set -eu",
        'cd "$(dirname "$0")"',
        f'GPUS="${{GPUS:-{gpus}}}"',
        CHECK.format(batches=" ".join(str(batch) for batch in batches)),
        _command('deepspeed --num_gpus "$GPUS" --module openrlhf.cli.train_rm', reward),
        _command("python3 -m openrlhf.cli.train_ppo_ray", ppo),
    ]
    return "\n".join(parts) + "\n"


def reward_flags(round_: RoundConfig, config: RewardConfig, gpus: int) -> dict[str, Any]:
    """Flags of openrlhf.cli.train_rm."""
    return {
        "model.model_name_or_path": round_.starter,
        "data.dataset": PREFERENCES,
        "eval.dataset": HELD_OUT,
        "eval.split": "train",  # the only split of a file
        "data.prompt_key": "prompt",
        "data.chosen_key": "chosen",
        "data.rejected_key": "rejected",
        "data.apply_chat_template": True,
        "data.max_len": config.max_length,
        "train.batch_size": _shared(config.batch_size, gpus),
        "train.micro_batch_size": 1,
        "train.max_epochs": max(1, round(config.epochs)),
        "adam.lr": config.learning_rate,
        "adam.weight_decay": config.weight_decay,
        "lr_warmup_ratio": config.warmup_ratio,
        "ds.zero_stage": 3,
        "ds.param_dtype": "bf16",
        "ds.value_head_prefix": "score",  # so that plain transformers loads it
        "model.gradient_checkpointing_enable": True,
        **_lora(config.lora),
        "ckpt.output_dir": "reward",
    }


def ppo_flags(round_: RoundConfig, config: PPOConfig, prompts: int, gpus: int) -> dict[str, Any]:
    """Flags of openrlhf.cli.train_ppo_ray.

    All models share the GPUs of one machine; the KL reference is the policy that training begins
    with, so it begins with the starter. Our updates are episodes there: passes over all prompts, of
    which the last, smaller batch is left out.
    """
    batch = _shared(min(config.batch_size, prompts), gpus)
    each = {f"{part}.num_nodes": 1 for part in ("actor", "ref", "critic", "reward")}
    everywhere = {
        f"{part}.num_gpus_per_node": "$GPUS" for part in ("actor", "ref", "critic", "reward")
    }
    return {
        **each,
        **everywhere,
        "vllm.num_engines": "$GPUS",
        "vllm.tensor_parallel_size": 1,
        "train.colocate_all": True,
        "vllm.enable_sleep": True,
        "ds.enable_sleep": True,
        "vllm.gpu_memory_utilization": 0.5,
        "actor.model_name_or_path": round_.starter,
        "critic.model_name_or_path": "reward",
        "reward.model_name_or_path": "reward",
        "reward.normalize_enable": True,
        "reward.clip_range": None if config.score_clip is None else _range(config.score_clip),
        "data.prompt_dataset": PROMPTS,
        "data.input_key": "messages",
        "data.apply_chat_template": True,
        "data.max_len": config.max_prompt_length + config.max_new_tokens,
        "rollout.max_new_tokens": config.max_new_tokens,
        "rollout.temperature": config.temperature,
        "rollout.batch_size": batch,
        "train.batch_size": _shared(min(config.minibatch_size, batch), gpus),
        "train.num_episodes": math.ceil(config.updates / (prompts // batch)),
        "train.micro_batch_size": 1,
        "train.max_epochs": config.epochs,
        "train.seed": round_.seed,
        "actor.adam.lr": config.learning_rate,
        "critic.adam.lr": config.critic_learning_rate or config.learning_rate,
        "actor.max_norm": config.max_grad_norm,
        "actor.eps_clip": config.clip_ratio,
        "actor.entropy_coef": config.entropy_coef or None,
        "critic.value_clip": config.clip_value,
        "algo.advantage.estimator": "gae",
        "algo.advantage.lambd": config.lam,
        "algo.advantage.gamma": config.gamma,
        "algo.kl.init_coef": config.kl_coef,
        "algo.kl.estimator": config.kl_estimator,
        "algo.kl.target": config.kl_target,
        "ds.zero_stage": 3,
        "ds.param_dtype": "bf16",
        "actor.gradient_checkpointing_enable": True,
        **_lora(config.lora),
        "ckpt.output_dir": "policy",
        "ckpt.save_hf": True,
    }


def _shared(batch: int, gpus: int) -> int:
    """The largest batch up to this one that divides by the GPUs; each has one at least."""
    return max(gpus, batch - batch % gpus)


def _range(limit: float) -> tuple[float, float]:
    return (-limit, limit)


def _lora(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    return {
        "ds.lora.rank": config.r,
        "ds.lora.alpha": config.alpha,
        "ds.lora.dropout": config.dropout,
    }


def _command(program: str, flags: dict[str, Any]) -> str:
    """One command over several lines: None leaves a flag out, True writes it without a value."""
    lines = [program]
    for name, value in flags.items():
        if value is None:
            continue
        values = () if value is True else value if isinstance(value, tuple) else (value,)
        words = [_word(each) for each in values]
        lines.append(" ".join([f"  --{name}", *words]))
    return " \\\n".join(lines)


def _word(value: Any) -> str:
    """Quoted for the shell, but for our own variable."""
    return '"$GPUS"' if value == "$GPUS" else shlex.quote(str(value))
