"""Supervise a run here and show it on the terminal; for commands."""

from __future__ import annotations

import time
from typing import Any, Self, TextIO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from training.models import Run
from training.rlhf.round import STAGES, stop_on_signals
from training.runs import run_kinds, supervisor

Output = TextIO | OutputWrapper
"""The place where a command writes: a stream, or Django's wrapper of one."""
TITLES: dict[str, str] = {stage.name: stage.title for stage in STAGES} | run_kinds.TITLES

PLAIN_EVERY = 5.0
"""Seconds between two progress lines where there is no terminal."""


def follow(run: Run, *, out: Output, program: run_kinds.Program | None = None) -> str | None:
    """Supervise `run` in this process, or watch it where another supervisor has it.

    SIGINT and SIGTERM stop it at the edge of a step, and it can go on later.

    Returns:
        its final state, or None when it was stopped.
    """
    with stop_on_signals(supervisor.stopping.set), _Display(out) as display:
        while not supervisor.stopping.is_set():
            supervisor.supervise(run, program=program, listener=display.show)
            run.refresh_from_db()
            if run.final:
                return run.state
            display.show({"stage": run.stage, "step": run.step, "total": run.total})
            supervisor.stopping.wait(1.0)
    return None


class _Display:
    """Progress bars on a terminal, one line per stage elsewhere."""

    def __init__(self, out: Output) -> None:
        while isinstance(out, OutputWrapper):  # it would break lines that are drawn over
            out = cast(Output, out._out)
        self.console = Console(file=out)
        self.tasks: dict[str, TaskID] = {}
        self.begun = self.printed = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", style="dim"),
            console=self.console,
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.progress.stop()

    def plain(self, text: str) -> None:
        """Print a line where bars cannot be drawn."""
        self.printed = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{self.printed - self.begun:6.1f} s  {text}", highlight=False)

    def show(self, line: dict[str, Any]) -> None:
        """Show one progress line."""
        name = line["stage"]
        if not name:
            return
        message = str(line.get("message", ""))[:60]
        if name not in self.tasks:
            title = TITLES.get(name, name)
            self.tasks[name] = self.progress.add_task(title, total=1, message=message)
            self.plain(title)
        elif time.monotonic() - self.printed > PLAIN_EVERY:
            self.plain(f"{TITLES.get(name, name)} {line.get('step')}/{line.get('total')}")
        self.progress.update(
            self.tasks[name],
            completed=line.get("step") or 0,
            total=max(1, line.get("total") or 1),
            message=message,
        )
