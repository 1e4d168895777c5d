"""A whole pipeline from one file, a recipe: phases in order, each a command with its settings.

In a setting, `${models.policy}` is the value that stands under this name at the top of the recipe,
and `${sft}` the folder of an earlier phase. Everything is checked before anything is trained. A
phase that is done is never run twice; a phase that was ended goes on where it was. Torch-free.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.rlhf import jobs, rows
from training.rlhf.config import ConfigError, Job, from_dict
from training.rlhf.configfile import read_mapping, require
from training.rlhf.rundir import RunDirectory

NAMES = ("models", "data")
"""Parts of a recipe that hold values for its phases to refer to."""
SHARED = ("seed", "threads", "device", "tracker", "held_out_share")
"""Settings that a recipe may give once, for all phases whose commands know them."""
IN_SFT = ("seed", "held_out_share")
"""Those that `sft` reads from its section. Were they not passed on, it would learn from prompts
that every other phase holds out."""
WHERE = ("threads", "device", "tracker")
"""Settings that change nothing about what comes out."""
REFERENCE = re.compile(r"\$\{([\w.-]*)\}")
PHASE_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Phase:
    """One step of a recipe."""

    name: str
    command: str
    config: Job
    settings: dict[str, Any]
    """As written, but for where it runs."""
    reads: tuple[str, ...]
    """Earlier phases that its settings name."""


def load(path: str | Path, out: Path, changes: Sequence[str] = ()) -> list[Phase]:
    """Read a recipe whose phases leave their results in `out`.

    Args:
        changes: `key=value` with a dotted key, as of `--set`; the value is YAML.

    Raises:
        ConfigError: with the place in the recipe that is wrong.
    """
    data = _unshared(read_mapping(path))
    for change in changes:
        _set(data, change)
    unknown = sorted(set(data) - {*NAMES, *SHARED, "phases"})
    require(not unknown, f"{path}: unknown setting {', '.join(unknown)}")
    written = data.get("phases")
    require(isinstance(written, dict) and bool(written), f"{path}: phases must be a mapping")
    names = {
        f"{part}.{key}": value for part in NAMES for key, value in _mapping(data, part).items()
    }
    shared = {key: data[key] for key in SHARED if key in data}
    phases: list[Phase] = []
    for name, settings in _mapping(data, "phases").items():
        where = f"{path}: phases.{name}"
        require(isinstance(settings, dict), f"{where} must be a mapping")
        require(bool(PHASE_NAME.fullmatch(str(name))), f"{where}: names are a-z, 0-9 and _")
        step = Step(str(name), settings, shared, where)
        phases.append(_phase(step, names, out, phases))
    return phases


@dataclass(frozen=True)
class Step:
    """A phase as it stands in the file."""

    name: str
    written: dict[str, Any]
    shared: dict[str, Any]
    where: str


def _phase(step: Step, names: dict[str, Any], out: Path, before: Sequence[Phase]) -> Phase:
    where, command = step.where, step.written.get("command")
    known = ", ".join(jobs.COMMANDS)
    require(command in jobs.COMMANDS, f"{where}.command must be one of {known}")
    kind, _ = jobs.COMMANDS[str(command)]
    fields = {field.name for field in dataclasses.fields(kind)}
    settings = {key: value for key, value in step.shared.items() if key in fields}
    settings |= {key: value for key, value in step.written.items() if key != "command"}
    if command == "sft" and isinstance(settings.get("sft"), dict):
        given = {key: step.shared[key] for key in IN_SFT if key in step.shared}
        settings["sft"] = given | settings["sft"]
    # Earlier phases stay names in what is recorded, so that the folder may be moved.
    symbols = {phase.name: f"${{{phase.name}}}" for phase in before}
    settings = _resolved(settings, names | symbols, where)
    folders = {phase.name: str(out / phase.name) for phase in before}
    config = from_dict(kind, _resolved(settings, folders, where), where=where)
    recorded = {key: value for key, value in settings.items() if key not in WHERE}
    reads = tuple(sorted(_references(settings)))
    return Phase(step.name, str(command), config, {"command": command, **recorded}, reads)


def _unshared(value: Any) -> Any:
    """A copy in which what YAML's anchors made one object is several, or a change of one phase
    would change another."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _mapping(data: dict[str, Any], part: str) -> dict[str, Any]:
    found = data.get(part) or {}
    require(isinstance(found, dict), f"{part} must be a mapping")
    return dict(found)


