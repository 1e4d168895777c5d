"""The stages of a round: files of the run directory in, files of a stage out.

Glue only; each stage is a thin call of the module that does the work. The commands of
`python -m training.rlhf` call the same functions with folders of their own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.rlhf import rows
from training.rlhf.active import chosen_pairs
from training.rlhf.completions import sampling
from training.rlhf.config import OPTIMISERS, RoundConfig
from training.rlhf.evaluation import comparison
from training.rlhf.language import chat_template, pretrained
from training.rlhf.pipeline import policy_reward
from training.rlhf.pipeline.policy_training import Start, by_preferences, by_reward
from training.rlhf.reward import model_and_judge, reward_model
from training.rlhf.round import SAMPLE, TRAIN_POLICY, TRAIN_REWARD, Result
from training.rlhf.rows import Completion, Preference, Prompt
from training.rlhf.run.run_directory import RunDirectory
from training.rlhf.run.work import Work


def _prompts(run: RunDirectory) -> list[Prompt]:
    return list(rows.read(Prompt, run.path / "prompts.jsonl"))


def _preferences(run: RunDirectory) -> list[Preference]:
    return list(rows.read(Preference, run.path / "preferences.jsonl"))


# train_reward


def train_reward(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """Train the reward model and the judge on every vote outside the held-out prompts."""
    warm = config.reward.warm_start and bool(config.last_reward)
    base = config.last_reward if warm else config.starter
    # A policy that cannot be prompted is refused before hours are spent on its reward model.
    chat_template.turn_end(pretrained.load_tokenizer(config.starter))
    metrics = model_and_judge.fit_rewards(base, _preferences(run), config.reward, out, work)
    parents = {"last_reward" if warm else "starter": base}
    if config.reward.judge and config.reward.judge_base:
        parents["judge_base"] = config.reward.judge_base
    return Result(metrics, parents)


# train_policy


def train_policy(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """Improve the last promoted policy: against this round's reward model, or by the votes."""
    name, start = config.optimiser, Start.of(config)
    parents = {"policy": start.policy, "starter": start.reference}
    if OPTIMISERS[name].learns_from == "preferences":
        return Result(by_preferences(name, config, _preferences(run), out, work), parents)
    prompts, judge = _prompts(run), None
    scorer, second = (run.folder(TRAIN_REWARD) / model for model in ("model", "judge"))
    if OPTIMISERS[name].judged:
        evaluated = comparison.held_out_prompts(prompts, config.evaluate.prompts, seed=config.seed)
        judge = policy_reward.judge_of(
            work, second, prompts, config.ppo, kl_max=config.gates.kl_max, spare=evaluated
        )
    rewards = policy_reward.Rewards((str(scorer),), functions=config.reward_functions)
    metrics = by_reward(name, config, rewards, prompts, out, work, judge=judge)
    parents |= {"reward": str(scorer)} | ({"judge": str(second)} if judge else {})
    return Result(metrics, parents, _why_ended(metrics))


def _why_ended(metrics: dict[str, float]) -> dict[str, str] | None:
    """The note of an optimiser that may end early: "kl", or "" where it did not."""
    if "stopped_early" not in metrics:
        return None
    return {"stopped": "kl" if metrics["stopped_early"] else ""}


# evaluate, sample, propose


def evaluate(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """Compare the new policy with the one before it."""
    judge = run.folder(TRAIN_REWARD) / "judge"
    folders = comparison.Models(
        policy=str(run.folder(TRAIN_POLICY) / "model"),
        before=config.policy or config.starter,
        starter=config.starter,
        reward=str(run.folder(TRAIN_REWARD) / "model"),
        judge=str(judge) if config.reward.judge else "",
    )
    metrics = comparison.evaluate(
        folders,
        _prompts(run),
        config.evaluate,
        out,
        work,
    )
    return Result(metrics, {role: folder for role, folder in vars(folders).items() if folder})


def sample(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """Sample the new policy, and the one before and the starter for blind comparisons."""
    policy = run.folder(TRAIN_POLICY) / "model"
    others: dict[rows.Author, str | Path] = {"starter": config.starter}
    # A server that knows one other policy by name cannot write for two.
    named = config.sample.endpoint is not None and bool(config.sample.endpoint.other)
    if config.policy not in ("", config.starter) and not named:
        others["before"] = config.policy
    metrics = sampling.sample_completions(
        policy,
        others,
        _prompts(run),
        config.sample,
        out,
        # Each round draws other prompts, even where all rounds have one seed.
        replace(work, seed=config.seed + config.number),
        compared=config.propose.evaluation_pairs,
    )
    return Result(metrics, {"policy": str(policy)} | {n: str(at) for n, at in others.items()})


def propose_pairs(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    """Pick the pairs to queue."""
    completions = run.folder(SAMPLE) / "completions.jsonl"

    def score(name: str) -> chosen_pairs.Score | None:
        folder = run.folder(TRAIN_REWARD) / name
        # Pruned weights of an old round that goes on cost the margins, not the pairs.
        return reward_model.load(folder, device=work.device).score if folder.is_dir() else None

    metrics = chosen_pairs.propose_pairs(
        config.starter,
        _prompts(run),
        list(rows.read(Completion, completions)),
        _preferences(run),
        config.propose,
        out,
        replace(work, seed=config.seed + config.number),
        held_out_share=config.sample.held_out_share,
        score=score("model"),
        judge=score("judge"),
    )
    return Result(metrics, {"completions": str(completions), "starter": config.starter})
