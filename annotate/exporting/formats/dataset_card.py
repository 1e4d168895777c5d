"""The card of a dataset folder (README.md): features for `datasets`, and words for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import yaml

from annotate.exporting.version_contents_and_changes import Contents, contents
from annotate.models import DatasetVersion, Guideline

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
LARGER = "1M<n<10M"
SCALARS = {
    pa.string(): "string",
    pa.float64(): "float64",
    pa.int64(): "int64",
    pa.bool_(): "bool",
    pa.json_(): "json",
}


LABELS = (
    "`a` and `b` are pairs with a winner: the rows of the default table. Ties, pairs that are both "
    "bad, those without a majority (`split`) and those that compare two equal texts are in the "
    "table `ties`."
)


@dataclass
class Config:
    """One table of the folder: its types; its files, rows and bytes by split."""

    name: str
    schema: pa.Schema
    paths: dict[str, str] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)


def card(
    version: DatasetVersion, configs: list[Config], *, include_simulated: bool, licence: str
) -> str:
    """The whole file."""
    held = contents(version, include_simulated=include_simulated)
    front = yaml.safe_dump(_front(version, configs, licence), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{_text(version, configs, held, include_simulated, licence)}"


def _front(version: DatasetVersion, configs: list[Config], licence: str) -> dict[str, Any]:
    rows = sum(sum(config.rows.values()) for config in configs if config.name == "default")
    size = next((name for most, name in SIZES if rows < most), LARGER)
    return {
        "pretty_name": f"{version.project.name} v{version.number}",
        **({"license": licence} if licence else {}),
        "size_categories": [size],
        "tags": ["preference", "rlhf", "trl", "pairloop"],
        "configs": [
            {
                "config_name": config.name,
                "data_files": [
                    {"split": split, "path": path} for split, path in config.paths.items()
                ],
                **({"default": True} if config.name == "default" else {}),
            }
            for config in configs
        ],
        "dataset_info": [
            {
                "config_name": config.name,
                "features": [{"name": one.name, **_feature(one.type)} for one in config.schema],
                "download_size": sum(config.size.values()),
                "dataset_size": sum(config.size.values()),
                "splits": [
                    {
                        "name": split,
                        "num_bytes": config.size[split],
                        "num_examples": config.rows[split],
                    }
                    for split in config.paths
                ],
            }
            for config in configs
        ],
    }


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A type as the front matter of the hub writes it."""
    if kind in SCALARS:
        return {"dtype": SCALARS[kind]}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("dtype") or inner["struct"]}
    return {"struct": [{"name": one.name, **_feature(one.type)} for one in kind]}


def _text(
    version: DatasetVersion,
    configs: list[Config],
    held: Contents,
    include_simulated: bool,
    licence: str,
) -> str:
    project = version.project
    paragraphs = [
        f"# {project.name}, version {version.number}",
        project.description,
        f"Preferences between two completions of a prompt, judged by people. {_frozen(version)}",
        f"Licence: {licence or 'not stated'}.",
        "## What it holds",
        _table("rows", [(f"{c.name}, {s}", c.rows[s]) for c in configs for s in c.paths]),
        "## Labels",
        _table("pairs", sorted(held.outcomes.items())),
        f"{LABELS} {held.adjudicated:,} labels are a reviewer's decision, the others a majority.",
        *_votes(held, include_simulated),
        "## Agreement",
        _agreement(held),
        "## How pairs were chosen",
        _chosen(held),
        "## Guidelines",
        *_guidelines(version),
    ]
    return "\n\n".join(part for part in paragraphs if part) + "\n"


def _frozen(version: DatasetVersion) -> str:
    return f"Frozen {version.created_at:%Y-%m-%d}; SHA-256 of the votes `{version.sha256}`."


def _table(what: str, rows: list[tuple[str, int]]) -> str:
    lines = [f"| | {what} |", "|---|--:|", *(f"| {name} | {count:,} |" for name, count in rows)]
    return "\n".join(lines)


def _votes(held: Contents, include_simulated: bool) -> list[str]:
    sentences = [
        f"{len(held.annotators):,} people cast {held.votes:,} votes.",
        f"{held.surplus:,} came after their pair was full, {held.imported:,} from a file.",
        f"{held.weightless:,} votes of people whose weight is 0 count nowhere.",
        *(["Simulated votes are in it."] if include_simulated else []),
    ]
    return [
        "## Annotators",
        " ".join(sentences),
        _table("votes", held.annotators.most_common(50)),
    ]


def _agreement(held: Contents) -> str:
    measured = held.agreement
    if measured is None:
        return "No pair has two votes, so nothing can be said of it."
    where = "the pairs drawn at random" if held.measured_on == "random" else "all pairs"
    rows = ["| | value | 95 % interval |", "|---|--:|---|"]
    for name, value in measured.values.items():
        low_high = measured.intervals[name]
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else "–"
        rows.append(f"| {name} | {'–' if value is None else f'{value:.3f}'} | {interval} |")
    votes = f"Of the first two votes of {measured.pairs:,} pairs ({where})"
    return f"{votes}; intervals by bootstrap over prompts.\n\n" + "\n".join(rows)


def _chosen(held: Contents) -> str:
    known = {name or "unknown": count for name, count in sorted(held.arms.items())}
    mean = "" if held.propensity is None else f" Mean probability of the order: {held.propensity}."
    return (
        f"{_table('pairs', sorted(held.streams.items()))}\n\n"
        "Pairs of the stream `random` were leased at random before anybody else had them, those of "
        "`active` because their votes teach a reward model most, which makes them harder than the "
        "average; those of `evaluation` compare policies. Each vote says in "
        "`stream` in which order its pair was offered and in `propensity` how probable that order "
        f"was. Votes by order: {', '.join(f'{name} {n:,}' for name, n in known.items()) or 'none'}."
        f"{mean}"
    )


def _guidelines(version: DatasetVersion) -> list[str]:
    """The newest guidelines that a vote of the version can have been cast under."""
    written = Guideline.objects.filter(
        project=version.project, created_at__lte=version.created_at
    ).order_by("-version")
    newest = written.first()
    number, text = (newest.version, newest.text) if newest else (1, version.project.guidelines)
    if not text.strip():
        return ["None were written."]
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    return [f"Version {number}, as annotators read it:", quoted]
