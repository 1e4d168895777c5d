"""The stages of a round: files of the run directory in, files of a stage out.

Glue only; each stage is a thin call of the module that does the work. The commands of
`python -m training.rlhf` call the same functions with folders of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.rlhf import rows
from training.rlhf.active import propose as proposal
from training.rlhf.completions import sampling
from training.rlhf.config import (
    GroupConfig,
    PairsConfig,
    PPOConfig,
    RoundConfig,
)
from training.rlhf.evaluation import before_after
from training.rlhf.language import chat_template, pretrained
from training.rlhf.pipeline import policy_reward
from training.rlhf.ppo import training_loop
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.reward import model_and_judge, reward_model
from training.rlhf.round import Result
from training.rlhf.rows import Completion, Preference, Prompt
from training.rlhf.run.run_directory import RunDirectory
from training.rlhf.run.work import Work


def _begin(run: RunDirectory, stage: str, config: RoundConfig) -> Work:
    return Work.of_stage(run, stage, seed=config.seed, threads=config.threads, device=config.device)


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
    # A policy that cannot be prompted is refused before hours are spent on its reward model.
    chat_template.turn_end(pretrained.load_tokenizer(config.starter))
    metrics = model_and_judge.fit_rewards(base, _preferences(run), config.reward, out, work)
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
    parents["reward"], rewards = str(scorer), policy_reward.Rewards((str(scorer),))
    if config.optimiser in ("rloo", "grpo"):
        asked = _prompts(run)
        metrics = learn_groups(
            work, config.optimiser, start, rewards, asked, config.groups, out / "model"
        )
        return Result(metrics, parents)
    asked, folder = _prompts(run), run.folder("train_reward") / "judge"
    evaluated = before_after.choose(asked, config.evaluate.prompts, seed=config.seed)
    judge = policy_reward.judge_of(
        work, folder, asked, config.ppo, kl_max=config.gates.kl_max, spare=evaluated
    )
    metrics, stopped = improve(work, start, rewards, asked, config.ppo, out / "model", judge=judge)
    parents |= {"judge": str(folder)} if judge else {}
    return Result(metrics, parents, {"stopped": stopped})


@dataclass(frozen=True)
class Start:
    """The policy that training begins with, and the one it is held to."""

    policy: str
    reference: str


def learn_pairs(
    work: Work,
    optimiser: str,
    start: Start,
    preferences: Sequence[Preference],
    config: PairsConfig,
    out: Path,
) -> dict[str, float]:
    """Run DPO, KTO or ORPO; the metrics."""
    from training.rlhf.trainers import dpo_kto_orpo  # TRL takes seconds to import

    return dpo_kto_orpo.train(
        optimiser,
        start.policy,
        start.reference,
        preferences,
        config,
        out,
        work,
    )


def learn_groups(
    work: Work,
    optimiser: str,
    start: Start,
    rewards: policy_reward.Rewards,
    prompts: Sequence[Prompt],
    config: GroupConfig,
    out: Path,
) -> dict[str, float]:
    """Run RLOO or GRPO; the metrics."""
    from training.rlhf.trainers import rloo_grpo  # TRL takes seconds to import

    train = [prompt for prompt in prompts if not prompt.held_out]
    score, scale, made_of = policy_reward.score_of(work, rewards, start.reference, train, config)
    metrics = rloo_grpo.train(
        optimiser,
        start.policy,
        start.reference,
        [{"messages": p.messages} for p in train],
        score,
        config,
        out,
        work,
        score_digest=made_of,
    )
    return metrics | {"score_mean": scale.mean, "score_deviation": scale.deviation}


def improve(
    work: Work,
    start: Start,
    rewards: policy_reward.Rewards,
    prompts: Sequence[Prompt],
    config: PPOConfig,
    out: Path,
    *,
    judge: Judge | None = None,
) -> tuple[dict[str, float], str]:
    """Run PPO; the metrics, and why it ended early ("" when it did not)."""
    train = [prompt for prompt in prompts if not prompt.held_out]
    score, scale, made_of = policy_reward.score_of(work, rewards, start.reference, train, config)
    metrics = training_loop.train(
        start.policy,
        start.reference,
        [{"prompt_id": p.prompt_id, "messages": p.messages} for p in train],
        score,
        config,
        out,
        work,
        score_digest=made_of,
        judge=judge,
    )
    found = metrics | {"score_mean": scale.mean, "score_deviation": scale.deviation}
    return found, "kl" if metrics["stopped_early"] else ""


# evaluate, sample, propose


def evaluate(run: RunDirectory, config: RoundConfig, out: Path) -> Result:
    """Compare the new policy with the one before it."""
    work = _begin(run, "evaluate", config)
    folders = before_after.Models(
        policy=str(run.folder("train_policy") / "model"),
        before=config.policy or config.starter,
        starter=config.starter,
        reward=str(run.folder("train_reward") / "model"),
        judge=str(run.folder("train_reward") / "judge"),
    )
    metrics = before_after.run(
        folders,
        _prompts(run),
        config.evaluate,
        out,
        work,
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
        # Each round draws other prompts, even where all rounds have one seed.
        replace(work, seed=config.seed + config.number),
        compared=config.propose.evaluation_pairs,
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
        replace(work, seed=config.seed + config.number),
        held_out_share=config.sample.held_out_share,
        score=model.score if model else None,
    )
    return Result(metrics, {"completions": str(completions), "starter": config.starter})
