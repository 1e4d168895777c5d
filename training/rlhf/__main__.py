"""Command line of the engine. Heavy imports happen inside the commands, so --help is instant."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.rlhf.config import (
    Job,
    RoundConfig,
    defaults_for,
    from_dict,
    load,
    read_facts,
    read_mapping,
    settled,
    to_dict,
)
from training.rlhf.config.config_file import differences, require
from training.rlhf.data import input_fingerprints
from training.rlhf.delivery import memory_table, openrlhf, round_estimate
from training.rlhf.pipeline import commands, recipe, recipe_check
from training.rlhf.pipeline.commands import COMMANDS
from training.rlhf.round import STAGES, quiet_libraries, run_round, stop_on_signals
from training.rlhf.run import failures, ranks
from training.rlhf.run.run_directory import (
    DONE,
    FAILED,
    FENCED,
    LOCKED,
    STOPPED,
    USAGE,
    Fenced,
    Locked,
    PeerFailed,
    RunDirectory,
    Stopped,
)

PLAIN_EVERY = 5.0
"""Seconds between two progress lines of a stage where there is no terminal."""


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(
        prog="python -m training.rlhf",
        description="Reward modelling and policy optimisation from files; no web app, no database.",
    )
    listed = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        single = listed.add_parser(name, help=command.help, description=command.help)
        single.add_argument("--config", required=True, metavar="FILE", help="YAML or JSON settings")
        single.add_argument(
            "--out", required=True, metavar="DIR", help="folder that appears when it is done"
        )
    _add_recipe(listed)
    _add_files(listed)
    stages = ", ".join(stage.name for stage in STAGES)
    whole = listed.add_parser("round", help="run or resume a whole round", description=stages)
    whole.add_argument("run_dir", metavar="RUN_DIR")
    whole.add_argument("--fence", type=int, help="end when owner.json names another fence")
    return top


def _add_files(listed: Any) -> None:
    about = "write a round's votes and settings for OpenRLHF"
    other = listed.add_parser("openrlhf", help=about, description=about)
    other.add_argument("run_dir", metavar="RUN_DIR")
    other.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    about = "how much memory and time a policy takes"
    size = listed.add_parser("memory", help=about, description=about)
    which = size.add_mutually_exclusive_group(required=True)
    which.add_argument("--params", type=float, metavar="N", help="such as 8e9, for any model")
    which.add_argument("--model", metavar="FOLDER", help="for this model, by a round's stages")
    size.add_argument("--config", metavar="FILE.yaml", help="the round's settings, with --model")
    size.add_argument("--gpu", action="store_true", help="on a GPU, with --model")


def _add_recipe(listed: Any) -> None:
    about = "run or resume a pipeline of several commands"
    pipeline = listed.add_parser("recipe", help=about, description=about)
    pipeline.add_argument("recipe", metavar="FILE", help="a recipe, or the name of a shipped one")
    pipeline.add_argument("--out", required=True, metavar="DIR", help="folder of all results")
    pipeline.add_argument(
        "--only", nargs="+", default=[], metavar="PHASE", help="these phases alone"
    )
    pipeline.add_argument(
        "--from", dest="start", default="", metavar="PHASE", help="this phase and those after it"
    )
    pipeline.add_argument(
        "--check",
        action="store_true",
        help="load configuration, tokenizer and adapters' layers of every phase, and run none",
    )
    pipeline.add_argument(
        "--redo",
        action="store_true",
        help="remove results of other settings or inputs, and run their phases again",
    )
    pipeline.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change the recipe, for example models.policy=my-folder or phases.ppo.ppo.updates=8",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code says how it ended (see rundir)."""
    options = parser().parse_args(arguments)
    quiet_libraries()
    try:
        if options.command in ("memory", "openrlhf"):
            return {"memory": _memory, "openrlhf": _openrlhf}[options.command](options)
        command = {"round": _round, "recipe": _recipe}.get(options.command, _single)
        return command(options, together())
    except Locked as error:
        return _say(str(error), LOCKED)
    except Fenced as error:
        return _say(f"ended: {error}", FENCED)
    except Stopped as error:
        return _say(f"{error}; run the same command to go on", STOPPED)
    except PeerFailed as error:
        return _say(str(error), FAILED)
    except Exception as error:
        told = failures.sentence(error)
        if told is None:
            raise  # Python prints the traceback and exits with 1, which is FAILED
        return _say(f"error: {told}", USAGE)


