"""The most memory that this process, or its GPU, has held lately. Torch-free."""

from __future__ import annotations

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

GIB = 2**30
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"
"""Of proc(5): sets the peak to what is held now."""


def forget() -> None:
    """Count from here on, where the system can: otherwise from the start of the process."""
    with suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()


def peak() -> dict[str, float]:
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
