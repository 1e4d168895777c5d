"""The single commands of `python -m training.rlhf`: one stage each, without a web app.

`--out DIR` is a stage folder like those of a round: it appears, whole, when the command is done;
the folder around it holds lock, progress, metrics and resume state, as in a run directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from training.rlhf.config import (
    CompareJob,
    EvaluateJob,
    Job,
    PolicyJob,
    PushJob,
    RewardJob,
    SampleJob,
    SaveJob,
    SFTJob,
    to_dict,
)
from training.rlhf.config.config_file import require
from training.rlhf.config.data_config import (
    BlindJob,
    HumanJob,
    RedditJob,
    ScoreJob,
    SelectJob,
    SuccessJob,
)
from training.rlhf.data import data_files, input_fingerprints
from training.rlhf.rows import Prompt
from training.rlhf.run import trackers
from training.rlhf.run.run_directory import RunDirectory
from training.rlhf.run.work import Work

Metrics = dict[str, float]


def run(
    name: str,
    config: Job,
    run_dir: RunDirectory,
    stage: str,
    *,
    notes: dict[str, Any] | None = None,
) -> Metrics:
    """Run a command in a claimed run directory; its metrics.

    Args:
        notes: further entries of the result's meta.json.

    Raises:
        ConfigError: a setting is missing, or does not fit the data.
    """
    command = COMMANDS[name]
    check(name, config)
    run_dir.check()
    partial = run_dir.partial(stage)
    with trackers.forward(config.tracker, run_dir, stage, to_dict(config)) as finish:
        metrics = run_dir.perform(
            lambda: command.run(config, run_dir, stage, partial), shared=command.shared
        )
        finish(metrics or {})
    run_dir.check()
    if run_dir.leads and metrics is not None:
        meta = run_dir.meta(stage, to_dict(config), input_fingerprints.sources(config), metrics)
        run_dir.publish(stage, meta | (notes or {}))
    run_dir.wait()
    return metrics or {}


def check(name: str, config: Job) -> None:
    """Raise ConfigError where the config lacks what its command cannot do without."""
    needed = COMMANDS[name].needs
    if isinstance(config, RewardJob):
        needed += ("ratings" if config.reward.loss == "regression" else "preferences",)
        require(
            not config.reward.warm_start,
            "reward.warm_start is for rounds: name the earlier model as `starter`",
        )
    missing = [setting for setting in needed if not attrgetter(setting)(config)]
    require(not missing, f"the config file needs {', '.join(missing)}")
    if name in SCORED:
        found = [getattr(config, setting, ()) for setting in ("reward_model", "reward_models")]
        require(
            any(found) != bool(attrgetter("reward_function")(config)),
            "the config file needs reward_model or reward_function, and not both",
        )


def _work(config: Job, run_dir: RunDirectory, stage: str) -> Work:
    return Work.of_stage(
        run_dir, stage, seed=config.seed, threads=config.threads, device=config.device
    )


def _prompts(config: PolicyJob | EvaluateJob | CompareJob | SampleJob) -> Sequence[Prompt]:
    return data_files.prompts(config.prompts, held_out_share=config.held_out_share)


def sft(config: SFTJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Train a starter policy into `out`/model."""
    work = _work(config, run_dir, stage)
    from training.rlhf.trainers import sft as training

    return training.train(config.sft, out / "model", work)