def together() -> Callable[[int], int]:
    """Join the other processes that a launcher started, where it started several; how a number is
    agreed on with them."""
    if ranks.size() == 1:
        return int
    from training.rlhf.run import distributed

    distributed.begin()
    return distributed.agree


def _memory_of_round(options: argparse.Namespace) -> int:
    """Print what each stage of a round needs on a model, by its files and the settings."""
    facts = read_facts(options.model)
    if facts is None:
        return _say(f"error: {options.model} is no folder of a model with weights", USAGE)
    given = read_mapping(options.config) if options.config else {}
    config = from_dict(RoundConfig, settled(defaults_for(facts), given))
    print(f"{facts.parameters:,} parameters, published in {facts.dtype}")
    for stage, gib in round_estimate.memory(facts, config, gpu=options.gpu).items():
        print(f"{stage:>16}  {gib:.1f} GiB")
    return DONE


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _round(options: argparse.Namespace, agree: Callable[[int], int]) -> int:
    folder = Path(options.run_dir)
    if not folder.is_dir():
        return _say(f"error: there is no run directory {folder}", USAGE)
    run = RunDirectory(folder)
    run.agree = agree
    with display(run):
        run_round(run, options.fence)
    return DONE


def _single(options: argparse.Namespace, agree: Callable[[int], int]) -> int:
    out = Path(options.out).resolve()
    if not Path(options.config).is_file():
        return _say(f"error: there is no config file {options.config}", USAGE)
    run = RunDirectory(out.parent)
    run.agree = agree
    config = load(COMMANDS[options.command].kind, options.config)
    meta = run.stage_meta(out.name)
    if meta is not None:
        _require_same(out, meta, config)
        return _say(f"{out} is done already; remove it to run the command again", DONE)
    if out.exists():
        return _say(f"error: {out} exists and is not a result of this command", USAGE)
    out.parent.mkdir(parents=True, exist_ok=True)
    notes = {"inputs": input_fingerprints.note(input_fingerprints.sources(config).values())}
    with display(run), run.claim(), stop_on_signals(run.request_stop):
        metrics = commands.execute(options.command, config, run, out.name, notes=notes)
    for name, value in metrics.items() if run.leads else ():
        print(f"{name:>16}  {value:.4g}")
    return DONE


def _require_same(out: Path, meta: dict[str, Any], config: Job) -> None:
    """Raise ConfigError where a result is not what the command would give now."""
    before = to_dict(from_dict(type(config), meta["config"], where=f"{out}: config"))
    changes = differences(before, to_dict(config) | {name: before[name] for name in recipe.WHERE})
    require(
        not changes, f"{out} has other settings ({changes}): remove it to run the command again"
    )
    replaced = ", ".join(input_fingerprints.changed(meta.get("inputs", {})))
    require(
        not replaced,
        f"{out} was made before {replaced} changed: remove it to run the command again",
    )


def _openrlhf(options: argparse.Namespace) -> int:
    for name, count in openrlhf.export(options.run_dir, options.out).items():
        print(f"{name:>16}  {count}")
    return DONE


def _memory(options: argparse.Namespace) -> int:
    if options.model:
        return _memory_of_round(options)
    if options.config or options.gpu:
        return _say("error: --config and --gpu go with --model", USAGE)
    if not 1e6 <= options.params <= 1e13:
        return _say("error: --params must lie between 1e6 and 1e13", USAGE)
    print("\n".join([*memory_table.table(options.params), memory_table.sentence(options.params)]))
    return DONE


def _recipe(options: argparse.Namespace, agree: Callable[[int], int]) -> int:
    out = Path(options.out).resolve()
    phases = recipe.load(options.recipe, out, options.changes)
    chosen = recipe.choose(phases, only=options.only, start=options.start)
    if options.check:
        recipe.check_files(chosen, RunDirectory(out))
        print("\n".join(recipe_check.lines(recipe_check.check_models(chosen, out))))
        return DONE
    out.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(out)
    run.agree = agree
    with display(run), run.claim(), stop_on_signals(run.request_stop):
        recipe.run_phases(phases, chosen, run, redo=options.redo)
    if run.leads:
        print(f"{', '.join(phase.name for phase in chosen)}: see {out / 'README.md'}")
    return DONE


@contextmanager
def display(run: RunDirectory) -> Iterator[None]:
    """Show progress: bars on a terminal, now and then a plain line elsewhere."""
    if not run.leads:
        yield
        return
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
