"""Ask a process with the training stack; this one may have none."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

from django.conf import settings

TIMEOUT = 180
"""Seconds; loading a model of some billion parameters from a cold disk takes a minute."""


@functools.cache
def stack() -> dict[str, Any]:
    """Torch and GPUs of this machine, or {"error": ...}; asked once."""
    return _ask()


def model(path: str) -> dict[str, Any]:
    """Figures of a model's sample replies, or {"error": ...}."""
    return _ask(path)


def _ask(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "training.rlhf.serving.stack_and_generation_probe", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TIMEOUT} s"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"error": last[0]}
    return answer
