"""The task that both engines are given, and what they tell back.

Standard library only: it runs in both environments.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Task:
    """One PPO run. Paths are absolute."""

    starter: str
    reward_model: str
    """A sequence classifier over the starter's tokens that scores the last one."""
    prompts: str
    """JSONL of {"prompt_id", "messages", "held_out"}."""
    out: str
    seed: int
    updates: int
    batch_size: int = 16
    epochs: int = 4
    max_new_tokens: int = 64
    learning_rate: float = 5e-5
    kl_coef: float = 0.1

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls) -> Task:
        """The task in the file that the command line names."""
        return cls(**json.loads(Path(sys.argv[1]).read_text("utf-8")))


class Clock:
    """CPU seconds of this process, per update and phase."""

    def __init__(self) -> None:
        self.updates: list[dict[str, float]] = []
        self._phase, self._since = "", 0.0

    def enter(self, phase: str) -> None:
        """End the phase before and begin this one ("" is none); sampling begins an update."""
        if phase == self._phase:
            return
        now = time.process_time()
        if self._phase:
            update = self.updates[-1]
            update[self._phase] = update.get(self._phase, 0.0) + now - self._since
        if phase == "sampling":
            self.updates.append({})
        self._phase, self._since = phase, now

    def answer(self, task: Task, **more: float) -> None:
        """Write what was measured beside the trained policy."""
        measured = {
            "updates": self.updates,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **more,
        }
        Path(task.out, "measured.json").write_text(json.dumps(measured), "utf-8")
