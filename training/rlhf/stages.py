"""The stages of a round: files of the run directory in, files of a stage out.

Glue only; each stage is a thin call of the module that does the work. The commands of
`python -m training.rlhf` call the same functions with folders of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from training.rlhf import (
    evaluate as evaluation,
)
from training.rlhf import (
    models,
    ppo,
    reward_model,
    reward_stage,
    rows,
    scores,
)
from training.rlhf import propose as proposal
from training.rlhf import sample as sampling
from training.rlhf.config import (
    GroupConfig,
    PairsConfig,
    PPOConfig,
    RoundConfig,
)
from training.rlhf.experience import Score
from training.rlhf.reward_model import RewardModel, Scale
from training.rlhf.round import Result
from training.rlhf.rows import Completion, Preference, Prompt
from training.rlhf.rundir import RunDirectory

SCALE_PROMPTS = 128
"""Replies of the starter whose scores fix the scale that PPO sees."""


@dataclass(frozen=True)
class Work:
    """One stage's share of a run: where to report, when to stop, what to compute on."""

    run: RunDirectory
    stage: str
    seed: int
    device: torch.device

    @property
    def checkpoints(self) -> Path:
        return self.run.checkpoints(self.stage)

    def report(self, done: int, total: int, metrics: dict[str, float] | None = None) -> None:
        """Progress, and metrics where there are any."""
        if metrics:
            self.run.record(self.stage, done, metrics)
        self.run.report(self.stage, done, total, describe(metrics or {}))


def describe(metrics: dict[str, float]) -> str:
    """The one or two numbers worth a place on the progress line."""
    shown = ("loss", "slice_loss", "judge_loss", "reward", "kl")
    return ", ".join(f"{name} {metrics[name]:.3g}" for name in shown if name in metrics)


def begin(run: RunDirectory, stage: str, *, seed: int, threads: int, device: str) -> Work:
    """Fix threads and device, and leave the terminal to our own progress."""
    disable_progress_bar()
    set_verbosity_error()
    models.fix_threads(threads)
    return Work(run, stage, seed, models.resolve_device(device))


def _begin(run: RunDirectory, stage: str, config: RoundConfig) -> Work:
    return begin(run, stage, seed=config.seed, threads=config.threads, device=config.device)


def _prompts(run: RunDirectory) -> list[Prompt]:
    return list(rows.read(Prompt, run.path / "prompts.jsonl"))


def _preferences(run: RunDirectory) -> list[Preference]:
    return list(rows.read(Preference, run.path / "preferences.jsonl"))


# train_reward


