"""The single commands of `python -m training.rlhf`. `COMMANDS` is where they are listed.

`--out DIR` is a stage folder like those of a round: it appears, whole, when the command is done;
the folder around it holds lock, progress, metrics and resume state, as in a run directory.
Torch-free until one runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from training.rlhf.config import (
    OPTIMISERS,
    AnnotateJob,
    BlindJob,
    CheckJob,
    CompareJob,
    CompletionsJob,
    EvaluateJob,
    HumanJob,
    Job,
    PolicyJob,
    PushJob,
    RedditJob,
    RewardJob,
    SampleJob,
    SaveJob,
    ScoreJob,
    SelectJob,
    SFTJob,
    SuccessJob,
    require,
    to_dict,
)
from training.rlhf.data import input_fingerprints
from training.rlhf.run import trackers
from training.rlhf.run.entry_points import load_function
from training.rlhf.run.run_directory import RunDirectory
from training.rlhf.run.work import Work

Metrics = dict[str, float]


@dataclass(frozen=True)
class Command:
    """A command: its settings, and the function that does it."""

    kind: type[Job]
    function: str
    """"module:name" of (config, out, work) -> metrics; see `computes` and `given`."""
    help: str
    needs: tuple[str, ...] = ()
    """Settings that may not be empty; `check` knows more."""
    shared: bool = False
    """True when all processes of a launcher do it; otherwise they wait for the first."""
    computes: bool = True
    """False: the function needs no torch, and is called without `work`."""
    follows: bool = False
    """True: instead of `work` the function takes the run directory and the stage, keeps state there
    and loads torch itself where it needs it."""
    scored: bool = False
    """True when it takes the scores of reward models or of a Python function."""
    given: tuple[str, ...] = ()
    """Arguments before the config."""


def _optimisers() -> dict[str, Command]:
    return {
        name: Command(
            PolicyJob,
            "training.rlhf.pipeline.policy_training:command",
            optimiser.help,
            ("starter", "preferences" if optimiser.learns_from == "preferences" else "prompts"),
            shared=True,
            scored=optimiser.learns_from == "reward",
            given=(name,),
        )
        for name, optimiser in OPTIMISERS.items()
    }


COMMANDS: dict[str, Command] = {
    "sft": Command(
        SFTJob,
        "training.rlhf.trainers.sft:command",
        "train a starter policy on chats",
        ("sft.data",),
        shared=True,
    ),
    "reward": Command(
        RewardJob,
        "training.rlhf.reward.model_and_judge:command",
        "train a reward model and a judge on votes",
        ("starter",),
        shared=True,
    ),
    **_optimisers(),
    "evaluate": Command(
        EvaluateJob,
        "training.rlhf.pipeline.commands_on_models:evaluate",
        "compare two policies on held-out prompts",
        ("starter", "policy", "reward_model", "judge", "prompts"),
    ),
    "compare": Command(
        CompareJob,
        "training.rlhf.pipeline.commands_on_models:compare",
        "put any number of models beside each other on the same prompts",
        ("models", "prompts"),
    ),
    "sample": Command(
        SampleJob,
        "training.rlhf.pipeline.commands_on_models:sample",
        "write completions for people to compare",
        ("policy", "prompts"),
    ),
    "complete": Command(
        CompletionsJob,
        "training.rlhf.completions.completion_job:complete",
        "write completions and their pairs by servers or models, kept reply by reply",
        ("prompts", "sources"),
        follows=True,
    ),
    "annotate": Command(
        AnnotateJob,
        "training.rlhf.annotation.vote_job:annotate",
        "vote on pairs by a server with a constitution or by a reward model, kept answer by answer",
        ("pairs",),
        follows=True,
    ),
    "check": Command(
        CheckJob,
        "training.rlhf.serving.model_check:check",
        "see whether a model folder, a hub's model or a server writes and stops, and what it needs",
        follows=True,
    ),
    "reddit": Command(
        RedditJob,
        "training.rlhf.pipeline.commands_on_files:reddit",
        "make pairs of a Reddit dump",
        ("submissions", "comments"),
        computes=False,
    ),
    "score": Command(
        ScoreJob,
        "training.rlhf.pipeline.commands_on_models:score",
        "give every reply of a file a scalar preference score",
        ("replies",),
        scored=True,
    ),
    "success": Command(
        SuccessJob,
        "training.rlhf.pipeline.commands_on_files:success",
        "count how often the models of a comparison score above a bar",
        ("replies", "score", "baseline"),
        computes=False,
    ),
    "select": Command(
        SelectJob,
        "training.rlhf.pipeline.commands_on_files:select",
        "choose the best of several checkpoints by a comparison",
        ("replies", "score", "candidates"),
        computes=False,
    ),
    "blind": Command(
        BlindJob,
        "training.rlhf.pipeline.commands_on_files:blind",
        "make blind pairs for people of the replies of a comparison",
        ("replies", "model", "other"),
        computes=False,
    ),
    "human": Command(
        HumanJob,
        "training.rlhf.pipeline.commands_on_files:human",
        "read back what people said of blind pairs",
        ("key", "votes"),
        computes=False,
    ),
    "save": Command(
        SaveJob,
        "training.rlhf.pipeline.commands_on_files:save",
        "write models as whole folders that other programs load",
        ("parts",),
        computes=False,
    ),
    "push": Command(
        PushJob,
        "training.rlhf.pipeline.commands_on_files:push",
        "upload a model to a hub",
        ("folder", "repo"),
        computes=False,
    ),
}


def execute(
    name: str,
    config: Job,
    run_dir: RunDirectory,
    stage: str,
    *,
    notes: dict[str, Any] | None = None,
) -> Metrics:
    """Do a command in a claimed run directory; its metrics.

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
            lambda: _call(command, config, run_dir, stage, partial), shared=command.shared
        )
        finish(metrics or {})
    run_dir.check()
    if run_dir.leads and metrics is not None:
        meta = run_dir.meta(stage, to_dict(config), input_fingerprints.sources(config), metrics)
        run_dir.publish(stage, meta | (notes or {}))
    run_dir.wait()
    return metrics or {}


def _call(command: Command, config: Job, run_dir: RunDirectory, stage: str, out: Path) -> Metrics:
    function, given = load_function(command.function), (*command.given, config, out)
    if command.follows:
        told: Metrics = function(*given, run_dir, stage)
        return told
    if not command.computes:
        metrics: Metrics = function(*given)
        return metrics
    seed, threads, device = config.seed, config.threads, config.device
    work = Work.of_stage(run_dir, stage, seed=seed, threads=threads, device=device)
    metrics = function(*given, work)
    return metrics


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
    if COMMANDS[name].scored:
        several = ("reward_model", "reward_models", "reward_functions")
        models = [getattr(config, setting, ()) for setting in several]
        require(
            any(models) != bool(attrgetter("reward_function")(config)),
            "the config file needs reward_model or reward_function, and not both",
        )
