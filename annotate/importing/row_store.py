"""Writing rows: what is already there is found again by its content, the rest is added."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import IntegrityError, connection

from annotate.importing.imported_row import Row
from annotate.importing.storage.bulk_insert import stored_time
from annotate.importing.storage.content_batch import ContentBatch
from annotate.importing.storage.earlier_rows import FileMemory
from annotate.importing.storage.import_context import ImportContext, Item, Judged, Note, Outcome
from annotate.importing.storage.imported_annotators import Annotators, is_nobody
from annotate.importing.storage.legacy_pair_keys import has_earlier_pairs
from annotate.importing.storage.pair_merge import PairBatch
from annotate.importing.storage.rating_batch import RatingBatch
from annotate.importing.storage.undo_import import NotUndoable, in_the_way, undo
from annotate.models import Import, Project
from annotate.queue import Pace

__all__ = ["Judged", "NotUndoable", "Note", "Writer", "in_the_way", "undo"]

TURN = 0x696D70
"""Space of advisory locks: "imp", beside the project's number."""
ATTEMPTS = 5
LEAST = {"sqlite": 60, "postgresql": 1200}
FIRST = {"sqlite": 300, "postgresql": 1200}
MOST = 6000
"""Parts of a batch: at least, of the first one, and at most. People vote between two batches."""
TEXT_PER_PART = 2000


class Writer:
    """Adds the rows of one file to a project, in short transactions of its own.

    A row is found again by its content: the same file again adds nothing, and completes what a
    crash has left. Raises IntegrityError when others keep adding the same rows meanwhile.

    With `judged="labels"` votes of the file settle their pairs at once, whatever the project asks
    of its own; with "ask" its people are asked for the rest. `by` is noted on all that is added.
    A `dry_run` counts and writes nothing.
    """

    def __init__(
        self,
        project: Project,
        *,
        now: datetime,
        by: Import | None = None,
        judged: Judged = "labels",
        dry_run: bool = False,
    ) -> None:
        self.added: Counter[str] = Counter()
        """Rows added: prompts, completions, pairs, annotators, votes, ratings. Of what was there:
        `merged` comparisons into pairs, `duplicates` of votes and ratings, `revised` ones,
        `summed_up` votes that others come to together, and `not_replaced` values. `alike` are
        comparisons of equal texts that nobody judged."""
        self._context = ImportContext(
            project=project,
            now=now,
            by=by,
            judged=judged,
            dry_run=dry_run,
            annotators=Annotators(project, dry_run=dry_run),
            memory=FileMemory(),
            at=stored_time(now),
            project_id=project.pk,
            by_id=by.pk if by else None,
            has_earlier_pairs=has_earlier_pairs(project),
        )
        vendor = connection.vendor
        self._pace = Pace(FIRST[vendor], least=LEAST[vendor], most=MOST)

    def add(self, rows: Sequence[Row]) -> list[Note]:
        """Store the rows, and return what is to be said of some of them."""
        notes: list[Note] = []
        start = 0
        with _without_collection():
            while start < len(rows):
                batch = list(self._batch(rows, start))
                start += len(batch)
                notes += self._store(batch)
        self.added["annotators"] = self._context.annotators.added
        return notes

    def _batch(self, rows: Sequence[Row], start: int) -> Iterator[Item]:
        """The next rows, as many as may be written in one transaction, but at least one."""
        parts = 0
        for place in range(start, len(rows)):
            row = rows[place]
            parts += _parts(row)
            if parts > self._pace.rows and place > start:
                return
            yield _item(place, row)

    def _store(self, items: list[Item]) -> list[Note]:
        raters = _raters(items)
        self._context.annotators.prepare(raters, raters)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                outcome = self._attempt(items)
                break
            except IntegrityError:
                # Somebody added one of these rows since they were looked up: look again.
                if attempt == ATTEMPTS or connection.in_atomic_block:
                    raise
        outcome.added["alike"] += sum(
            len(item.row.comparisons) - len(item.comparisons) for item in items
        )
        self.added += outcome.added
        return outcome.notes

    def _attempt(self, items: list[Item]) -> Outcome:
        context = self._context
        outcome = Outcome(context.by_id)
        contents = ContentBatch(context, items, outcome)
        pairs = PairBatch(context, items, outcome, contents)
        ratings = RatingBatch(context, items, outcome, contents)
        for part in (contents, pairs, ratings):
            part.look_up()
        if context.dry_run:
            for part in (pairs, ratings, contents):
                part.remember()
        elif contents.is_changed or pairs.is_changed or ratings.is_changed:
            contents.number()
            pairs.number()
            with self._pace.write(sum(_parts(item.row) for item in items)) as held:
                self._take_turn()
                held.begin()
                for part in (contents, pairs, ratings):
                    part.store()
                outcome.journal()
        pairs.finish()
        return outcome

    def _take_turn(self) -> None:
        """One batch at a time per project, so that two imports do not wait for each other's rows.

        Not by the project's row: elsewhere that is locked behind pairs' rows, which come later
        here. SQLite has one writer in any case.
        """
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                key = [TURN, self._context.project.pk]
                cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", key)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from looking for circles among the many objects of a batch, which has none.

    It would look through all objects of the process again and again: a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _item(place: int, row: Row) -> Item:
    """The row with its hashes. Of two equal texts only those are a pair that people judged."""
    replies = [reply.sha256 for reply in row.replies]
    comparisons = [
        one for one in row.comparisons if one.judgements or replies[one.a] != replies[one.b]
    ]
    return Item(place, row, row.prompt_sha256, replies, comparisons)


def _parts(row: Row) -> int:
    """Rows of all tables that the row makes, more where its texts are long."""
    parts = 1
    for reply in row.replies:
        parts += 1 + len(reply.text) // TEXT_PER_PART
    for comparison in row.comparisons:
        parts += 1 + len(comparison.judgements)
    return parts


def _raters(items: list[Item]) -> dict[str, float | None]:
    """Name of everybody who judged or rated -> their weight, where the rows say it."""
    ratings = (one for item in items for reply in item.row.replies for one in reply.ratings)
    rated: dict[str, float | None] = dict.fromkeys(one.rater for one in ratings)
    judged = {
        judgement.rater: judgement.weight
        for item in items
        for comparison in item.comparisons
        for judgement in comparison.judgements
    }
    return {name: weight for name, weight in (rated | judged).items() if not is_nobody(name)}
