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

from training.rlhf import datafiles, rows
from training.rlhf.config import (
    ConfigError,
    EvaluateJob,
    Job,
    PolicyJob,
    RewardJob,
    SampleJob,
    SFTJob,
    load,
    to_dict,
)
from training.rlhf.rows import Prompt
from training.rlhf.rundir import RunDirectory

Metrics = dict[str, float]


def run(name: str, config_path: str, run_dir: RunDirectory, stage: str) -> Metrics:
    """Run a command in a claimed run directory; its metrics.

    Raises:
        ConfigError: the file is wrong, or lacks a setting.
    """
    kind, command = COMMANDS[name]
    config = load(kind, config_path)
    run_dir.check()
    partial = run_dir.partial(stage)
    metrics, parents = command(config, run_dir, stage, partial)
    run_dir.check()
    run_dir.publish(stage, run_dir.meta(stage, to_dict(config), parents, metrics))
    return metrics


def _require(config: Job, *names: str) -> None:
    missing = [name for name in names if not getattr(config, name)]
    if missing:
        raise ConfigError(f"the config file needs {', '.join(missing)}")


def _parents(config: Job) -> dict[str, str]:
    """Every file or folder that the config names."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for number, path in enumerate(values.pop("reward_models", ()), start=1):
        values[f"reward_models.{number}"] = path
    return {k: v for k, v in values.items() if isinstance(v, str) and v and k != "device"}


def _work(config: Job, run_dir: RunDirectory, stage: str) -> Any:
    from training.rlhf import stages

    return stages.begin(
        run_dir, stage, seed=config.seed, threads=config.threads, device=config.device
    )


def _prompts(path: str) -> Sequence[Prompt]:
    return list(rows.read(Prompt, path))


def sft(
    config: SFTJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
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


def reward(
    config: RewardJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
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
        reward_curve.check(pairs, sizes)
    metrics = reward_stage.fit_rewards(work, config.starter, pairs, config.reward, out)
    if sizes:
        metrics |= reward_stage.draw_learning_curve(
            work, config.starter, pairs, config.reward, sizes, out, whole=metrics
        )
    return metrics, _parents(config)


def _rewards(config: PolicyJob) -> Any:
    """What scores replies, as `stages.Rewards`."""
    from training.rlhf import stages

    models = tuple(path for path in (config.reward_model, *config.reward_models) if path)
    if bool(models) == bool(config.reward_function):
        raise ConfigError("the config file needs reward_model or reward_function, and not both")
    return stages.Rewards(models, config.disagreement, config.reward_function)


def ppo(
    config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
    """Improve a policy into `out`/model."""
    _require(config, "starter", "prompts")
    prompts = _prompts(config.prompts)
    work = _work(config, run_dir, stage)
    from training.rlhf import stages

    metrics, _ = stages.improve(
        work,
        stages.Start(config.policy or config.starter, config.starter),
        _rewards(config),
        prompts,
        config.ppo,
        out / "model",
    )
    return metrics, _parents(config)


def from_pairs(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
    """Improve a policy into `out`/model by preferences alone."""
    _require(config, "starter", "preferences")
    preferences = list(rows.read(rows.Preference, config.preferences))
    work = _work(config, run_dir, stage)
    from training.rlhf import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    metrics = stages.learn_pairs(work, optimiser, start, preferences, config.pairs, out / "model")
    return metrics, _parents(config)


def from_groups(
    optimiser: str, config: PolicyJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
    """Improve a policy into `out`/model against a reward model, without a critic."""
    _require(config, "starter", "prompts")
    prompts = _prompts(config.prompts)
    work = _work(config, run_dir, stage)
    from training.rlhf import stages

    start = stages.Start(config.policy or config.starter, config.starter)
    metrics = stages.learn_groups(
        work, optimiser, start, _rewards(config), prompts, config.groups, out / "model"
    )
    return metrics, _parents(config)


def evaluate(
    config: EvaluateJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
    """Compare two policies."""
    _require(config, "starter", "policy", "reward_model", "judge", "prompts")
    prompts = _prompts(config.prompts)
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


def sample(
    config: SampleJob, run_dir: RunDirectory, stage: str, out: Path
) -> tuple[Metrics, dict[str, str]]:
    """Sample completions."""
    _require(config, "policy", "prompts")
    prompts = _prompts(config.prompts)
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


Command = Callable[[Any, RunDirectory, str, Path], tuple[Metrics, dict[str, str]]]

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
    "sample": (SampleJob, sample),
}
