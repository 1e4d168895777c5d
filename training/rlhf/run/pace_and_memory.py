"""The time that steps take, the time that is left, and the most memory held. Torch-free."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

GIB = 2**30
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"
"""Of proc(5): sets the peak to what is held now."""

MINUTE, HOUR = 60.0, 3600.0
LONG_ENOUGH = 5.0
"""Seconds of work after which a guess at the rest is worth telling."""


class Pace:
    """The steps of one piece of work by the clock; a resumed one begins anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._last = clock()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = self._clock()
        seconds, self._last = now - self._last, now
        return seconds

    def told(self, done: int, total: int) -> str:
        """The time of a step and of what is left, in words; empty while nobody can know."""
        now = self._clock()
        if self._began is None or done < self._began[1]:
            self._began = (now, done)
            return ""
        since, first = self._began
        spent, steps = now - since, done - first
        if not steps or spent < LONG_ENOUGH or done >= total:
            return ""
        step = spent / steps
        return f"{step:.1f} s a step, about {_words(step * (total - done))} left"


def _words(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"


def forget_peak() -> None:
    """Count from here on, where the system can: otherwise from the start of the process."""
    with suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, float]:
    """peak_gib of this process, and of its GPU peak_gpu_gib where it uses one."""
    told = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, kB elsewhere
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    measured = {"peak_gib": (int(told[1]) * 1024 if told else of_process) / GIB}
    if (cuda := _cuda()) is not None:
        measured["peak_gpu_gib"] = cuda.max_memory_allocated() / GIB
    return measured


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.cuda if torch is not None and used else None
