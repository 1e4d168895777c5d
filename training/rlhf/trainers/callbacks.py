"""The engine's part in every `transformers.Trainer`: progress through `report`, a guard at the edge
of every step, checkpoints that are whole, and an end when the loss is no longer finite."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.config import ConfigError, GroupConfig, PairsConfig, SFTConfig, to_dict
from training.rlhf.language.pretrained import save_model
from training.rlhf.run import distributed, durable, ranks
from training.rlhf.run.device import memory_advice
from training.rlhf.run.failures import Diverged, ModelError
from training.rlhf.run.run_directory import Fenced, Stopped
from training.rlhf.run.work import Work

COMPLETE = "complete"
"""Written last into a checkpoint; a folder without it was cut off while being saved."""


def train_to_end(
    trainer: Trainer,
    work: Work,
    *,
    names: Mapping[str, str],
    every: int = 1,
) -> None:
    """Train from the newest whole checkpoint to the end.

    Args:
        work: told when the trainer logs, asked after every update.
        names: the trainer's names of the metrics worth keeping, to ours.
        every: optimiser steps of one update. In between there is no way to resume.

    Raises:
        Diverged: the loss is no longer finite.
        OutOfMemory: with what to lower.
        Stopped: a stop was asked for; calling again resumes.
    """
    step_edge = _StepEdge(work, names, every)
    _drop_unfinished(work.checkpoints)
    trainer.add_callback(step_edge)
    # Progress is told through `report`; these two print to the terminal.
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    try:
        with memory_advice("lower the batch size, or switch gradient_checkpointing on"):
            trainer.train(resume_from_checkpoint=_newest(work.checkpoints))
    except Fenced:
        raise  # what lies there is somebody else's by now
    except BaseException:
        _drop_unfinished(work.checkpoints)  # half a checkpoint must not keep a disk full
        raise
    if step_edge.stopped is not None:
        raise step_edge.stopped
    work.guard()


def require_same_run(
    checkpoints: Path,
    config: PairsConfig | GroupConfig | SFTConfig,
    *more: Any,
    data: Iterable[Any],
) -> None:
    """Note beside the checkpoints what the run is made of.

    Raises:
        ConfigError: the checkpoints that are there were made of something else.
    """
    settings = to_dict(config)
    settings.pop("checkpoint_every")
    settings.pop("data", None)  # a path, which changes with the machine; its rows count
    digest = hashlib.sha256(json.dumps([settings, *more], sort_keys=True).encode())
    for row in data:
        digest.update(json.dumps(row).encode())
    note, made_of = checkpoints / "made-of", digest.hexdigest()
    known = note.read_text("utf-8") if note.exists() else ""
    if known == made_of:
        return
    if known and _newest(checkpoints):
        raise ConfigError(
            f"{checkpoints} holds checkpoints of other settings, data, models or seed: "
            "remove the folder to start anew"
        )
    if ranks.rank() == 0:
        checkpoints.mkdir(parents=True, exist_ok=True)
        durable.replace(note, made_of)


def training_arguments(config: PairsConfig | GroupConfig, work: Work) -> dict[str, Any]:
    """The arguments that all of TRL's trainers share."""
    return {
        "output_dir": str(work.checkpoints),
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # or a broken run would look like a good one
        "seed": work.seed,
        "data_seed": work.seed,
        "use_cpu": work.device.type == "cpu",
        "bf16": work.device.type != "cpu" and config.dtype == "bfloat16",
        "fp16": work.device.type != "cpu" and config.dtype == "float16",
        "activation_checkpointing": config.gradient_checkpointing,
        "dataloader_pin_memory": work.device.type != "cpu",
        "report_to": "none",
        "disable_tqdm": True,
    }


def save_policy(trainer: Trainer, tokenizer: Tokenizer, out: str | Path) -> None:
    """Write the trained policy, which may be in parts on several processes.

    Raises:
        Diverged: a weight is not finite.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    check_weights(model)
    whole = None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        whole = trainer.accelerator.get_state_dict(trainer.model)  # every process gives its part
    if ranks.rank() == 0:
        save_model(model, tokenizer, out, weights=whole)


def require_causal(model: PreTrainedModel | PeftModel, optimiser: str) -> None:
    """Raise ModelError for an encoder-decoder, whose decoder TRL's trainers would not feed."""
    if model.config.is_encoder_decoder:
        raise ModelError(f"{optimiser} takes causal models only; for this one choose ppo or orpo")


def hold_to_adapter(model: nn.Module, folder: str | None) -> None:
    """Let the reference of TRL's trainer be the adapter in `folder`, or the adapter switched off.

    TRL keeps it in the adapter "ref", where it has put the policy that training began with.
    """
    if not isinstance(model, PeftModel):
        return
    if "ref" in model.peft_config:
        model.delete_adapter("ref")
    if folder is not None:
        model.load_adapter(folder, adapter_name="ref", is_trainable=False)
    model.set_adapter("default")


def check_weights(model: nn.Module) -> None:
    """Raise Diverged when a trained weight is not finite: such a policy is not kept."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(parameter.isfinite().all()):
            raise Diverged(f"{name} is no longer finite: lower the learning rate")


def means(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number over the lines that have it."""
    names = dict.fromkeys(name for line in lines for name in line)
    columns = {name: [line[name] for line in lines if name in line] for name in names}
    return {name: sum(values) / len(values) for name, values in columns.items()}


def summary(state: TrainerState, names: Mapping[str, str]) -> dict[str, float]:
    """The mean of the last tenth of each logged metric, the first loss, and the steps."""
    lines = [line for line in state.log_history if "loss" in line]
    tail = lines[-max(1, math.ceil(len(lines) / 10)) :]
    tail_means = {
        name: sum(line[key] for line in tail) / len(tail)
        for key, name in names.items()
        if all(key in line for line in tail)
    }
    return tail_means | {"loss_first": float(lines[0]["loss"]), "steps": float(state.global_step)}


def _newest(checkpoints: Path) -> str | None:
    """The newest checkpoint that was saved whole."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[-1]))) if whole else None


def _drop_unfinished(checkpoints: Path) -> None:
    """Remove what was cut off while being saved; it would count as one of the two that are kept."""
    for folder in checkpoints.glob("checkpoint-*") if ranks.rank() == 0 else ():
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)


class _StepEdge(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """The callback between two steps: it asks the guard, tells progress and seals a save."""

    def __init__(self, work: Work, names: Mapping[str, str], every: int) -> None:
        self.work, self.names, self.every = work, names, every
        self.stopped: Stopped | None = None
        self.lines: list[dict[str, float]] = []
        """The lines logged since the last update."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True  # a run may be shorter than what lies between two lines
        if state.global_step % self.every:
            return
        try:
            self.work.guard()
        except Stopped as stop:
            self.stopped = stop
            control.should_save = control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise Diverged(
                f"the loss is {logs['loss']} at step {state.global_step}: lower the learning rate"
            )
        numbers = {name: float(logs[key]) for key, name in self.names.items() if key in logs}
        self.lines.append(numbers)
        update, between = divmod(state.global_step, self.every)
        if not between:
            self.work.report(update, state.max_steps // self.every, means(self.lines))
            self.lines = []

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        **_: Any,
    ) -> None:
        check_weights(model)  # one that is not finite would be gone on from for ever
        distributed.agree(0)  # every process has saved its random numbers
        if ranks.rank() != 0:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        # The marker must not reach the disk before what it vouches for.
        durable.fsync_tree(folder)
        (folder / COMPLETE).touch()
        durable.fsync_tree(folder)
        durable.fsync(folder.parent)
