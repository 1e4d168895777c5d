"""Taking a whole import back: what it added goes, what it changed is as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.deletion import Collector
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from annotate.importing.storage.imported_annotators import prefix
from annotate.models import (
    Adjudication,
    AiVote,
    Assignment,
    Completion,
    Flag,
    Import,
    ImportChange,
    Label,
    Pair,
    Project,
    Prompt,
    Rating,
    VoteRevision,
)
from annotate.queue import Pace, recount, slots, write
from annotate.webhooks import outbox

State = Assignment.State
Table = ImportChange.Table
FIRST, LEAST, MOST = 40, 20, 1_000
"""Rows of a transaction, of the first one, at least and at most, with all that belongs to them."""
FEW = 5
"""People of a transaction, at least: the database looks through all pairs for each."""
MODELS: dict[str, type[models.Model]] = {
    Table.PROMPT: Prompt,
    Table.COMPLETION: Completion,
    Table.RATING: Rating,
    Table.PAIR: Pair,
    Table.VOTE: Assignment,
}


class NotUndoable(ValueError):
    """The import has been built upon. The message says by what."""


def undo(import_: Import, *, now: datetime | None = None) -> Counter[str]:
    """Take back what an import added and changed; return how many rows of each table went.

    Prompts and completions that others use by now stay, and are counted as `kept`. In short
    transactions; one that was cut short is completed by the next call. Raises NotUndoable as long
    as people, reviewers, dataset versions or later imports rest on what the import added.
    """
    if problem := in_the_way(import_):
        raise NotUndoable(problem)
    now = now or timezone.now()
    gone: Counter[str] = Counter()
    _restore_contents(import_)
    _clear_pairs_of_others(import_, gone, now=now)
    _remove_pairs(import_, gone)
    ratings = Rating.objects.filter(imported_by=import_)
    pace = batch_pace()
    for batch in _batches(ratings, pace):
        with pace.write(len(batch)):
            gone["ratings"] += remove_rows(ratings.filter(pk__in=batch))
    _remove_unused(Completion.objects.filter(imported_by=import_), _USED_COMPLETION, gone)
    _remove_unused(Prompt.objects.filter(imported_by=import_), _USED_PROMPT, gone)
    gone["annotators"] = remove_idle_annotators(import_.project)
    _forget_changes(import_)
    with write():
        import_.undone_at = now
        import_.save(update_fields=["undone_at"])
    return gone


def batch_pace(*, first: int = FIRST, least: int = LEAST) -> Pace:
    """The pace of a loop of transactions that take rows out, or give them their earlier values."""
    return Pace(first, least=least, most=MOST)


def in_the_way(import_: Import) -> str:
    """Why the import cannot be taken back, in a sentence; empty when it can."""
    if import_.undone_at:
        return "This import was taken back already."
    # While it is taken back it runs as well.
    if import_.state == Import.State.RUNNING and import_.step != Import.Step.UNDO:
        return "This import is still running. Cancel it first."
    return _later_import(import_) or _held(import_) or _in_use(_pairs(import_))


def _pairs(import_: Import) -> QuerySet[Pair]:
    return Pair.objects.filter(imported_by=import_)


def _held(import_: Import) -> str:
    """The dataset versions that hold its votes, or votes that it changed."""
    changed = import_.changes.filter(table=Table.VOTE).values("row")
    votes = Assignment.objects.filter(Q(imported_by=import_) | Q(pk__in=changed))
    frozen = votes.exclude(frozen_from=None).values_list("frozen_from", flat=True)
    revised = VoteRevision.objects.filter(assignment__in=votes)
    version = frozen.order_by("frozen_from").first() or (
        revised.order_by("frozen_from").values_list("frozen_from", flat=True).first()
    )
    return f"Dataset version {version} holds its votes." if version else ""


def _later_import(import_: Import) -> str:
    """Imports that added to what this one added, or changed what it changed."""
    by_another = ~Q(imported_by=import_) | Q(imported_by=None)
    votes = Assignment.objects.filter(by_another, imported=True, pair__in=_pairs(import_))
    own = {
        Table.PROMPT: Prompt.objects.filter(imported_by=import_),
        Table.COMPLETION: Completion.objects.filter(imported_by=import_),
        Table.RATING: Rating.objects.filter(imported_by=import_),
        Table.PAIR: _pairs(import_),
        Table.VOTE: Assignment.objects.filter(imported_by=import_),
    }
    of_own = Q()
    for table, rows in own.items():
        of_own |= Q(table=table, row__in=rows.values("pk"))
    same = import_.changes.filter(table=OuterRef("table"), row=OuterRef("row"))
    later = ImportChange.objects.filter(imported_by__gt=import_.pk)
    changed = later.filter(of_own | Exists(same)).select_related("imported_by").first()
    vote = votes.select_related("imported_by").first()
    if changed is None and vote is None:
        return ""
    other = changed.imported_by if changed else vote and vote.imported_by
    name = f"“{other.file_name}”, imported later," if other else "A later import"
    return f"{name} builds on the same rows. Take that one back first."


def _in_use(pairs: QuerySet[Pair]) -> str:
    """Whatever people have done with these pairs, in a sentence."""
    active = (State.RESERVED, State.VOTED, State.SKIPPED)
    live = Assignment.objects.filter(pair__in=pairs, imported=False, state__in=active)
    people = live.values("annotator").distinct().count()
    if people:
        who = "Somebody has" if people == 1 else f"{people} people have"
        return f"{who} one of its pairs on the screen, or voted on or skipped one."
    if Adjudication.objects.filter(pair__in=pairs).exists():
        return "A reviewer has decided one of its pairs."
    if Flag.objects.filter(pair__in=pairs).exists():
        return "Somebody has warned of one of its pairs."
    return ""


def _restore_contents(import_: Import) -> None:
    """Give prompts, completions and ratings that were there before their earlier values."""
    changes = import_.changes.filter(table__in=(Table.PROMPT, Table.COMPLETION, Table.RATING))
    pace = batch_pace()
    for batch in _batches(changes, pace, newest_first=True):
        with pace.write(len(batch)):
            _restore(changes.filter(pk__in=batch).order_by("-pk"))


def _restore(changes: Iterable[ImportChange]) -> None:
    """Put back earlier states, the newest first: a row that the import changed in two of its
    batches has two, and the first is the one from before it."""
    for change in changes:
        before = {name: _read(name, value) for name, value in change.before.items()}
        MODELS[change.table]._default_manager.filter(pk=change.row).update(**before)


def _read(name: str, value: Any) -> Any:
    return parse_datetime(value) if name.endswith("_at") and value else value


def _clear_pairs_of_others(import_: Import, gone: Counter[str], *, now: datetime) -> None:
    """Take its votes and changes from pairs that were there before, and count these again."""
    votes = Assignment.objects.filter(imported_by=import_).exclude(pair__imported_by=import_)
    votes |= Assignment.objects.filter(imported_by=import_, pair__imported_by=None)
    changed_votes = import_.changes.filter(table=Table.VOTE)
    changed_pairs = import_.changes.filter(table=Table.PAIR)
    pairs = Pair.objects.filter(
        Q(pk__in=votes.values("pair"))
        | Q(pk__in=changed_pairs.values("row"))
        | Q(assignments__in=changed_votes.values("row"))
    ).distinct()
    pace = batch_pace()
    for batch in _batches(pairs, pace):
        # Written once, by this import: read before others have to wait.
        of_batch = Assignment.objects.filter(pair__in=batch).values("pk")
        before = [
            *changed_votes.filter(row__in=of_batch).order_by("-pk"),
            *changed_pairs.filter(row__in=batch).order_by("-pk"),
        ]
        with pace.write(len(batch)):
            slots.lock(batch)
            added = Assignment.objects.filter(imported_by=import_, pair__in=batch)
            _balance(added)
            gone["votes"] += remove_rows(added)
            _restore(before)
            outbox.tell_resolved(recount.recount(batch, now=now))


def _balance(votes: QuerySet[Assignment]) -> None:
    """Take the known sides of these votes out of their pairs' balance."""
    for pair, left in votes.exclude(left="").values_list("pair_id", "left"):
        step = 1 if left == "b" else -1
        Pair.objects.filter(pk=pair).update(left_balance=F("left_balance") + step)


