"""A command of the engine as a process of its own: its settings, command line and environment."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from django.conf import settings

from training.models import Run
from training.rlhf.config import Job, RoundConfig, load, to_dict
from training.rlhf.run import durable

CONFIG = "config.json"
PROGRAM = (sys.executable, "-m", "training.rlhf")
OURS = "PAIRLOOP_"
"""Beginning of names of this installation's own settings: the engine has its own in config.json,
so a process is given none, not those that come later either."""
KEPT = ("PAIRLOOP_HOME",)
PRIVATE = ("SECRET_KEY", "DATABASE_URL", "TEST_DATABASE_URL")
"""Secrets of the web side under other names."""


def write_job(folder: Path, job: Job) -> Path:
    """Write the settings of a command into a folder; return the file."""
    path = folder / CONFIG
    durable.replace(path, json.dumps(to_dict(job), indent=2) + "\n")
    return path


def round_settings(run: Run) -> RoundConfig:
    """The settings a round's run works by: its own, not the defaults nor the plan of today.

    Raises:
        ConfigError: its folder is not here, or not readable any more.
    """
    return load(RoundConfig, run.directory / CONFIG)


def command(name: str, *, config: Path, out: Path) -> list[str]:
    """Command line of one of the engine's commands."""
    return [*PROGRAM, name, "--config", str(config), "--out", str(out)]


HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def without_hub_token(variables: dict[str, str]) -> dict[str, str]:
    """These variables for a process that opens nothing of a hub but what everybody may read."""
    kept = {name: value for name, value in variables.items() if name not in HUB_TOKENS}
    return kept | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def is_passed(name: str) -> bool:
    """True for variables that the engine's processes get."""
    return name in KEPT or not (name in PRIVATE or name.startswith(OURS))


def environment() -> dict[str, str]:
    """This process's variables for the engine's: without secrets and keys, with its threads."""
    variables = {name: value for name, value in os.environ.items() if is_passed(name)}
    variables |= {"HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}
    if settings.TRAINING_THREADS:
        variables["OMP_NUM_THREADS"] = str(settings.TRAINING_THREADS)
    return variables
