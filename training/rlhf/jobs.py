"""The single commands of `python -m training.rlhf`: one stage each, without a web app.

`--out DIR` is a stage folder like those of a round: it appears, whole, when the command is done;
the folder around it holds lock, progress, metrics and resume state, as in a run directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from training.rlhf import datafiles, trackers
from training.rlhf.config import (
    CompareJob,
    ConfigError,
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
from training.rlhf.data_config import (
    BlindJob,
    HumanJob,
    RedditJob,
    ScoreJob,
    SelectJob,
    SuccessJob,
)
from training.rlhf.rows import Prompt
from training.rlhf.rundir import RunDirectory

Metrics = dict[str, float]
Made = tuple[Metrics, dict[str, str]]
"""Metrics of a result, and what it was made from."""


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
    _, command = COMMANDS[name]
    run_dir.check()
    partial = run_dir.partial(stage)
    with trackers.forward(config.tracker, run_dir, stage, to_dict(config)) as finish:
        found = run_dir.perform(
            lambda: command(config, run_dir, stage, partial), shared=name in TOGETHER
        )
        metrics, parents = found or ({}, {})
        finish(metrics)
    run_dir.check()
    if run_dir.leads:
        meta = run_dir.meta(stage, to_dict(config), parents, metrics)
        run_dir.publish(stage, meta | (notes or {}))
    run_dir.wait()
    return metrics


def _require(config: Job, *names: str) -> None:
    missing = [name for name in names if not getattr(config, name)]
    if missing:
        raise ConfigError(f"the config file needs {', '.join(missing)}")


def _parents(config: Job) -> dict[str, str]:
    """Every file or folder that the config names."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    values |= values.pop("parts", {})
    for name in ("models", "reward_models"):
        paths = values.pop(name, ())
        named = paths.items() if isinstance(paths, dict) else enumerate(paths, start=1)
        values |= {f"{name}.{key}": path for key, path in named}
    for name in ("device", "tracker"):
        del values[name]
    return {k: v for k, v in values.items() if isinstance(v, str) and v}


def _work(config: Job, run_dir: RunDirectory, stage: str) -> Any:
    from training.rlhf import stages

    return stages.begin(
        run_dir, stage, seed=config.seed, threads=config.threads, device=config.device
    )


def _prompts(config: PolicyJob | EvaluateJob | CompareJob | SampleJob) -> Sequence[Prompt]:
    return datafiles.prompts(config.prompts, held_out_share=config.held_out_share)


