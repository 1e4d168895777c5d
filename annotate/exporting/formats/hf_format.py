"""Format `hf`: a dataset folder as the Hugging Face hub keeps them, Parquet and a card.

`datasets.load_dataset(FOLDER)` reads the pairs with a winner, split in train and test;
`load_dataset(FOLDER, "votes")` and `"ties"` the rest. One answer of HTTP is the folder as a ZIP
file, written as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from annotate.exporting.formats import (
    column_types,
    dataset_card,
    parquet_format,
    trl_format,
)
from annotate.exporting.formats.dataset_card import Config
from annotate.exporting.zip_stream import zipped
from annotate.models import DatasetVersion

PARTS = {"hf": "a folder for datasets.load_dataset with a card; by the browser as a ZIP file"}
SPLITS = ("train", "test")
File = tuple[str, Iterator[bytes]]


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, the pairs without a winner by kind, and votes."""
    kinds = parquet_format.counts(version, include_simulated=include_simulated)
    return {"hf" if name == "parquet" else name: count for name, count in kinds.items()}


def lines(
    version: DatasetVersion, *, part: str = "hf", include_simulated: bool, licence: str = ""
) -> Iterator[bytes]:
    """The folder as a ZIP file."""
    return zipped(files(version, include_simulated=include_simulated, licence=licence))


def files(version: DatasetVersion, *, include_simulated: bool, licence: str = "") -> Iterator[File]:
    """Name and bytes of each file of the folder; each is read before the next is asked for."""
    configs = _configs(version, include_simulated)
    told = {"include_simulated": include_simulated}
    for name, split in (*(("default", split) for split in SPLITS), ("ties", ""), ("votes", "")):
        config, part = configs[name], "parquet" if name == "default" else name
        tables = parquet_format.part_tables(version, part, config.schema, **told, split=split)
        counted = _counted(tables, config, split or "train")
        parts = parquet_format.written(counted, config.schema, empty=False)
        first = next(parts, None)
        if first is not None:
            path = f"data/{split}-00000-of-00001.parquet" if split else f"{name}/{name}.parquet"
            config.paths[split or "train"] = path
            yield path, _weighed(chain([first], parts), config, split or "train")
    held = [config for config in configs.values() if config.paths]
    card = dataset_card.card(version, held, **told, licence=licence)
    yield "README.md", iter([card.encode()])


def _configs(version: DatasetVersion, include_simulated: bool) -> dict[str, Config]:
    """The tables of the folder with their types."""
    plain = column_types.roles_and_contents_alone(version)
    columns = {"default": {**column_types.PREFERENCE}}
    if not trl_format.margins_are_known(version, include_simulated):
        # A reward trainer that finds the column reads a number in every row.
        del columns["default"]["margin"]
    columns |= {"ties": {**column_types.UNDECIDED}, "votes": {**column_types.of_votes(version)}}
    return {
        name: Config(name, parquet_format.schema_of(kinds, plain=plain))
        for name, kinds in columns.items()
    }


def _counted(tables: Iterator[pa.Table], config: Config, split: str) -> Iterator[pa.Table]:
    """The tables of a split, whose rows are counted as they pass."""
    for one in tables:
        config.rows[split] += one.num_rows
        yield one


def _weighed(parts: Iterator[bytes], config: Config, split: str) -> Iterator[bytes]:
    """The pieces of a file, whose size is added up."""
    for part in parts:
        config.size[split] += len(part)
        yield part
