"""Reasons for which a run's process ended, read from its exit code, its error and its log."""

from __future__ import annotations

import signal
from pathlib import Path

from django.conf import settings

from training.models import Run, RunKind
from training.rlhf.round import (
    DONE,
    FAILED,
    FENCED,
    LOCKED,
    STAGES,
    STOPPED,
    USAGE,
    RunDirectory,
)
from training.runs import run_kinds
from training.runs.metrics_and_log import LOG


def was_interrupted(run: Run, code: int) -> bool:
    """True when the process ended from outside and not by an error of its own."""
    if code in ENDINGS or code < 0:
        return True
    # A launcher turns every ending into an exit code of its own; an error leaves error.json.
    hidden = bool(settings.LAUNCHER) and run.kind == RunKind.ROUND and code != DONE
    return hidden and RunDirectory(run.directory).error() is None


def explain(run: Run, code: int) -> str:
    """A sentence on how a process ended."""
    error = RunDirectory(run.directory).error()
    if code in (FAILED, USAGE) and error:
        titles = {stage.name: stage.title for stage in STAGES}
        stage = error.get("stage", "")
        return f"{titles.get(stage, stage or 'Start')}: {error.get('error', 'failed')}"
    if code == DONE:
        return "The process ended without finishing its stages."
    if code == USAGE and (said := _last_line(run.directory / LOG)).startswith(TOLD):
        return f"{run_kinds.TITLES.get(run.kind, run.kind)}: {said.removeprefix(TOLD)}"
    if code in ENDINGS:
        return ENDINGS[code]
    if code < 0:
        return f"The process was {ended_by(code)}."
    return f"The process ended with exit code {code}: {_last_line(run.directory / LOG)}"


def ended_by(code: int) -> str:
    """Name the signal behind a negative exit code."""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"ended by {name}{' (often: out of memory)' if name == 'SIGKILL' else ''}"


ENDINGS = {
    FENCED: "The run directory has another owner.",
    STOPPED: "The process was asked to stop by somebody else.",
    LOCKED: "Another process works in the run directory.",
}


TOLD = "error: "
"""The beginning of the sentence in which the engine's commands say why they end."""


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines() if path.is_file() else []
    return lines[-1][:600] if lines else "no output"
