"""Format `votes`: one line per vote of a dataset version, in pair order, as it was cast.

With the texts that were compared, so that a line says all there is and imports again. What an
imported vote does not know is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from annotate.exporting.formats.trl_format import Row
from annotate.exporting.judged_pairs import BATCH, PairTexts, texts
from annotate.exporting.people_in_version import People, Person
from annotate.exporting.raw_rows import batches, stream
from annotate.models import DatasetVersion
from annotate.votes.dataset_versions import votes_in
from annotate.votes.export_values import line, parsed, timestamp, uuid_text

PARTS = {"votes": "one line per vote", "weightless": "the votes of people whose weight is 0"}
_VOTE = (
    *("pair_id", "seq", "annotator_id", "token", "revision", "choice", "strength", "left"),
    *("reasons", "comment", "criteria", "leased_at_text", "voted_at_text", "active_ms"),
    *("first_key_ms", "wall_ms", "input", "guideline_version", "stream", "propensity"),
    *("surplus", "simulated"),
    *("imported", "metadata", "criteria_asked"),
)


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Number of lines in the export, and of the votes that it leaves out or puts aside."""
    simulated = 0 if include_simulated else version.n_simulated
    aside = _votes(version, "weightless", include_simulated).count()
    votes = version.n_votes - simulated - aside
    return {"votes": votes, "simulated_left_out": simulated, "weightless": aside}


def lines(
    version: DatasetVersion, *, part: str = "votes", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the version's votes, or (part `weightless`) of those that count nowhere."""
    for batch, pairs, people in _batches(version, part, include_simulated):
        # The texts are written once per pair.
        shared = {pk: line(_shared(pair))[1:] for pk, pair in pairs.items()}
        for vote in batch:
            own = line(_own(vote, people[vote[2]], pairs[vote[0]]))
            yield own[:-2] + b"," + shared[vote[0]]


def rows(version: DatasetVersion, *, part: str = "votes", include_simulated: bool) -> Iterator[Row]:
    """The same as rows."""
    for batch, pairs, people in _batches(version, part, include_simulated):
        shared = {pk: _shared(pair) for pk, pair in pairs.items()}
        for vote in batch:
            yield _own(vote, people[vote[2]], pairs[vote[0]]) | shared[vote[0]]


def columns(
    version: DatasetVersion, *, include_simulated: bool
) -> Iterator[tuple[dict[str, Sequence[Any]], list[int], list[int]]]:
    """The same batch by batch in columns: those of the votes alone, the pairs that they are on in
    the order of their numbers, and the place of each vote's pair among these."""
    people = People(version)
    for batch in batches(stream(_votes(version, "votes", include_simulated)), BATCH):
        pairs = sorted({vote[0] for vote in batch})
        place = {pair: n for n, pair in enumerate(pairs)}
        own = _own_columns(batch, [people[vote[2]] for vote in batch])
        yield own, pairs, [place[vote[0]] for vote in batch]


def _own_columns(batch: list[tuple[Any, ...]], people: list[Person]) -> dict[str, Sequence[Any]]:
    told = dict(zip(_VOTE, zip(*batch, strict=True), strict=True))
    ids = zip(told["token"], told["revision"], strict=True)
    plain = ("choice", "strength", "comment", "active_ms", "first_key_ms", "wall_ms", "input")
    return {
        "vote_id": [f"{uuid_text(token)}-{revision}" for token, revision in ids],
        "annotator": [person.pseudonym for person in people],
        **{name: told[name] for name in (*plain, "guideline_version", "propensity")},
        **{name: [value or None for value in told[name]] for name in ("left", "stream")},
        "reasons": _parsed(told["reasons"], []),
        **{name: _parsed(told[name], None) for name in ("criteria", "metadata")},
        "criteria_asked": [value or None for value in told["criteria_asked"]],
        "leased_at": list(map(timestamp, told["leased_at_text"])),
        "voted_at": list(map(timestamp, told["voted_at_text"])),
        **{name: list(map(bool, told[name])) for name in ("surplus", "simulated", "imported")},
        "weight": [person.weight for person in people],
        "reliability": [person.reliability for person in people],
    }


def _parsed(texts: Sequence[str], empty: Any) -> list[Any]:
    """A JSON column; most of it is the same."""
    known = {text: parsed(text) or empty for text in set(texts)}
    return [known[text] for text in texts]


def _batches(
    version: DatasetVersion, part: str, include_simulated: bool
) -> Iterator[tuple[list[tuple[Any, ...]], dict[int, PairTexts], People]]:
    people = People(version)
    for batch in batches(stream(_votes(version, part, include_simulated)), BATCH):
        yield batch, texts({vote[0] for vote in batch}), people


def _votes(version: DatasetVersion, part: str, include_simulated: bool) -> Any:
    return votes_in(
        version,
        include_simulated=include_simulated,
        columns=_VOTE,
        weighing=part == "votes",
    )


def _shared(pair: PairTexts) -> Row:
    """The columns that all votes on a pair have."""
    held = {**pair.prompt_metadata, **pair.metadata}
    return {
        "kind": pair.kind,
        "pair_stream": pair.stream,
        "retest_of": pair.retest_of,
        "split": pair.split,
        "tags": pair.tags,
        "source_margin": pair.source_margin,
        "model_a": pair.a.model,
        "model_b": pair.b.model,
        "prompt": pair.messages,
        "tools": pair.tools,
        "reference": pair.reference or None,
        "completion_a": pair.a.text,
        "completion_b": pair.b.text,
        "messages_a": pair.a.messages,
        "messages_b": pair.b.messages,
        "completion_a_id": pair.a.sha256,
        "completion_b_id": pair.b.sha256,
        "pair_metadata": held or None,
        "metadata_a": pair.a.metadata or None,
        "metadata_b": pair.b.metadata or None,
    }


def _own(vote: tuple[Any, ...], person: Person, pair: PairTexts) -> Row:
    _, _, _, token, revision, choice, strength, left, reasons, comment, criteria, *rest = vote
    leased_at, voted_at, active, first_key, wall, device, guideline, arm, propensity, *more = rest
    surplus, simulated, imported, metadata, asked = more
    return {
        # The revision tells a corrected vote from the one an earlier version holds.
        "vote_id": f"{uuid_text(token)}-{revision}",
        "pair_id": pair.key,
        "prompt_id": pair.prompt_id,
        "annotator": person.pseudonym,
        "choice": choice,
        "strength": strength,
        "left": left or None,
        "reasons": parsed(reasons),
        "comment": comment,
        "criteria": parsed(criteria) or None,
        # Without criteria in the project a line is what it was before there was this mark.
        **({"criteria_asked": asked} if asked else {}),
        "leased_at": timestamp(leased_at),
        "voted_at": timestamp(voted_at),
        "active_ms": active,
        "first_key_ms": first_key,
        "wall_ms": wall,
        "input": device,
        "guideline_version": guideline,
        "stream": arm or None,
        "propensity": propensity,
        "surplus": bool(surplus),
        "simulated": bool(simulated),
        "imported": bool(imported),
        "weight": person.weight,
        "reliability": person.reliability,
        "metadata": parsed(metadata) or None,
    }
