"""The table of export formats, and what each of them offers to pages, API and command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from annotate.exporting.formats import (
    csv_format,
    hf_format,
    kto_sft_format,
    openrlhf_verl_format,
    parquet_format,
    ranked_format,
    trl_format,
    votes_format,
)
from annotate.exporting.project import project_format
from annotate.models import DatasetVersion


class Lines(Protocol):
    """A function that streams one part of a version: JSON lines, or pieces of a file."""

    def __call__(
        self, version: DatasetVersion, *, part: str, include_simulated: bool
    ) -> Iterator[bytes]: ...


class Counts(Protocol):
    """A function that tells, before the export is read, what it holds and what it leaves out."""

    def __call__(self, version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]: ...


class Files(Protocol):
    """A function that streams the files of a folder: name and bytes, one after the other."""

    def __call__(
        self, version: DatasetVersion, *, include_simulated: bool
    ) -> Iterator[tuple[str, Iterator[bytes]]]: ...


class Rows(Protocol):
    """A function that gives the rows of the first part of a format that is no text."""

    def __call__(
        self, version: DatasetVersion, *, include_simulated: bool
    ) -> Iterator[dict[str, Any]]: ...


class ExportFormat(NamedTuple):
    """One format of the table below, as pages, API and command offer it."""

    lines: Lines
    parts: Mapping[str, str]
    """Name of each part and what it holds, in words; the first is the export, others go beside."""
    counts: Counts | None = None
    """Without it, the lines of the first part are counted."""
    read_by: str = ""
    """Its readers, in a sentence."""
    suffix: str = "jsonl"
    """Of its files: jsonl, csv, parquet or zip."""
    files: Files | None = None
    """Of a format that is a folder, whose `lines` are the folder as a ZIP file."""
    rows: Rows | None = None
    """Of a format that cannot be looked at."""
    options: Mapping[str, str] = {}
    """Further options, and their effects in words."""
    of_now: bool = False
    """It holds more than a version does, and so leaves with the newest alone."""

    @property
    def main_part(self) -> str:
        return next(iter(self.parts))

    def refusal(self, version: DatasetVersion) -> str:
        """The reason why that version cannot leave so, in a sentence; empty when it can."""
        newest = version.project.dataset_versions.first()
        if not self.of_now or newest is None or newest.number == version.number:
            return ""
        return (
            "This format holds the project as it is now, with all of its versions. "
            f"Choose the newest, version {newest.number}."
        )

    def counted(self, version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
        """Figures that go with an export: rows by kind."""
        if self.counts is not None:
            return self.counts(version, include_simulated=include_simulated)
        part = self.main_part
        lines = self.lines(version, part=part, include_simulated=include_simulated)
        return {part: sum(1 for _ in lines)}


STYLE = {"style": "chat (lists of messages) or text"}
# A format is one function that yields lines, and one line here.
FORMATS: dict[str, ExportFormat] = {
    "trl-conversational": ExportFormat(
        trl_format.chat_lines,
        trl_format.CHAT_PARTS,
        trl_format.chat_counts,
        "TRL's RewardTrainer, DPOTrainer and, by its prompts, GRPOTrainer with a chat model: "
        "chats, to which the trainer applies the model's own template.",
    ),
    "trl": ExportFormat(
        trl_format.lines,
        trl_format.PARTS,
        trl_format.counts,
        "The trainers of trl-conversational with a model that has no chat template: texts that "
        "read right when prompt and reply are joined.",
    ),
    "kto": ExportFormat(
        kto_sft_format.kto_lines,
        kto_sft_format.KTO_PARTS,
        kto_sft_format.kto_counts,
        "TRL's KTOTrainer: single completions that are good or bad.",
        options=STYLE,
    ),
    "sft": ExportFormat(
        kto_sft_format.sft_lines,
        kto_sft_format.SFT_PARTS,
        kto_sft_format.sft_counts,
        "TRL's SFTTrainer: the completions to imitate.",
        options=STYLE,
    ),
    "ranked": ExportFormat(
        ranked_format.lines,
        ranked_format.PARTS,
        ranked_format.counts,
        "Trainers on whole rankings, and people who look for the best of many completions.",
        options=STYLE,
    ),
    "hf": ExportFormat(
        hf_format.lines,
        hf_format.PARTS,
        hf_format.counts,
        "datasets.load_dataset and the Hugging Face hub; tool calls keep their types here.",
        suffix="zip",
        files=hf_format.files,
        rows=parquet_format.winners,
        options={"licence": "the licence that the card states, such as cc-by-4.0"},
    ),
    "parquet": ExportFormat(
        parquet_format.lines,
        parquet_format.PARTS,
        parquet_format.counts,
        "pandas, DuckDB, Spark: typed columns.",
        suffix="parquet",
        rows=parquet_format.winners,
    ),
    "csv": ExportFormat(
        csv_format.lines,
        csv_format.PARTS,
        csv_format.counts,
        "Spreadsheets. Formulas are disarmed by an apostrophe, which an import takes off again.",
        suffix="csv",
    ),
    "votes": ExportFormat(
        votes_format.lines,
        votes_format.PARTS,
        votes_format.counts,
        "Statisticians, and an import elsewhere: every vote with all that is known of it.",
    ),
    "project": ExportFormat(
        project_format.lines,
        project_format.PARTS,
        project_format.counts,
        "An import into an empty project, here or elsewhere, which brings all of it back: people "
        "as pseudonyms, the weights of models not.",
        of_now=True,
    ),
    "openrlhf": ExportFormat(
        openrlhf_verl_format.openrlhf_lines,
        openrlhf_verl_format.OPENRLHF_PARTS,
        openrlhf_verl_format.openrlhf_counts,
        "OpenRLHF: --data.prompt_key prompt, chosen and rejected with --data.apply_chat_template.",
    ),
    "verl": ExportFormat(
        openrlhf_verl_format.verl_lines,
        openrlhf_verl_format.VERL_PARTS,
        openrlhf_verl_format.verl_counts,
        "verl: prompts for PPO and GRPO with a reward of your own.",
        suffix="parquet",
        rows=openrlhf_verl_format.verl_rows,
    ),
}


class UnknownFormat(ValueError):
    """A format nobody wrote; the message names the known ones."""


def format_named(name: str) -> ExportFormat:
    """The format of that name. Raises UnknownFormat."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UnknownFormat(f"Unknown export format {name!r}. Known formats: {known}.") from None