def reward(config: RewardJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Train `out`/model and `out`/judge."""
    share, sizes = config.held_out_share, config.learning_curve
    if config.reward.loss == "regression":
        rated = data_files.ratings(config.ratings, held_out_share=share)
        work = _work(config, run_dir, stage)
        from training.rlhf.reward import model_and_judge

        return model_and_judge.fit_rewards(config.starter, rated, config.reward, out, work)
    pairs = data_files.preferences(config.preferences, held_out_share=share)
    work = _work(config, run_dir, stage)
    from training.rlhf.reward import learning_curve, model_and_judge

    if sizes:
        learning_curve.check(pairs, sizes, seed=config.seed)
    metrics = model_and_judge.fit_rewards(config.starter, pairs, config.reward, out, work)
    if sizes:
        metrics |= model_and_judge.draw_learning_curve(
            config.starter, pairs, config.reward, sizes, out, work, whole=metrics
        )
    return metrics


def _rewards(config: PolicyJob) -> Any:
    """What scores replies, as `guidance.Rewards`."""
    from training.rlhf.pipeline import policy_reward

    models = tuple(path for path in (config.reward_model, *config.reward_models) if path)
    return policy_reward.Rewards(models, config.disagreement, config.reward_function)


def ppo(config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Improve a policy into `out`/model."""
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf.pipeline import policy_reward, stages

    metrics, _ = stages.improve(
        work,
        stages.Start(config.policy or config.starter, config.starter),
        _rewards(config),
        prompts,
        config.ppo,
        out / "model",
        judge=policy_reward.judge_of(work, config.judge, prompts, config.ppo)
        if config.judge
        else None,
    )
    return metrics


def from_pairs(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> Metrics:
    """Improve a policy into `out`/model by preferences alone."""
    preferences = data_files.preferences(config.preferences, held_out_share=config.held_out_share)
    work = _work(config, run_dir, stage)
    from training.rlhf.pipeline import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    return stages.learn_pairs(work, optimiser, start, preferences, config.pairs, out / "model")


def from_groups(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> Metrics:
    """Improve a policy into `out`/model against a reward model, without a critic."""
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf.pipeline import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    return stages.learn_groups(
        work, optimiser, start, _rewards(config), prompts, config.groups, out / "model"
    )


def evaluate(config: EvaluateJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Compare two policies."""
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf.evaluation import before_after

    folders = before_after.Models(
        policy=config.policy,
        before=config.before or config.starter,
        starter=config.starter,
        reward=config.reward_model,
        judge=config.judge,
    )
    return before_after.run(folders, prompts, config.evaluate, out, work)


def compare(config: CompareJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Put any number of models beside each other."""
    prompts = _prompts(config)
    from training.rlhf.evaluation import blind_pairs

    verdicts = blind_pairs.read(config.votes, config.undecided) if config.votes else {}
    work = _work(config, run_dir, stage)
    from training.rlhf.evaluation import comparison

    return comparison.run(config, prompts, verdicts, out, work)


def sample(config: SampleJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Sample completions."""
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf.completions import sampling

    return sampling.run(
        config.policy,
        config.starter or None,
        prompts,
        config.sample,
        out,
        work,
        compared=config.sample.prompts,
    )


def save(config: SaveJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Write models as whole folders with cards."""
    from training.rlhf.delivery import model_folder

    return model_folder.run(config.parts, out)


def reddit(config: RedditJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Make `out`/pairs.jsonl of a dump."""
    from training.rlhf.data import reddit as dump

    return dump.run(config.submissions, config.comments, config.reddit, out)


def score(config: ScoreJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Score the replies of a file into `out`/scores.jsonl."""
    chats = data_files.chats(config.replies, held_out_share=config.held_out_share)
    work = _work(config, run_dir, stage)
    from training.rlhf.evaluation import score_replies
    from training.rlhf.reward import reward_model, score_functions

    judge = (
        score_functions.from_path(config.reward_function)
        if config.reward_function
        else reward_model.load(config.reward_model, device=work.device).score
    )
    return score_replies.run(chats, judge, out, work, batch_size=config.batch_size)


def success(config: SuccessJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Count how often the models of a comparison score above a bar."""
    from training.rlhf.evaluation import success_rates

    return success_rates.rates(
        config.replies, config.score, config.baseline, config.threshold, seed=config.seed
    )


def select(config: SelectJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Link the best of several checkpoints to `out`/model."""
    from training.rlhf.evaluation import best_of_models

    return best_of_models.run(config.replies, config.score, config.candidates, out)


def blind(config: BlindJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Make blind pairs for people of the replies of a comparison."""
    from training.rlhf.evaluation import blind_pairs

    return blind_pairs.blind(config.replies, config.model, config.other, out, seed=config.seed)


def human(config: HumanJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Read back what people said of blind pairs."""
    from training.rlhf.evaluation import blind_pairs

    return blind_pairs.answer(config.key, config.votes, config.undecided)


def push(config: PushJob, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    """Upload a model."""
    from training.rlhf.delivery import hub_upload

    return hub_upload.push(config, out, scratch=run_dir.checkpoints(stage))


SCORED = ("ppo", "rloo", "grpo", "score")
"""Commands that take the scores of reward models or of a Python function."""


@dataclass(frozen=True)
class Command:
    """A command: its settings, and the function of (config, run, stage, out) that does it."""

    kind: type[Job]
    run: Callable[[Any, RunDirectory, str, Path], Metrics]
    needs: tuple[str, ...]
    """Settings that may not be empty; `check` knows more."""
    shared: bool = False
    """Whether all processes of a launcher do it; otherwise they wait for the first."""


_FROM_PAIRS = ("starter", "preferences")
_FROM_PROMPTS = ("starter", "prompts")
_COMPARED = ("starter", "policy", "reward_model", "judge", "prompts")

COMMANDS = {
    "sft": Command(SFTJob, sft, ("sft.data",), shared=True),
    "reward": Command(RewardJob, reward, ("starter",), shared=True),
    "ppo": Command(PolicyJob, ppo, _FROM_PROMPTS, shared=True),
    "dpo": Command(PolicyJob, partial(from_pairs, "dpo"), _FROM_PAIRS, shared=True),
    "kto": Command(PolicyJob, partial(from_pairs, "kto"), _FROM_PAIRS, shared=True),
    "orpo": Command(PolicyJob, partial(from_pairs, "orpo"), _FROM_PAIRS, shared=True),
    "rloo": Command(PolicyJob, partial(from_groups, "rloo"), _FROM_PROMPTS, shared=True),
    "grpo": Command(PolicyJob, partial(from_groups, "grpo"), _FROM_PROMPTS, shared=True),
    "evaluate": Command(EvaluateJob, evaluate, _COMPARED),
    "compare": Command(CompareJob, compare, ("models", "prompts")),
    "sample": Command(SampleJob, sample, ("policy", "prompts")),
    "reddit": Command(RedditJob, reddit, ("submissions", "comments")),
    "score": Command(ScoreJob, score, ("replies",)),
    "success": Command(SuccessJob, success, ("replies", "score", "baseline")),
    "select": Command(SelectJob, select, ("replies", "score", "candidates")),
    "blind": Command(BlindJob, blind, ("replies", "model", "other")),
    "human": Command(HumanJob, human, ("key", "votes")),
    "save": Command(SaveJob, save, ("parts",)),
    "push": Command(PushJob, push, ("folder", "repo")),
}