def sft(config: SFTJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Train a starter policy into `out`/model."""
    _require(config.sft, "data")  # type: ignore[arg-type]
    work = _work(config, run_dir, stage)
    from training.rlhf import sft as training

    metrics = training.train(
        config.sft,
        out / "model",
        report=work.report,
        guard=run_dir.check,
        checkpoints=work.checkpoints,
        device=config.device,
    )
    return metrics, {"data": config.sft.data, "model": config.sft.model.path}


def reward(config: RewardJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Train `out`/model and `out`/judge."""
    if config.reward.loss == "regression":
        _require(config, "starter", "ratings")
        rated = datafiles.ratings(config.ratings, held_out_share=config.held_out_share)
        work = _work(config, run_dir, stage)
        from training.rlhf import reward_stage

        metrics = reward_stage.fit_rewards(work, config.starter, rated, config.reward, out)
        return metrics, _parents(config)
    _require(config, "starter", "preferences")
    pairs = datafiles.preferences(config.preferences, held_out_share=config.held_out_share)
    work = _work(config, run_dir, stage)
    from training.rlhf import reward_curve, reward_stage

    sizes = config.learning_curve
    if sizes:
        reward_curve.check(pairs, sizes, seed=config.seed)
    metrics = reward_stage.fit_rewards(work, config.starter, pairs, config.reward, out)
    if sizes:
        metrics |= reward_stage.draw_learning_curve(
            work, config.starter, pairs, config.reward, sizes, out, whole=metrics
        )
    return metrics, _parents(config)


def _rewards(config: PolicyJob) -> Any:
    """What scores replies, as `guidance.Rewards`."""
    from training.rlhf import guidance

    models = tuple(path for path in (config.reward_model, *config.reward_models) if path)
    if bool(models) == bool(config.reward_function):
        raise ConfigError("the config file needs reward_model or reward_function, and not both")
    return guidance.Rewards(models, config.disagreement, config.reward_function)


def ppo(config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Improve a policy into `out`/model."""
    _require(config, "starter", "prompts")
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf import guidance, stages

    metrics, _ = stages.improve(
        work,
        stages.Start(config.policy or config.starter, config.starter),
        _rewards(config),
        prompts,
        config.ppo,
        out / "model",
        judge=guidance.judge_of(work, config.judge, prompts, config.ppo) if config.judge else None,
    )
    return metrics, _parents(config)


def from_pairs(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> Made:
    """Improve a policy into `out`/model by preferences alone."""
    _require(config, "starter", "preferences")
    preferences = datafiles.preferences(config.preferences, held_out_share=config.held_out_share)
    work = _work(config, run_dir, stage)
    from training.rlhf import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    metrics = stages.learn_pairs(work, optimiser, start, preferences, config.pairs, out / "model")
    return metrics, _parents(config)


def from_groups(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> Made:
    """Improve a policy into `out`/model against a reward model, without a critic."""
    _require(config, "starter", "prompts")
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    metrics = stages.learn_groups(
        work, optimiser, start, _rewards(config), prompts, config.groups, out / "model"
    )
    return metrics, _parents(config)


def evaluate(config: EvaluateJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Compare two policies."""
    _require(config, "starter", "policy", "reward_model", "judge", "prompts")
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf import evaluate as evaluation

    folders = evaluation.Models(
        policy=config.policy,
        before=config.before or config.starter,
        starter=config.starter,
        reward=config.reward_model,
        judge=config.judge,
    )
    metrics = evaluation.run(
        folders,
        prompts,
        config.evaluate,
        out,
        seed=config.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=run_dir.check,
    )
    return metrics, _parents(config)


def compare(config: CompareJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Put any number of models beside each other."""
    _require(config, "models", "prompts")
    prompts = _prompts(config)
    from training.rlhf import human as people

    verdicts = people.read(config.votes, config.undecided) if config.votes else {}
    work = _work(config, run_dir, stage)
    from training.rlhf import answers
    from training.rlhf import compare as comparison

    place = answers.Place(config.seed, work.device, work.checkpoints, work.report, run_dir.check)
    return comparison.run(config, prompts, verdicts, out, place), _parents(config)


def sample(config: SampleJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Sample completions."""
    _require(config, "policy", "prompts")
    prompts = _prompts(config)
    work = _work(config, run_dir, stage)
    from training.rlhf import sample as sampling

    metrics = sampling.run(
        config.policy,
        config.starter or None,
        prompts,
        config.sample,
        out,
        compared=config.sample.prompts,
        seed=config.seed,
        device=work.device,
        checkpoints=work.checkpoints,
        report=work.report,
        guard=run_dir.check,
    )
    return metrics, _parents(config)


def save(config: SaveJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Write models as whole folders with cards."""
    _require(config, "parts")
    from training.rlhf import save as saving

    return saving.run(config.parts, out), _parents(config)


def reddit(config: RedditJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Make `out`/pairs.jsonl of a dump."""
    _require(config, "submissions", "comments")
    from training.rlhf import reddit as dump

    return dump.run(config.submissions, config.comments, config.reddit, out), _parents(config)


def score(config: ScoreJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Score the replies of a file into `out`/scores.jsonl."""
    _require(config, "replies")
    if bool(config.reward_model) == bool(config.reward_function):
        raise ConfigError("the config file needs reward_model or reward_function, and not both")
    chats = datafiles.chats(config.replies, held_out_share=config.held_out_share)
    work = _work(config, run_dir, stage)
    from training.rlhf import reward_model, scores, scoring

    judge = (
        scores.from_path(config.reward_function)
        if config.reward_function
        else reward_model.load(config.reward_model, device=work.device).score
    )
    metrics = scoring.run(
        chats, judge, out, batch_size=config.batch_size, report=work.report, guard=run_dir.check
    )
    return metrics, _parents(config)


def success(config: SuccessJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Count how often the models of a comparison score above a bar."""
    _require(config, "replies", "score", "baseline")
    from training.rlhf import success as counting

    found = counting.rates(config.replies, config.score, config.baseline, config.threshold)
    return found, {"replies": config.replies}


def select(config: SelectJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Link the best of several checkpoints to `out`/model."""
    _require(config, "replies", "score", "candidates")
    from training.rlhf import selection

    found = selection.run(config.replies, config.score, config.candidates, out)
    return found, {"replies": config.replies, **config.candidates}


def blind(config: BlindJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Make blind pairs for people of the replies of a comparison."""
    _require(config, "replies", "model", "other")
    from training.rlhf import human

    found = human.blind(config.replies, config.model, config.other, out, seed=config.seed)
    return found, {"replies": config.replies}


def human(config: HumanJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Read back what people said of blind pairs."""
    _require(config, "key", "votes")
    from training.rlhf import human as people

    return people.answer(config.key, config.votes, config.undecided), _parents(config)


def push(config: PushJob, run_dir: RunDirectory, stage: str, out: Path) -> Made:
    """Upload a model."""
    _require(config, "folder", "repo")
    from training.rlhf import hub

    return hub.push(config, out, scratch=run_dir.checkpoints(stage)), _parents(config)


Command = Callable[[Any, RunDirectory, str, Path], Made]

TOGETHER = ("sft", "reward", "ppo", "dpo", "kto", "orpo", "rloo", "grpo")
"""Commands that all processes of a launcher do; at the others they wait for the first."""

COMMANDS: dict[str, tuple[type[Job], Command]] = {
    "sft": (SFTJob, sft),
    "reward": (RewardJob, reward),
    "ppo": (PolicyJob, ppo),
    "dpo": (PolicyJob, partial(from_pairs, "dpo")),
    "kto": (PolicyJob, partial(from_pairs, "kto")),
    "orpo": (PolicyJob, partial(from_pairs, "orpo")),
    "rloo": (PolicyJob, partial(from_groups, "rloo")),
    "grpo": (PolicyJob, partial(from_groups, "grpo")),
    "evaluate": (EvaluateJob, evaluate),
    "compare": (CompareJob, compare),
    "sample": (SampleJob, sample),
    "reddit": (RedditJob, reddit),
    "score": (ScoreJob, score),
    "success": (SuccessJob, success),
    "select": (SelectJob, select),
    "blind": (BlindJob, blind),
    "human": (HumanJob, human),
    "save": (SaveJob, save),
    "push": (PushJob, push),
}
