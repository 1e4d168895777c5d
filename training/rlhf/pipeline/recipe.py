"""A whole pipeline from one file, a recipe: phases in order, each a command with its settings.

In a setting, `${models.policy}` is the value that stands under this name at the top of the recipe,
and `${sft}` the folder of an earlier phase. Everything is checked before anything is trained. A
phase that is done is never run twice; a phase that was ended goes on where it was. Torch-free.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.rlhf import rows
from training.rlhf.config import ConfigError, Job, from_dict
from training.rlhf.config.config_file import differences, read_mapping, require
from training.rlhf.data import data_files, input_fingerprints
from training.rlhf.pipeline import commands, recipe_report
from training.rlhf.run import durable
from training.rlhf.run.run_directory import RunDirectory

NAMES = ("models", "data")
"""Parts of a recipe that hold values for its phases to refer to."""
SHARED = ("seed", "threads", "device", "tracker", "held_out_share")
"""Settings that a recipe may give once, for all phases whose commands know them."""
IN_SFT = ("seed", "held_out_share")
"""Those that `sft` reads from its section. Were they not passed on, it would learn from prompts
that every other phase holds out."""
WHERE = ("threads", "device", "tracker")
"""Settings that change nothing about what comes out."""
SHIPPED = Path(__file__).resolve().parent.parent / "recipes"
REFERENCE = re.compile(r"\$\{([\w.-]*)\}")
BEGUN = "begun.json"
"""Beside the checkpoints of a phase: what it was begun with."""
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
        path: a file, or the name of a recipe that comes with the engine, such as `textbook`.
        changes: `key=value` with a dotted key, as of `--set`; the value is YAML.

    Raises:
        ConfigError: with the place in the recipe that is wrong.
    """
    data = _unshared(read_mapping(_file(path)))
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


def _file(path: str | Path) -> Path:
    """The file at `path`; where there is none, the shipped recipe of this name."""
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    known = ", ".join(shipped)
    require(
        Path(path).exists() or str(path) in shipped,
        f"there is no recipe file {path}; those that come along are {known}",
    )
    return Path(path) if Path(path).exists() else shipped[str(path)]


@dataclass(frozen=True)
class Step:
    """A phase as it stands in the file."""

    name: str
    written: dict[str, Any]
    shared: dict[str, Any]
    where: str


def _phase(step: Step, names: dict[str, Any], out: Path, before: Sequence[Phase]) -> Phase:
    where, command = step.where, step.written.get("command")
    known = ", ".join(commands.COMMANDS)
    require(command in commands.COMMANDS, f"{where}.command must be one of {known}")
    kind = commands.COMMANDS[str(command)].kind
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
    mapping = data.get(part) or {}
    require(isinstance(mapping, dict), f"{part} must be a mapping")
    return dict(mapping)


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
    return REFERENCE.sub(lambda match: str(names[match[1]]), value)


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


def run_phases(
    phases: Sequence[Phase], chosen: Sequence[Phase], run_dir: RunDirectory, *, redo: bool = False
) -> None:
    """Run what is not done of the chosen phases, in a claimed run directory.

    Args:
        redo: run a chosen phase again where its result is not what the recipe would give now.

    Raises:
        ConfigError: a phase that is done was made with other settings or from other inputs, or
            one that is needed has not run, or a setting or file that a phase needs is missing.
    """
    for phase in phases:
        if not (redo and phase in chosen):
            _require_current(phase, phases, run_dir)
    check_files(chosen, run_dir)
    names = [phase.name for phase in phases]
    if run_dir.leads:
        recipe_report.write(run_dir, names)  # a process that was killed may have left it behind
    for phase in chosen:
        meta = run_dir.stage_meta(phase.name) or _begun(phase, run_dir)
        if run_dir.agree(int(redo and bool(_outdated(phase, meta, run_dir)))):
            run_dir.forget(phase.name)
        # The inputs of a phase that is done may have been made anew just now.
        _require_current(phase, phases, run_dir)
        if not run_dir.done(phase.name):
            _perform(phase, run_dir)
            if run_dir.leads:
                recipe_report.write(run_dir, names)