def _set(data: dict[str, Any], change: str) -> None:
    """Change one value; phases may get new settings, which their command then checks."""
    key, equals, text = change.partition("=")
    require(bool(equals), f"--set {change}: expected key=value")
    *parents, last = key.split(".")
    place: Any = data
    for depth, parent in enumerate(parents, start=1):
        if isinstance(place, dict) and depth > 2 and parent not in place:
            place[parent] = {}
        place = place.get(parent) if isinstance(place, dict) else None
    known = isinstance(place, dict) and (last in place or key.startswith("phases.") or not parents)
    require(known, f"--set {key}: the recipe has no such setting")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}: {error}") from error


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set(REFERENCE.findall(value)) if isinstance(value, str) else set()


def _resolved(value: Any, names: dict[str, Any], where: str) -> Any:
    """`value` with every reference replaced; a reference alone may stand for a list or number."""
    if isinstance(value, dict):
        return {key: _resolved(item, names, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, names, where) for item in value]
    if not isinstance(value, str):
        return value
    for name in REFERENCE.findall(value):
        known = f"an earlier phase, or of {', '.join(NAMES)}"
        require(name in names, f"{where}: ${{{name}}} is no name of {known}")
    whole = REFERENCE.fullmatch(value)
    if whole:
        return names[whole[1]]
    return REFERENCE.sub(lambda found: str(names[found[1]]), value)


def choose(phases: Sequence[Phase], *, only: Sequence[str] = (), start: str = "") -> list[Phase]:
    """The phases to run, in the order of the recipe.

    Raises:
        ConfigError: a name that is no phase.
    """
    known = [phase.name for phase in phases]
    for name in (*only, *([start] if start else [])):
        require(name in known, f"there is no phase {name}; the recipe has {', '.join(known)}")
    first = known.index(start) if start else 0
    return [phase for phase in phases[first:] if not only or phase.name in only]


def run(phases: Sequence[Phase], chosen: Sequence[Phase], run_dir: RunDirectory) -> None:
    """Run what is not done of the chosen phases, in a claimed run directory.

    Raises:
        ConfigError: a phase that is done was made with other settings or from other results, or
            one that is needed has not run.
    """
    from training.rlhf import summary

    for phase in phases:
        _check_done(phase, run_dir)
    names = [phase.name for phase in phases]
    if run_dir.leads:
        summary.write(run_dir, names)  # a process that was killed may have left it behind
    for phase in chosen:
        if run_dir.done(phase.name):
            continue
        missing = [name for name in phase.reads if not run_dir.done(name)]
        require(not missing, f"phase {phase.name} needs {', '.join(missing)}, not run yet")
        notes = {"recipe": phase.settings, "made_from": _made_from(phase, run_dir)}
        try:
            jobs.run(phase.command, phase.config, run_dir, phase.name, notes=notes)
        except (ConfigError, rows.RowError) as error:
            raise type(error)(f"phase {phase.name}: {error}") from error
        if run_dir.leads:
            summary.write(run_dir, names)


def _made_from(phase: Phase, run_dir: RunDirectory) -> dict[str, str]:
    return {name: rows.sha256(run_dir.folder(name) / "meta.json") for name in phase.reads}


def _check_done(phase: Phase, run_dir: RunDirectory) -> None:
    """Refuse results that the recipe, as it is now, would not give."""
    meta = run_dir.stage_meta(phase.name)
    if meta is None:
        return
    folder = run_dir.folder(phase.name)
    again = f"remove {folder} to run the phase again, or choose another --out"
    require(meta.get("recipe") == phase.settings, f"{folder} has other settings: {again}")
    gone = [name for name in phase.reads if not run_dir.done(name)]
    require(
        bool(gone) or meta.get("made_from") == _made_from(phase, run_dir),
        f"{folder} was made from other results of {', '.join(phase.reads)}: {again}",
    )