def _remove_pairs(import_: Import, gone: Counter[str]) -> None:
    pace = batch_pace()
    for batch in _batches(_pairs(import_), pace):
        with pace.write(len(batch)):
            slots.lock(batch)
            # Once more, because people go on voting.
            if problem := _in_use(Pair.objects.filter(pk__in=batch)):
                raise NotUndoable(
                    f"{problem} {gone['pairs']:,} of its pairs are taken back; take the import "
                    "back once more when nobody is at the others."
                )
            # What else could rest on them was asked about; rows of the ORM would take minutes.
            assignments = Assignment.objects.filter(pair__in=batch)
            gone["votes"] += assignments.filter(state=State.VOTED).count()
            remove_rows(Label.objects.filter(pair__in=batch))
            remove_rows(AiVote.objects.filter(pair__in=batch))
            remove_rows(assignments)
            gone["pairs"] += remove_rows(Pair.objects.filter(pk__in=batch))


_USED_COMPLETION = (
    Q(Exists(Pair.objects.filter(completion_a=OuterRef("pk"))))
    | Q(Exists(Pair.objects.filter(completion_b=OuterRef("pk"))))
    | Q(Exists(Rating.objects.filter(completion=OuterRef("pk"))))
)
_USED_PROMPT = Q(Exists(Pair.objects.filter(prompt=OuterRef("pk")))) | Q(
    Exists(Completion.objects.filter(prompt=OuterRef("pk")))
)