def check_files(chosen: Sequence[Phase], run_dir: RunDirectory) -> None:
    """Refuse phases that lack a setting or a file.

    Raises:
        ConfigError: names the phase.
    """
    for phase in chosen:
        with _naming(phase):
            _check_ready(phase, run_dir)


def _perform(phase: Phase, run_dir: RunDirectory) -> None:
    missing = [name for name in phase.reads if not run_dir.done(name)]
    require(not missing, f"phase {phase.name} needs {', '.join(missing)}, not run yet")
    notes = {
        "recipe": phase.settings,
        "made_from": _made_from(phase, run_dir),
        "inputs": input_fingerprints.note(
            _outside(input_fingerprints.sources(phase.config), run_dir).values()
        ),
    }
    if run_dir.leads:
        durable.replace(run_dir.checkpoints(phase.name) / BEGUN, json.dumps(notes))
    with _naming(phase):
        commands.execute(phase.command, phase.config, run_dir, phase.name, notes=notes)


def _begun(phase: Phase, run_dir: RunDirectory) -> dict[str, Any] | None:
    """The notes that the phase was begun with, where it was."""
    file = run_dir.checkpoints(phase.name) / BEGUN
    return json.loads(file.read_text("utf-8")) if file.exists() else None


@contextmanager
def _naming(phase: Phase) -> Iterator[None]:
    """Let errors of settings and data say whose they are."""
    try:
        yield
    except (ConfigError, rows.RowError) as error:
        raise type(error)(f"phase {phase.name}: {error}") from error


def _check_ready(phase: Phase, run_dir: RunDirectory) -> None:
    """Refuse at once what would fail after the phases before it have taken their hours."""
    if run_dir.done(phase.name):
        return
    commands.check(phase.command, phase.config)
    for name, path in _outside(input_fingerprints.files(phase.config), run_dir).items():
        is_there = path.startswith(data_files.DATASET) or Path(path).exists()
        require(is_there, f"{name}: there is no file {path}")


def _outside(paths: Mapping[str, str], run_dir: RunDirectory) -> dict[str, str]:
    """Those that no phase of this recipe makes."""
    return {
        name: path for name, path in paths.items() if not Path(path).is_relative_to(run_dir.path)
    }


def _made_from(phase: Phase, run_dir: RunDirectory) -> dict[str, str]:
    return {name: rows.sha256(run_dir.folder(name) / "meta.json") for name in phase.reads}


def _outdated(phase: Phase, meta: dict[str, Any] | None, run_dir: RunDirectory) -> str:
    """Why what `meta` tells of is not what the recipe, as it is now, would give; "" where it is."""
    if meta is None:
        return ""
    if meta.get("recipe") != phase.settings:
        return f"has other settings ({differences(meta.get('recipe'), phase.settings)})"
    replaced = input_fingerprints.changed(meta.get("inputs", {}))
    if replaced:
        return f"was made before {', '.join(replaced)} changed"
    gone = [name for name in phase.reads if not run_dir.done(name)]
    if gone or meta.get("made_from") == _made_from(phase, run_dir):
        return ""
    return f"was made from other results of {', '.join(phase.reads)}"


def _require_current(phase: Phase, phases: Sequence[Phase], run_dir: RunDirectory) -> None:
    reason = _outdated(phase, run_dir.stage_meta(phase.name), run_dir)
    again = {phase.name}
    for later in phases:
        if again.intersection(later.reads) and run_dir.done(later.name):
            again.add(later.name)
    after = [each.name for each in phases if each.name in again - {phase.name}]
    more = f" and what was made from it ({', '.join(after)})" if after else ""
    folder = run_dir.folder(phase.name)
    advice = f"--redo runs it again{more}, or choose another --out"
    require(not reason, f"{folder} {reason}. {advice}")