def train_reward(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Train the reward model and the judge on every vote outside the held-out prompts."""
    warm = config.reward.warm_start and bool(config.last_reward)
    base = config.last_reward if warm else config.starter
    work = _begin(run, "train_reward", config)
    metrics = reward_stage.fit_rewards(work, base, _preferences(run), config.reward, out)
    return Result(metrics, {"last_reward" if warm else "starter": base})


# train_policy


def train_policy(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Improve the last promoted policy: against this round's reward model, or by the votes."""
    work = _begin(run, "train_policy", config)
    start = Start(config.policy or config.starter, config.starter)
    scorer = run.folder("train_reward") / "model"
    parents = {"policy": start.policy, "starter": start.reference}
    if config.optimiser in ("dpo", "kto", "orpo"):
        found = _preferences(run)
        metrics = learn_pairs(work, config.optimiser, start, found, config.pairs, out / "model")
        return Result(metrics, parents)
    parents["reward"], rewards = str(scorer), Rewards((str(scorer),))
    if config.optimiser in ("rloo", "grpo"):
        asked = _prompts(run)
        metrics = learn_groups(
            work, config.optimiser, start, rewards, asked, config.groups, out / "model"
        )
        return Result(metrics, parents)
    metrics, stopped = improve(work, start, rewards, _prompts(run), config.ppo, out / "model")
    return Result(metrics, parents, {"stopped": stopped})


@dataclass(frozen=True)
class Start:
    """The policy that training begins with, and the one it is held to."""

    policy: str
    reference: str


@dataclass(frozen=True)
class Rewards:
    """What scores replies: reward models, or a Python function."""

    models: tuple[str, ...]
    disagreement: float = 0.0
    function: str = ""


def learn_pairs(
    work: Work,
    optimiser: str,
    start: Start,
    preferences: Sequence[Preference],
    config: PairsConfig,
    out: Path,
) -> dict[str, float]:
    """Run DPO, KTO or ORPO; the metrics."""
    from training.rlhf import preference_trainers  # TRL takes seconds to import

    return preference_trainers.train(
        optimiser,
        start.policy,
        start.reference,
        preferences,
        config,
        out,
        seed=work.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=work.run.check,
    )


def learn_groups(
    work: Work,
    optimiser: str,
    start: Start,
    rewards: Rewards,
    prompts: Sequence[Prompt],
    config: GroupConfig,
    out: Path,
) -> dict[str, float]:
    """Run RLOO or GRPO; the metrics."""
    from training.rlhf import group_trainers  # TRL takes seconds to import

    train = [prompt for prompt in prompts if not prompt.held_out]
    score, scale = _score(work, rewards, start.reference, train, config)
    metrics = group_trainers.train(
        optimiser,
        start.policy,
        start.reference,
        [{"messages": p.messages} for p in train],
        score,
        config,
        out,
        seed=work.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=work.run.check,
    )
    return metrics | {"score_mean": scale.mean, "score_deviation": scale.deviation}


def improve(
    work: Work,
    start: Start,
    rewards: Rewards,
    prompts: Sequence[Prompt],
    config: PPOConfig,
    out: Path,
) -> tuple[dict[str, float], str]:
    """Run PPO; the metrics, and why it ended early ("" when it did not)."""
    train = [prompt for prompt in prompts if not prompt.held_out]
    score, scale = _score(work, rewards, start.reference, train, config)
    metrics = ppo.train(
        start.policy,
        start.reference,
        [{"prompt_id": p.prompt_id, "messages": p.messages} for p in train],
        score,
        config,
        out,
        seed=work.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=work.run.check,
    )
    found = metrics | {"score_mean": scale.mean, "score_deviation": scale.deviation}
    return found, "kl" if metrics["stopped_early"] else ""


def _score(
    work: Work,
    rewards: Rewards,
    starter: str,
    prompts: Sequence[Prompt],
    config: PPOConfig | GroupConfig,
) -> tuple[Score, Scale]:
    """The score of a reply, and the scale of the first reward model. A function is taken as it is;
    models are scaled before they are joined, or the one with the widest scores would decide."""
    if rewards.function:
        return scores.from_path(rewards.function), Scale(0.0, 1.0)
    loaded = [reward_model.load(path, device=work.device) for path in rewards.models]
    scales = _scales(work, loaded, starter, prompts, config)
    each = [scale.apply(model.score) for scale, model in zip(scales, loaded, strict=True)]
    return scores.conservative(each, penalty=rewards.disagreement), scales[0]


def _scales(
    work: Work,
    loaded: Sequence[RewardModel],
    starter: str,
    prompts: Sequence[Prompt],
    config: PPOConfig | GroupConfig,
) -> list[Scale]:
    """Mean and spread of each model's scores of the starter's replies, computed once per run."""
    file = work.checkpoints / "scale.json"
    if not file.exists():
        order = np.random.default_rng([work.seed, 7]).permutation(len(prompts))[:SCALE_PROMPTS]
        chats = [prompts[i].messages for i in order]
        settings = sampling.Settings(config.temperature, config.max_new_tokens, 64)
        policy = sampling.Policy(starter, device=work.device)
        replies = [reply.text for reply in policy.reply(chats, settings, seed=work.seed)]
        found = [Scale.of(model.score(chats, replies)) for model in loaded]
        work.run.check()
        rows.write(file, [vars(scale) for scale in found])
    return [Scale(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


# evaluate, sample, propose


def evaluate(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Compare the new policy with the one before it."""
    work = _begin(run, "evaluate", config)
    folders = evaluation.Models(
        policy=str(run.folder("train_policy") / "model"),
        before=config.policy or config.starter,
        starter=config.starter,
        reward=str(run.folder("train_reward") / "model"),
        judge=str(run.folder("train_reward") / "judge"),
    )
    metrics = evaluation.run(
        folders,
        _prompts(run),
        config.evaluate,
        out,
        seed=work.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=run.check,
    )
    return Result(metrics, dict(vars(folders)))


def sample(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Sample the new policy, and the starter for blind comparisons."""
    work = _begin(run, "sample", config)
    policy = run.folder("train_policy") / "model"
    metrics = sampling.run(
        policy,
        config.starter,
        _prompts(run),
        config.sample,
        out,
        compared=config.propose.evaluation_pairs,
        # Each round draws other prompts, even where all rounds have one seed.
        seed=config.seed + config.number,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=run.check,
    )
    return Result(metrics, {"policy": str(policy), "starter": config.starter})


def propose(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Pick the pairs to queue."""
    work = _begin(run, "propose", config)
    completions = run.folder("sample") / "completions.jsonl"
    scorer = run.folder("train_reward") / "model"
    # Pruned weights of an old round that goes on cost the margins, not the pairs.
    model = reward_model.load(scorer, device=work.device) if scorer.is_dir() else None
    metrics = proposal.run(
        config.starter,
        _prompts(run),
        list(rows.read(Completion, completions)),
        _preferences(run),
        config.propose,
        out,
        held_out_share=config.sample.held_out_share,
        seed=config.seed + config.number,
        device=work.device,
        report=work.report,
        guard=run.check,
        score=model.score if model else None,
    )
    return Result(metrics, {"completions": str(completions), "starter": config.starter})
