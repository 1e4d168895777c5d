"""A dataset version in figures, for its page and its card; and two versions beside each other."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from annotate.exporting.judged_pairs import BATCH, equal_pairs, judged
from annotate.exporting.people_in_version import People
from annotate.exporting.raw_rows import batches, rows_of, stream
from annotate.models import DatasetVersion, Pair
from annotate.statistics.agreement import Agreement, agreement
from annotate.votes.dataset_versions import votes_in

ENOUGH_RANDOM = 200
"""Pairs with two votes that the random stream must hold before agreement is measured on it."""
_VOTE = ("pair_id", "seq", "annotator_id", "choice", "surplus", "stream", "propensity", "imported")
PLACE = {"a": 0, "tie": 1, "both_bad": 1, "b": 2}


@dataclass
class Contents:
    """Counts by name. Votes of people of weight 0 are in `weightless` alone."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Labelled pairs by outcome; those of two equal texts apart."""
    splits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    """Labelled pairs by the arm that leased them first."""
    outside: Counter[str] = field(default_factory=Counter)
    """Pairs that say nothing of completions, by kind."""
    annotators: Counter[str] = field(default_factory=Counter)
    """Counted votes by pseudonym."""
    arms: Counter[str] = field(default_factory=Counter)
    """Votes by the order in which their pair was offered; empty where nobody knows."""
    propensity: float | None = None
    """Mean probability of that order, of the votes that know it."""
    votes: int = 0
    surplus: int = 0
    weightless: int = 0
    imported: int = 0
    adjudicated: int = 0
    agreement: Agreement | None = None
    measured_on: str = ""
    """random or all."""


def contents(version: DatasetVersion, *, include_simulated: bool = False) -> Contents:
    """Read the version's votes once, its labels once."""
    counted = Contents()
    equal = equal_pairs(version)
    for batch in batches(judged(version, include_simulated), BATCH):
        known = _pairs(version, [one.pair_id for one in batch])
        for one in batch:
            kind, queued, _, held_out = known[one.pair_id]
            counted.outcomes["equal_texts" if one.pair_id in equal else one.outcome] += 1
            test = held_out or kind == Pair.Kind.EVALUATION
            counted.splits["test" if test else "train"] += 1
            counted.kinds[kind] += 1
            counted.streams[queued or "not leased here"] += 1
            counted.adjudicated += bool(one.decision)
    _count_votes(version, counted, include_simulated)
    return counted


class _FirstVotes:
    """The first two votes of each pair, small enough to keep those of a million pairs."""

    def __init__(self) -> None:
        self.prompts, self.counts, self.drawn = array("q"), array("b"), array("b")

    def add(self, prompt: int, choices: list[str], *, drawn: bool) -> None:
        """Count two choices on one pair of that prompt."""
        row = [0, 0, 0]
        for choice in choices:
            row[PLACE[choice]] += 1
        self.prompts.append(prompt)
        self.counts.extend(row)
        self.drawn.append(drawn)

    def agreement(self) -> tuple[Agreement | None, str]:
        """Agreement on the pairs drawn at random where they are enough, else on all."""
        if not self.prompts:
            return None, "all"
        drawn = np.frombuffer(self.drawn, dtype=np.int8).astype(bool)
        counts = np.frombuffer(self.counts, dtype=np.int8).astype(np.int64).reshape(-1, 3)
        prompts = np.frombuffer(self.prompts, dtype=np.int64)
        if drawn.sum() < ENOUGH_RANDOM:
            return agreement(counts, prompts), "all"
        return agreement(counts[drawn], prompts[drawn]), "random"


def _count_votes(version: DatasetVersion, counted: Contents, include_simulated: bool) -> None:
    told: dict[str, Any] = {"include_simulated": include_simulated, "columns": _VOTE}
    counted.weightless = votes_in(version, weighing=False, **told).count()
    people, firsts = People(version), _FirstVotes()
    total = known = 0.0
    votes = stream(votes_in(version, weighing=True, **told))
    for batch in batches(_grouped(votes), BATCH):
        pairs = _pairs(version, [cast[0][0] for cast in batch])
        for cast in batch:
            _count(counted, cast, pairs[cast[0][0]], people, firsts)
            given = [vote[6] for vote in cast if vote[6] is not None]
            total, known = total + sum(given), known + len(given)
    counted.propensity = round(total / known, 6) if known else None
    counted.agreement, counted.measured_on = firsts.agreement()


