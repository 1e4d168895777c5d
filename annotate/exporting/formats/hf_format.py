"""Format `hf`: a dataset folder as the Hugging Face hub keeps them, Parquet and a card.

`datasets.load_dataset(FOLDER)` reads the pairs with a winner, split in train and test;
`load_dataset(FOLDER, "votes")` and `"ties"` the rest. One answer of HTTP is the folder as a ZIP
file, written as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from annotate.exporting.formats import (
    column_types,
    dataset_card,
    parquet_format,
    preference_rows,
)
from annotate.exporting.formats.preference_rows import Row
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
    plain = column_types.roles_and_contents_alone(version)
    margins = preference_rows.margins_are_known(version, include_simulated)
    written = dict[str, dataset_card.Config]()
    for name, split in (*(("default", split) for split in SPLITS), ("ties", ""), ("votes", "")):
        part = "parquet" if name == "default" else name
        rows, columns = parquet_format.part_rows(version, part, include_simulated=include_simulated)
        if name == "default" and not margins:
            # A reward trainer that finds the column reads a number in every row.
            columns = {key: kind for key, kind in columns.items() if key != "margin"}
        schema = parquet_format.schema_of(columns, plain=plain)
        config = written.setdefault(name, dataset_card.Config(name, schema))
        path = f"data/{split}-00000-of-00001.parquet" if split else f"{name}/{name}.parquet"
        counted = _counted(rows, config, split or "train")
        parts = parquet_format.file_of(counted, schema, empty=False)
        first = next(parts, None)
        if first is not None:
            config.paths[split or "train"] = path
            yield path, _weighed(chain([first], parts), config, split or "train")
    configs = [config for config in written.values() if config.paths]
    card = dataset_card.card(version, configs, include_simulated=include_simulated, licence=licence)
    yield "README.md", iter([card.encode()])


def _counted(rows: Iterator[Row], config: dataset_card.Config, split: str) -> Iterator[Row]:
    """The rows of a split, counted as they pass."""
    for row in rows:
        if config.name != "default" or row["split"] == split:
            config.rows[split] += 1
            yield row


def _weighed(parts: Iterator[bytes], config: dataset_card.Config, split: str) -> Iterator[bytes]:
    """The pieces of a file, whose size is added up."""
    for part in parts:
        config.size[split] += len(part)
        yield part
