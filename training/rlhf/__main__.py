"""Command line of the engine. Heavy imports happen inside the commands, so --help is instant."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.rlhf.config import ConfigError
from training.rlhf.jobs import COMMANDS
from training.rlhf.jobs import run as run_job
from training.rlhf.round import STAGES, quiet_libraries, run_round, stop_on_signals
from training.rlhf.rows import RowError
from training.rlhf.rundir import (
    DONE,
    FENCED,
    LOCKED,
    STOPPED,
    USAGE,
    Fenced,
    Locked,
    RunDirectory,
    Stopped,
)

PLAIN_EVERY = 5.0
"""Seconds between two progress lines of a stage where there is no terminal."""

HELP = {
    "sft": "train a starter policy on chats",
    "reward": "train a reward model and a judge on votes",
    "ppo": "improve a policy against a reward model",
    "dpo": "improve a policy by preferences alone",
    "kto": "improve a policy by replies that are good or bad, each alone",
    "orpo": "improve a policy by preferences alone, without a reference",
    "rloo": "improve a policy against a reward model, by comparing replies, without a critic",
    "grpo": "improve a policy against a reward model, by comparing replies, without a critic",
    "evaluate": "compare two policies on held-out prompts",
    "sample": "write completions for people to compare",
}


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(
        prog="python -m training.rlhf",
        description="Reward modelling and policy optimisation from files; no web app, no database.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        single = commands.add_parser(name, help=HELP[name], description=HELP[name])
        single.add_argument("--config", required=True, metavar="FILE", help="YAML or JSON settings")
        single.add_argument(
            "--out", required=True, metavar="DIR", help="folder that appears when it is done"
        )
    listed = ", ".join(stage.name for stage in STAGES)
    whole = commands.add_parser("round", help="run or resume a whole round", description=listed)
    whole.add_argument("run_dir", metavar="RUN_DIR")
    whole.add_argument("--fence", type=int, help="end when owner.json names another fence")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code says how it ended (see rundir)."""
    options = parser().parse_args(arguments)
    quiet_libraries()
    try:
        if options.command == "round":
            return _round(options)
        return _single(options)
    except (ConfigError, RowError) as error:
        return _say(f"error: {error}", USAGE)
    except Locked as error:
        return _say(str(error), LOCKED)
    except Fenced as error:
        return _say(f"ended: {error}", FENCED)
    except Stopped as error:
        return _say(f"{error}; run the same command to go on", STOPPED)
    except Exception as error:
        if _is_known(error):
            return _say(f"error: {error}", USAGE)
        raise  # Python prints the traceback and exits with 1, which is FAILED


def _is_known(error: Exception) -> bool:
    """Errors of models and data whose message is all a person needs.

    By name, because importing the modules that define them would import torch.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"Diverged", "ModelError", "NoChatTemplate", "OutOfMemory", "SFTError"})


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _round(options: argparse.Namespace) -> int:
    folder = Path(options.run_dir)
    if not folder.is_dir():
        return _say(f"error: there is no run directory {folder}", USAGE)
    run = RunDirectory(folder)
    with display(run):
        run_round(run, options.fence)
    return DONE


def _single(options: argparse.Namespace) -> int:
    out = Path(options.out).resolve()
    if not Path(options.config).is_file():
        return _say(f"error: there is no config file {options.config}", USAGE)
    run = RunDirectory(out.parent)
    if run.done(out.name):
        return _say(f"{out} is done already; remove it to run the command again", DONE)
    if out.exists():
        return _say(f"error: {out} exists and is not a result of this command", USAGE)
    out.parent.mkdir(parents=True, exist_ok=True)
    with display(run), run.claim(), stop_on_signals(run):
        metrics = run_job(options.command, options.config, run, out.name)
    for name, value in metrics.items():
        print(f"{name:>16}  {value:.4g}")
    return DONE


@contextmanager
def display(run: RunDirectory) -> Iterator[None]:
    """Show progress: bars on a terminal, now and then a plain line elsewhere."""
    if not sys.stdout.isatty():
        run.listener = plain_lines(time.monotonic)
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}"),
    )
    titles = {stage.name: stage.title for stage in STAGES}
    with Progress(*columns) as progress:
        bars: dict[str, Any] = {}

        def show(line: dict[str, Any]) -> None:
            name = line["stage"]
            if name not in bars:
                bars[name] = progress.add_task(titles.get(name, name), message="")
            progress.update(
                bars[name], completed=line["step"], total=line["total"], message=line["message"]
            )

        run.listener = show
        yield


def plain_lines(clock: Callable[[], float]) -> Callable[[dict[str, Any]], None]:
    """A listener that prints the first and last line of a stage, and others now and then."""
    last: dict[str, float] = {}

    def show(line: dict[str, Any]) -> None:
        stage, now = line["stage"], clock()
        ends = line["step"] in (0, line["total"])
        if ends or now - last.get(stage, -PLAIN_EVERY) >= PLAIN_EVERY:
            last[stage] = now
            print(f"{stage} {line['step']}/{line['total']} {line['message']}".rstrip(), flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