def _remove_unused(
    rows: QuerySet[Completion] | QuerySet[Prompt], used: Q, gone: Counter[str]
) -> None:
    """Remove rows that nothing rests on; the others are the project's from now on."""
    name = f"{rows.model._meta.model_name}s"
    pace = batch_pace()
    for batch in _batches(rows, pace):
        with pace.write(len(batch)):
            those = rows.model._default_manager.filter(pk__in=batch)
            gone["kept"] += those.filter(used).update(imported_by=None)
            gone[name] += remove_rows(those.filter(imported_by__isnull=False))


def remove_idle_annotators(project: Project) -> int:
    """Remove the project's imported annotators who are left without a vote and a rating."""
    idle = User.objects.filter(username__startswith=prefix(project)).exclude(
        Exists(Assignment.objects.filter(annotator=OuterRef("pk")))
        | Exists(Rating.objects.filter(annotator=OuterRef("pk")))
    )
    removed = 0
    pace = batch_pace(first=2 * FEW, least=FEW)
    for batch in _batches(idle, pace):
        # What belongs to them is looked for in some thirty tables: before others have to wait.
        rows = Collector(using=idle.db)
        rows.collect(User.objects.filter(pk__in=batch))
        with pace.write(len(batch)):
            rows.delete()
        removed += len(batch)
    return removed


def _forget_changes(import_: Import) -> None:
    """Remove the earlier states, which may be as many as the rows of the file."""
    pace = batch_pace()
    for batch in _batches(import_.changes.all(), pace):
        with pace.write(len(batch)):
            remove_rows(ImportChange.objects.filter(pk__in=batch))


def _batches(rows: QuerySet[Any], pace: Pace, *, newest_first: bool = False) -> Iterator[list[int]]:
    """Numbers of the rows, until there are no more; those that stay are passed over."""
    order, rest = ("-pk", "pk__lt") if newest_first else ("pk", "pk__gt")
    left = rows.order_by(order)
    while batch := list(left.values_list("pk", flat=True)[: pace.rows]):
        yield batch
        left = rows.filter(**{rest: batch[-1]}).order_by(order)


def remove_rows(rows: QuerySet[Any]) -> int:
    """Delete rows by one statement, without looking for what refers to them."""
    return int(rows._raw_delete(rows.db))
