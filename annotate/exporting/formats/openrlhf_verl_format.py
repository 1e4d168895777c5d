"""Formats of other trainers: `openrlhf` and `verl`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotate.exporting.formats import parquet_format, trl_format
from annotate.exporting.formats.text_styles import CHAT
from annotate.exporting.formats.trl_format import Row
from annotate.exporting.judged_pairs import with_texts
from annotate.exporting.raw_rows import stream
from annotate.models import DatasetVersion
from annotate.votes.export_values import line, parsed

OPENRLHF_PARTS = {
    "openrlhf": "the pairs to train on: prompt, chosen and rejected as messages",
    "held_out": "those of held-out prompts and evaluation pairs",
    "prompts": "the prompts to train on, for PPO and its kin",
}
VERL_PARTS = {
    "verl": "the prompts to train on, in verl's columns",
    "test": "the held-out prompts",
}
_LEARNT = ("prompt", "chosen", "rejected", "margin")
_EXTRA = pa.struct([("split", pa.string()), ("index", pa.int64()), ("prompt_id", pa.string())])
_REWARD = pa.struct([("style", pa.string()), ("ground_truth", pa.string())])


def openrlhf_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Pairs by part, the pairs without a winner by kind, and prompts."""
    told = {"include_simulated": include_simulated}
    kinds = trl_format.pair_counts(version, part="pairs", include_simulated=include_simulated)
    train = sum(1 for _ in openrlhf_lines(version, part="openrlhf", **told))
    rest = {"held_out": kinds.pop("pairs") - train, **kinds}
    return {"openrlhf": train, **rest, "prompts": _prompts(version, held_out=False).count()}


def openrlhf_lines(
    version: DatasetVersion, *, part: str = "openrlhf", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines; OpenRLHF joins prompt and reply before it applies the chat template."""
    if part == "prompts":
        for [messages] in stream(_prompts(version, held_out=False).values_list("messages")):
            yield line({"messages": parsed(messages)})
        return
    split = "train" if part == "openrlhf" else "test"
    margins = trl_format.margins_are_known(version, include_simulated)
    row_of = trl_format.preference(CHAT, margins=margins)
    for one, pair in with_texts(version, include_simulated):
        if pair.split == split:
            row = row_of(one, pair)
            yield line({name: row[name] for name in _LEARNT if name in row})


def verl_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Prompts by part."""
    parts = zip(VERL_PARTS, (False, True), strict=True)
    return {part: _prompts(version, held_out=held_out).count() for part, held_out in parts}


def verl_lines(
    version: DatasetVersion, *, part: str = "verl", include_simulated: bool
) -> Iterator[bytes]:
    """Parquet, which verl reads; a reward model or a function of the user's gives the reward."""
    chat = pa.list_(parquet_format.MESSAGE)
    names = {"data_source": pa.string(), "prompt": chat, "ability": pa.string()}
    schema = pa.schema([*names.items(), ("reward_model", _REWARD), ("extra_info", _EXTRA)])
    held_out = part == "test"
    rows = verl_rows(version, include_simulated=include_simulated, held_out=held_out)
    return parquet_format.file_of(rows, schema, empty=not held_out)


def verl_rows(
    version: DatasetVersion, *, include_simulated: bool, held_out: bool = False
) -> Iterator[Row]:
    """The prompts of one split, on which no votes are."""
    columns = ("sha256", "messages", "reference")
    prompts = _prompts(version, held_out=held_out).values_list(*columns)
    for index, (sha256, messages, reference) in enumerate(stream(prompts)):
        yield {
            "data_source": f"pairloop/{version.project.slug}",
            "prompt": parsed(messages),
            "ability": "preference",
            "reward_model": {"style": "model", "ground_truth": reference},
            "extra_info": {
                "split": "test" if held_out else "train",
                "index": index,
                "prompt_id": sha256,
            },
        }


def _prompts(version: DatasetVersion, *, held_out: bool) -> Any:
    """The project's prompts as they stand now: a version numbers votes alone."""
    return version.project.prompts.filter(held_out=held_out).order_by("pk")