def _count(
    counted: Contents,
    cast: list[tuple[Any, ...]],
    pair: tuple[str, str, int, bool],
    people: People,
    firsts: _FirstVotes,
) -> None:
    """Add the votes on one pair."""
    kind, queued, prompt, _ = pair
    for _, _, person, _, _, arm, _, imported in cast:
        counted.annotators[people[person].pseudonym] += 1
        counted.arms[arm] += 1
        counted.imported += bool(imported)
    standing = [choice for _, _, _, choice, surplus, *_ in cast if not surplus]
    counted.votes += len(cast)
    counted.surplus += len(cast) - len(standing)
    if kind in Pair.OUTSIDE_LABELS:
        counted.outside[kind] += 1
    elif len(standing) > 1:
        firsts.add(prompt, standing[:2], drawn=queued == Pair.Stream.RANDOM)


def _pairs(version: DatasetVersion, ids: list[int]) -> dict[int, tuple[str, str, int, bool]]:
    """Pair id -> kind, stream, prompt and whether that is held out."""
    pairs = Pair.objects.filter(id__in=ids).order_by()
    rows = rows_of(pairs.values_list("id", "kind", "stream", "prompt_id", "prompt__held_out"))
    return {pk: (kind, queued, prompt, bool(held)) for pk, kind, queued, prompt, held in rows}


def _grouped(votes: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The votes of one pair after the other."""
    cast = list[tuple[Any, ...]]()
    for vote in votes:
        if cast and cast[0][0] != vote[0]:
            yield cast
            cast = []
        cast.append(vote)
    if cast:
        yield cast


@dataclass
class Difference:
    """Counts of added, changed and withdrawn votes and labels."""

    votes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)


def difference(
    before: DatasetVersion, after: DatasetVersion, *, include_simulated: bool = False
) -> Difference:
    """Votes by pair and person, labels by pair; both versions are read side by side."""
    result = Difference()
    votes = (_cast(version, include_simulated) for version in (before, after))
    for old, new in _beside(*votes):
        for person in {**(old or {}), **(new or {})}:
            _compare(result.votes, (old or {}).get(person), (new or {}).get(person))
    labels = (
        ((one.pair_id, one.outcome) for one in judged(version, include_simulated))
        for version in (before, after)
    )
    for old_label, new_label in _beside(*labels):
        _compare(result.labels, old_label, new_label)
    return result


def _cast(
    version: DatasetVersion, include_simulated: bool
) -> Iterator[tuple[int, dict[int, tuple[Any, ...]]]]:
    columns = ("pair_id", "seq", "annotator_id", "choice", "strength", "comment")
    votes = votes_in(version, include_simulated=include_simulated, columns=columns)
    for cast in _grouped(stream(votes)):
        yield cast[0][0], {vote[2]: vote[3:] for vote in cast}


def _compare(counts: Counter[str], old: object, new: object) -> None:
    if old is None:
        counts["added"] += 1
    elif new is None:
        counts["withdrawn"] += 1
    elif old != new:
        counts["changed"] += 1


Value = TypeVar("Value")


def _beside(
    one: Iterator[tuple[int, Value]], other: Iterator[tuple[int, Value]]
) -> Iterator[tuple[Value | None, Value | None]]:
    """Two streams in the order of their keys, joined by key; None where one has nothing."""
    end: tuple[float, Any] = (float("inf"), None)
    left, right = next(one, end), next(other, end)
    while left is not end or right is not end:
        key = min(left[0], right[0])
        has_left, has_right = left[0] == key, right[0] == key
        yield left[1] if has_left else None, right[1] if has_right else None
        left = next(one, end) if has_left else left
        right = next(other, end) if has_right else right
