"""Model cards: what a version is, what it was made from and how well it does, for whoever gets it.

The head is the YAML that model hubs read. Nothing personal and no path of this machine is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from annotate import exchange
from training.figures import run_files
from training.figures.number_format import figure, number, words
from training.figures.run_progress import gate_rows
from training.models import ModelVersion
from training.rlhf.config import OPTIMISERS

LIMITS = """\
Whatever the people who voted did not look for, it did not learn: facts, safety and fairness were
not measured unless a figure above says so. It was trained for the prompts of one project; on
others expect less. A reward that is maximised is also gamed: read replies, do not trust the
figures alone."""
USES = {
    ModelVersion.POLICY: (
        "Replies to prompts like those of the project it was trained in, with a person who reads "
        "them. Sample with its chat template; it ends a reply by itself."
    ),
    ModelVersion.REWARD: (
        "Ranking replies to the same prompt: the difference of two scores is the logit of "
        "preferring the first. A single score means nothing by itself. Load it with "
        "`training.rlhf.reward.reward_model.load` of Pairloop; the config says how it pools."
    ),
}

ADAPTER = """

An adapter: PEFT puts it on the base that `adapter_config.json` names (`base` is the folder beside
it). `manage.py promoted --merge` writes both as one model."""


def card(version: ModelVersion, *, merged: bool = False) -> str:
    """The version's README.md.

    Args:
        merged: the version is an adapter and leaves as one model with its base.
    """
    adapter, base = _is_adapter(version) and not merged, base_model(version)
    title = f"# {version.name} of {_plain(version.project.name)}"
    parts = [f"---\n{_head(version, base, adapter=adapter)}---", title, _about(version, base)]
    parts += [f"## {name}\n\n{text}" for name, text in _sections(version, adapter=adapter) if text]
    return "\n\n".join(parts) + "\n"


def _sections(version: ModelVersion, *, adapter: bool) -> Iterator[tuple[str, str]]:
    yield "Data", _data(version)
    yield "Results", _table(("Figure", "Value", "95 % interval"), _results(version))
    gates = [
        (gate["title"], figure(number(gate.get("value"))), gate["bound"], _verdict(gate))
        for gate in gate_rows(version)
    ]
    yield "Gates", _table(("Gate", "Value", "Bound", "Passed"), gates)
    yield "Training", _table(("Setting", "Value"), _settings(version))
    yield "Intended use", USES[version.kind] + (ADAPTER if adapter else "")
    yield "Limits", LIMITS


def _verdict(gate: dict[str, Any]) -> str:
    """The word on a gate: one that may lack a value and has none is neither passed nor failed."""
    if gate["passed"]:
        return "yes"
    return "no" if gate["failed"] else "not measured"


def _head(version: ModelVersion, base: str, *, adapter: bool) -> str:
    policy = version.kind == ModelVersion.POLICY
    head: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation" if policy else "text-classification",
        "tags": ["pairloop", "rlhf", "reinforcement-learning" if policy else "reward-model"],
    }
    if base:
        head["base_model"] = base
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def base_model(version: ModelVersion) -> str:
    """Hub id of the model that everything began with; empty when it came from a folder, or is not
    known because the version was trained elsewhere."""
    if version.added:
        return ""
    starter = ModelVersion.objects.policies().filter(project=version.project_id, number=0).first()
    path = starter.path if starter else ""
    local = starter is None or starter.run_id or Path(starter.location).is_absolute()
    return "" if local else path


def _is_adapter(version: ModelVersion) -> bool:
    return (Path(version.location) / "adapter_config.json").is_file()


def _about(version: ModelVersion, base: str) -> str:
    origin = f"`{base}`" if base else "a model of the project's own"
    if version.number == 0:
        return f"The policy that the project started from: {origin}."
    what = "A policy" if version.kind == ModelVersion.POLICY else "A reward model"
    if version.added:
        return f"{what} that was trained elsewhere and added on {version.created_at:%Y-%m-%d}."
    parent = f" It continues {version.parent.name}." if version.parent else ""
    state = version.get_state_display().lower()
    return (
        f"{what} made by Pairloop from people's comparisons; everything began with {origin}."
        f"{parent} Round {version.number}, {version.created_at:%Y-%m-%d}, state when this card was "
        f"written: {state}."
    )


def _data(version: ModelVersion) -> str:
    size = exchange.dataset_sizes(version.project).get(version.dataset_version or 0)
    if size is None:
        return (
            "None of this project: it was trained elsewhere."
            if version.added
            else "No votes: it is where the project started."
        )
    simulated = f", {size['simulated']} of them simulated" if size["simulated"] else ""
    return (
        f"Dataset version {version.dataset_version}: {size['votes']} votes{simulated} on "
        f"{size['pairs']} pairs of replies. Held-out prompts were in no training."
    )


def figures(version: ModelVersion) -> list[tuple[str, float, float | None, float | None]]:
    """Every figure of a version by name: its key, its value and the ends of its interval."""
    values = {key: number(value) for key, value in version.metrics.items()}
    known = {key: value for key, value in values.items() if value is not None}
    bounds = {
        key for key in known if key.endswith(("_low", "_high")) and key.rpartition("_")[0] in known
    }
    return [
        (key, value, known.get(f"{key}_low"), known.get(f"{key}_high"))
        # PostgreSQL keeps no order of keys, and a card is the same wherever it is written.
        for key, value in sorted(known.items())
        if key not in bounds
    ]


def _results(version: ModelVersion) -> list[tuple[str, str, str]]:
    return [
        (words(key), figure(value), "" if low is None else f"{figure(low)} to {figure(high)}")
        for key, value, low, high in figures(version)
    ]


def _settings(version: ModelVersion) -> list[tuple[str, str]]:
    """Settings the version was trained with; paths of this machine stay behind."""
    if version.run is None or version.run.round is None:
        return []
    config = version.run.round.config
    if version.kind == ModelVersion.REWARD:
        chosen = {"seed": config.get("seed"), "reward": config.get("reward", {})}
    else:
        optimiser = str(config.get("optimiser", ""))
        known = OPTIMISERS.get(optimiser)
        section = known.settings if known else optimiser
        chosen = {
            "seed": config.get("seed"),
            "optimiser": optimiser,
            optimiser: config.get(section, {}),
        }
    return sorted(run_files.flat(chosen))


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """One line of text that Markdown takes as it is."""
    escaped = "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in text)
    return " ".join(escaped.split())
