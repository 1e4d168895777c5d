"""A piece of work: its seed and device, its resume state, whom it tells and when it ends.

Whatever takes minutes takes a `Work`: trainers, sampling, evaluation. Torch-free until one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training.rlhf.metrics import reward_hacking
from training.rlhf.run import ranks
from training.rlhf.run.pace_and_memory import Pace
from training.rlhf.run.run_directory import RunDirectory

if TYPE_CHECKING:
    import torch

Report = Callable[[int, int, dict[str, float]], None]
"""Called with (steps done, steps in all, metrics); no metrics are {}."""
Guard = Callable[[], None]

SHOWN = ("loss", "slice_loss", "judge_loss", "reward", "kl")
"""Metrics worth a place on a progress line."""


@dataclass(frozen=True)
class Work:
    """Seed, device, checkpoints, report and guard of one piece of work.

    `dataclasses.replace` makes a part of it, with a seed, a folder or a report of its own.
    """

    seed: int
    """Of everything random."""
    device: torch.device
    checkpoints: Path
    """Folder of the resume state; whoever finds his own there goes on from it."""
    report: Report
    """Called after every step."""
    guard: Guard
    """Called at the edge of every step and before every checkpoint, by all processes together. It
    raises to end the work: `Stopped` is honoured after a checkpoint, from which the next call goes
    on; `Fenced` and anything else at once, and nothing more is written."""

    @classmethod
    def of_stage(
        cls, run: RunDirectory, stage: str, *, seed: int, threads: int, device: str
    ) -> Work:
        """Begin a stage of a run directory, whose journal is told and whose owner may end it.

        Args:
            threads: of the CPU; 0 leaves torch's default.
            device: auto, cpu or cuda.

        Raises:
            ModelError: CUDA was asked for and there is none.
        """

        pace = Pace()

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            if metrics:
                run.record(stage, done, metrics)
            told = (describe(metrics), pace.told(done, total))
            run.report(stage, done, total, "; ".join(filter(None, told)))

        where = _begin(threads, device)
        return cls(seed, where, run.checkpoints(stage), report, run.check)

    @classmethod
    def in_folder(
        cls,
        path: str | Path,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int = 0,
        silent: bool = False,
    ) -> Work:
        """Begin work without a run directory: resume state lies in `path`/checkpoints.

        Args:
            device: auto, cpu, cuda or cuda:1.
            threads: of the CPU; 0 leaves torch's default. Fixed ones give the same bits again.
            silent: print no progress lines.

        Raises:
            ModelError: CUDA was asked for and there is none.
        """

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            if not silent and ranks.rank() == 0:
                print(f"{done}/{total} {describe(metrics)}".rstrip(), flush=True)

        folder = Path(path) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(seed, _begin(threads, device), folder, report, lambda: None)


def _begin(threads: int, device: str) -> torch.device:
    """Fix threads and device, and leave the terminal to our own progress."""
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from training.rlhf.run.device import fix_threads, keep_freed_memory, resolve_device

    disable_progress_bar()
    set_verbosity_error()
    fix_threads(threads)
    keep_freed_memory()
    return resolve_device(device)


def describe(metrics: dict[str, float]) -> str:
    """The one or two numbers worth a place on a progress line, and every alarm."""
    parts = [f"{name} {metrics[name]:.3g}" for name in SHOWN if name in metrics]
    # An endless policy is told of below, with what to do.
    titles = {sign: title for sign, title in reward_hacking.TITLES.items() if sign != "endless"}
    if metrics.get("tokens_per_second"):
        parts.append(f"{metrics['tokens_per_second']:.0f} tokens/s")
    parts += [title for sign, title in titles.items() if metrics.get(f"alarm_{sign}")]
    if metrics.get("eos_rate") == 0:
        parts.append(reward_hacking.ENDLESS_ADVICE)
    return ", ".join(parts)
