"""Ratings of single replies: somebody's newest value counts, and the earlier one is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from annotate.importing.imported_row import Reply
from annotate.importing.storage.bulk_insert import Columns
from annotate.importing.storage.content_batch import MISSING, ContentBatch, Key
from annotate.importing.storage.import_context import ImportContext, Item, Outcome
from annotate.importing.storage.imported_annotators import is_nobody
from annotate.models import ImportChange, Rating

Table = ImportChange.Table
_RATINGS = Columns(
    Rating, ("completion_id", "annotator_id", "name", "value", "created_at", "imported_by_id")
)
Place = tuple[Key, str, int | None]
"""A completion, the name of a rating, and who gave it: None is the first whom nobody knows."""


@dataclass(slots=True)
class RatingState:
    """A rating as it will be; `id` is None while it is to be added."""

    id: int | None
    value: float
    imported_by: int | None = None
    is_revised: bool = False


@dataclass
class RatingBatch:
    """Look up, then store; the completions have their numbers by then."""

    context: ImportContext
    items: list[Item]
    outcome: Outcome
    contents: ContentBatch
    states: dict[Place, RatingState] = field(default_factory=dict)

    def look_up(self) -> None:
        """Find the ratings that are there, and plan the rest."""
        rated = [
            (item, (item.prompt, sha), reply)
            for item in self.items
            for sha, reply in zip(item.replies, item.row.replies, strict=True)
            if reply.ratings
        ]
        if not rated:
            return
        self._find({key for _, key, _ in rated})
        for item, key, reply in rated:
            self._plan(item, key, reply)

    def _find(self, keys: set[Key]) -> None:
        of = {self.contents.completions[key].id: key for key in keys}
        stored = Rating.objects.filter(completion__in=[one for one in of if one and one > 0])
        columns = ("completion_id", "name", "annotator_id", "id", "value", "imported_by_id")
        for completion, name, who, *values in stored.values_list(*columns):
            self.states[of[completion], name, who] = RatingState(*values)
        if self.context.dry_run:
            names = {_memory_of(key): key for key in keys}
            for name, ratings in self.context.memory.get(names).items():
                for rating, who, *kept in ratings:
                    self.states[names[name], rating, who] = RatingState(*kept)

    def _plan(self, item: Item, key: Key, reply: Reply) -> None:
        for rating in reply.ratings:
            if is_nobody(rating.rater):
                place = self._unknown(key, rating.name, rating.value)
            else:
                place = (key, rating.name, self.context.annotators[rating.rater])
            there = self.states.get(place)
            if there is None:
                self.states[place] = RatingState(None, rating.value)
                self.outcome.added["ratings"] += 1
            elif there.value == rating.value:
                self.outcome.added["duplicates"] += 1
            else:
                self.outcome.changes(
                    Table.RATING, there.id, of=there.imported_by, value=there.value
                )
                there.value, there.is_revised = rating.value, there.id is not None
                self.outcome.added["revised"] += 1
                reason = "this person has rated the reply otherwise before; the later value counts"
                self.outcome.note(item, rating.name, f"{rating.rater}: {reason}")

    def _unknown(self, key: Key, name: str, value: float) -> Place:
        """The place of a value by nobody known: another value is another person's."""
        place: Place = (key, name, None)
        n = 1
        while place in self.states and self.states[place].value != value:
            n += 1
            place = (key, name, self.context.annotators.unknown(n))
        return place

    @property
    def is_changed(self) -> bool:
        """True when there is anything to store."""
        return any(one.id is None or one.is_revised for one in self.states.values())

    def store(self) -> None:
        """Write what was planned, in the caller's transaction."""
        by, at = self.context.by_id, self.context.at
        completions = self.contents.completions
        new = [
            (completions[key].id, who, name, state.value, at, by)
            for (key, name, who), state in self.states.items()
            if state.id is None
        ]
        _RATINGS.insert(new)
        revised = [(one.value, one.id) for one in self.states.values() if one.is_revised]
        if revised:
            with connection.cursor() as cursor:
                cursor.executemany("UPDATE annotate_rating SET value = %s WHERE id = %s", revised)

    def remember(self) -> None:
        """Keep what a dry run would have stored, for its later batches."""
        by_completion: dict[str, list[Any]] = {}
        for (key, name, who), state in self.states.items():
            kept = [name, who, state.id or MISSING, state.value, state.imported_by]
            by_completion.setdefault(_memory_of(key), []).append(kept)
        if by_completion:
            self.context.memory.put(by_completion)


def _memory_of(key: Key) -> str:
    return f"ratings {key[0]} {key[1]}"
