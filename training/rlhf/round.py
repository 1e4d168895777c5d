"""One turn of the loop. `STAGES` is the only place where its stages are listed.

Torch-free: the web side shows the stages and judges the gates; the functions behind the names
are imported only by the process that runs them.
"""

from __future__ import annotations

import os
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.rlhf import acquire, rows
from training.rlhf.config import (
    EVALUATE,
    PROPOSE,
    SAMPLE,
    TRAIN_POLICY,
    TRAIN_REWARD,
    ConfigError,
    RoundConfig,
    load,
    to_dict,
)
from training.rlhf.metrics.gates import Gate, gates, is_failed
from training.rlhf.run import pace_and_memory, trackers
from training.rlhf.run.entry_points import load_function
from training.rlhf.run.run_directory import (
    DONE,
    FAILED,
    FENCED,
    INPUTS,
    LOCKED,
    STOPPED,
    USAGE,
    Fenced,
    Locked,
    PeerFailed,
    RunDirectory,
    Stopped,
)
from training.rlhf.run.signals import stop_on_signals
from training.rlhf.run.work import Work

__all__ = [
    "DONE",
    "EVALUATE",
    "FAILED",
    "FENCED",
    "LOCKED",
    "PROPOSE",
    "SAMPLE",
    "STAGES",
    "STOPPED",
    "TRAIN_POLICY",
    "TRAIN_REWARD",
    "USAGE",
    "Fenced",
    "Gate",
    "Locked",
    "RunDirectory",
    "Stage",
    "Stopped",
    "gates",
    "is_failed",
    "run_round",
    "stop_on_signals",
]


@dataclass(frozen=True)
class Result:
    """The metrics, parents and notes that a stage leaves besides its files."""

    metrics: dict[str, float]
    parents: dict[str, str]
    """The folders it was made from: role -> folder."""
    notes: dict[str, Any] | None = None
    """Further entries of meta.json, such as why training stopped."""


@dataclass(frozen=True)
class Stage:
    """A step of the round: `function` is "module:name" of (run, config, out, work) -> Result.

    It writes its files into `out`; they need be no rows, and nobody need know the stage elsewhere.
    """

    name: str
    title: str
    description: str
    function: str
    shared: bool = False
    """True when every process of a launcher takes part; otherwise they wait for the first."""

    def perform(self, run: RunDirectory, config: RoundConfig) -> Result:
        """Import the function, and torch with it, and call it."""
        work = Work.of_stage(
            run, self.name, seed=config.seed, threads=config.threads, device=config.device
        )
        result: Result = load_function(self.function)(run, config, run.partial(self.name), work)
        return result


STAGES = (
    Stage(
        TRAIN_REWARD,
        "Train reward model",
        "Learns to predict the votes, and trains a second model as a judge.",
        "training.rlhf.pipeline.stage_functions:train_reward",
        shared=True,
    ),
    Stage(
        TRAIN_POLICY,
        "Improve policy",
        "Optimises the policy by the reward model or the votes, held near the starter.",
        "training.rlhf.pipeline.stage_functions:train_policy",
        shared=True,
    ),
    Stage(
        EVALUATE,
        "Evaluate",
        "Compares the new policy with the one before it on held-out prompts.",
        "training.rlhf.pipeline.stage_functions:evaluate",
    ),
    Stage(
        SAMPLE,
        "Sample completions",
        "Writes completions of the new policy for people to compare.",
        "training.rlhf.pipeline.stage_functions:sample",
    ),
    Stage(
        PROPOSE,
        "Propose pairs",
        "Picks the pairs whose votes will teach most, beside a random stream.",
        "training.rlhf.pipeline.stage_functions:propose_pairs",
    ),
)


def quiet_libraries() -> None:
    """Before transformers or trl is imported: no telemetry, no fork warnings of tokenizers."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Nothing here is compiled, and bitsandbytes loads the compiler at import, for a second.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    # Between transformers and trl, about names that neither we nor a user wrote.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def run_round(run_dir: str | Path | RunDirectory, fence: int | None = None) -> None:
    """Run every stage that is not done yet; calling again resumes.

    Raises:
        Locked, Fenced, Stopped: see rundir; the run can go on later.
        Exception: what a stage raised; RUN_DIR/error.json holds it too.
    """
    quiet_libraries()
    run = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
    with run.claim(fence), stop_on_signals(run.request_stop):
        run.clear_error()
        stage_name = ""
        try:
            config = load(RoundConfig, run.path / "config.json")
            check_inputs(run, config)
            for stage in STAGES:
                stage_name = stage.name
                if not run.done(stage.name):
                    run_stage(run, stage, config)
        except (Fenced, Stopped, PeerFailed):
            raise
        except Exception as error:
            run.fail(stage_name, error, traceback.format_exc())
            raise


def run_stage(run: RunDirectory, stage: Stage, config: RoundConfig) -> None:
    """Run one stage into its `.partial` folder and publish it."""
    run.check()
    run.report(stage.name, 0, 1, stage.title)
    begun = time.monotonic()
    pace_and_memory.forget_peak()
    with trackers.forward(config.tracker, run, stage.name, to_dict(config)) as finish:
        result = run.perform(lambda: stage.perform(run, config), shared=stage.shared)
        finish(result.metrics if result else {})
    run.check()
    if run.leads and result is not None:
        meta = run.meta(stage.name, to_dict(config), result.parents, result.metrics)
        measured = {"seconds": time.monotonic() - begun} | pace_and_memory.peak_memory()
        run.publish(stage.name, meta | (result.notes or {}) | {"measured": measured})
    run.wait()


def check_inputs(run: RunDirectory, config: RoundConfig) -> None:
    """Refuse a run that cannot end well before hours are spent on it.

    Raises:
        rows.RowError: a broken line in an input file.
        ConfigError: nothing to train on, nothing to measure on, an acquisition that does not exist,
            or inputs that were replaced after a stage had used them.
    """
    _require_starter(config)
    acquire.acquisition(config.propose.acquisition)
    held_out = [p.held_out for p in rows.read(rows.Prompt, run.path / "prompts.jsonl")]
    if all(held_out) or not any(held_out):
        raise ConfigError(
            "prompts.jsonl needs prompts for training and held-out prompts, "
            f"it has {len(held_out) - sum(held_out)} and {sum(held_out)}"
        )
    preferences = rows.read(rows.Preference, run.path / "preferences.jsonl")
    if sum(1 for row in preferences if row.votes and not row.held_out) < 2:
        raise ConfigError("preferences.jsonl needs votes on at least two pairs for training")
    digests = {name: rows.sha256(run.path / name) for name in INPUTS}
    for stage in STAGES:
        meta = run.stage_meta(stage.name)
        if meta is not None and meta["data_sha256"] != digests:
            raise ConfigError(f"the input files changed after stage {stage.name} had used them")


def _require_starter(config: RoundConfig) -> None:
    if not config.starter:
        raise ConfigError("config.json: starter is empty")
