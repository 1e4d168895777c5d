"""Improving a policy by whichever optimiser `config.OPTIMISERS` names, for rounds and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.rlhf.config import OPTIMISERS, PolicyJob, RoundConfig
from training.rlhf.data import data_files
from training.rlhf.language import weight_dtype
from training.rlhf.pipeline import policy_reward, rollout_log
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.rows import Preference, Prompt
from training.rlhf.run.entry_points import load_function
from training.rlhf.run.work import Work


@dataclass(frozen=True)
class Start:
    """The policy that training begins with, and the one it is held to."""

    policy: str
    reference: str

    @classmethod
    def of(cls, config: RoundConfig | PolicyJob) -> Start:
        """The configured policy, or the starter, held to the starter."""
        return cls(config.policy or config.starter, config.starter)


def _settings(config: RoundConfig | PolicyJob, section: str, work: Work) -> Any:
    """The optimiser's section, with the number format that `auto` stands for here."""
    start = config.policy or config.starter
    return weight_dtype.with_dtype(getattr(config, section), start, work.device)


def command(name: str, config: PolicyJob, out: Path, work: Work) -> dict[str, float]:
    """Improve a policy into `out`/model by the optimiser of this name; the metrics."""
    share = config.held_out_share
    if OPTIMISERS[name].learns_from == "preferences":
        preferences = data_files.preferences(config.preferences, held_out_share=share)
        return by_preferences(name, config, preferences, out, work) | preferences.counted
    prompts = data_files.prompts(config.prompts, held_out_share=share)
    models = tuple(path for path in (config.reward_model, *config.reward_models) if path)
    rewards = policy_reward.Rewards(
        models, config.disagreement, config.reward_function, config.reward_functions
    )
    judge = None
    if OPTIMISERS[name].judged and config.judge:
        judge = policy_reward.judge_of(work, config.judge, prompts, config.ppo)
    metrics = by_reward(name, config, rewards, prompts, out, work, judge=judge)
    return metrics | prompts.counted


def by_preferences(
    name: str,
    config: RoundConfig | PolicyJob,
    preferences: Sequence[Preference],
    out: Path,
    work: Work,
) -> dict[str, float]:
    """Improve a policy into `out`/model by preferences alone; the metrics."""
    optimiser, start = OPTIMISERS[name], Start.of(config)
    settings = _settings(config, optimiser.settings, work)
    metrics: dict[str, float] = load_function(optimiser.function)(
        start.policy, start.reference, preferences, settings, out / "model", work
    )
    return metrics


def by_reward(
    name: str,
    config: RoundConfig | PolicyJob,
    rewards: policy_reward.Rewards,
    prompts: Sequence[Prompt],
    out: Path,
    work: Work,
    *,
    judge: Judge | None = None,
) -> dict[str, float]:
    """Improve a policy into `out`/model against a reward.

    Args:
        out: also gets rollouts.jsonl, some replies of each update.
        prompts: held-out ones are left out.
        judge: picks among the checkpoints of an optimiser that is `judged`.

    Returns:
        The optimiser's metrics; score_mean and score_deviation of the reward's scale.
    """
    optimiser, start = OPTIMISERS[name], Start.of(config)
    settings = _settings(config, optimiser.settings, work)
    train = [prompt for prompt in prompts if not prompt.held_out]
    score, scale, made_of = policy_reward.score_of(work, rewards, start.reference, train, settings)
    kept = rollout_log.RolloutLog(work, replies=settings.batch_size)
    metrics: dict[str, float] = load_function(optimiser.function)(
        start.policy,
        start.reference,
        train,
        kept.watched(score),
        settings,
        out / "model",
        kept.work(),
        score_digest=made_of,
        **({"judge": judge} if optimiser.judged else {}),
    )
    kept.publish(out)
    return metrics | {"score_mean": scale.mean, "score_deviation": scale.deviation}
