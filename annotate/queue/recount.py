"""Counting many pairs again from their votes, for what changes many at once: imports, new quotas.

The rules are those of single votes (annotate.queue.resolution); a batch takes a few statements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from annotate.models import Adjudication, Assignment, Label, Pair, Project
from annotate.models.pair import PairQuerySet
from annotate.queue import resolution, slots
from annotate.queue.slots import SlotCounts
from annotate.queue.transactions import write
from annotate.votes import labels
from annotate.webhooks import outbox

BATCH = 300


class StandingVote(NamedTuple):
    """The parts of a vote that its pair's row and label keep."""

    choice: str
    strength: int | None
    by: int
    at: datetime | None
    simulated: bool


class Counted(NamedTuple):
    """The columns of a pair that follow from its votes."""

    n_a: int
    n_b: int
    n_tie: int
    first: str
    second: str
    first_by_id: int | None
    second_by_id: int | None
    second_at: datetime | None
    last_vote_at: datetime | None
    firsts_simulated: bool


class Quota(NamedTuple):
    """The columns of a pair that say how many votes it wants, and who may lease it."""

    kind: str
    arms: str
    wanted: int
    limit: int
    agree: int


def tally(votes: Sequence[StandingVote], *, wanted: int) -> Counted:
    """Count a pair's standing votes, which are in the order in which they were cast."""
    n = {"a": 0, "b": 0, "tie": 0}
    for vote in votes:
        n[labels.CLASS[vote.choice]] += 1
    one = votes[0] if votes else None
    # A second vote where one was wanted was asked because of the first: no agreement.
    two = votes[1] if len(votes) > 1 and wanted > 1 else None
    return Counted(
        n_a=n["a"],
        n_b=n["b"],
        n_tie=n["tie"],
        first=labels.CLASS[one.choice] if one else "",
        second=labels.CLASS[two.choice] if two else "",
        first_by_id=one.by if one else None,
        second_by_id=two.by if two else None,
        second_at=two.at if two else None,
        last_vote_at=max((vote.at for vote in votes if vote.at), default=None),
        firsts_simulated=any(vote.simulated for vote in votes[:2]),
    )


def recount(
    pairs: Collection[int], *, now: datetime, quota: Callable[[Pair, int], Quota] | None = None
) -> list[int]:
    """Set places, state and label of these pairs by the votes that stand on them.

    Returns those that were not resolved before and are now: the caller says whether webhooks hear
    of them.

    `quota` gives a pair a new quota, from its row and its number of votes. The transaction is the
    caller's, who holds the pairs' rows (slots.lock). Leases keep their places.
    """
    if not pairs:
        return []
    votes = _standing(pairs)
    decisions = _decisions(pairs)
    there = list(_with_prompts(Pair.objects.filter(pk__in=pairs)).select_related("project"))
    before = {pair.pk: pair.state for pair in there}
    for pair in there:
        cast = votes[pair.pk]
        asked = quota(pair, len(cast)) if quota else _quota(pair)
        _settle(pair, cast, asked, decided=pair.pk in decisions, now=now)
    _store(there)
    labelled = [pair for pair in there if pair.kind not in Pair.OUTSIDE_LABELS]
    _label(labelled, votes, decisions)
    return [pair.pk for pair in labelled if pair.state == Pair.State.RESOLVED != before[pair.pk]]


class Applied(NamedTuple):
    """Pairs that were open and got another quota, and how many of them are open no longer."""

    changed: int
    done: int


def apply_quota(project: Project, *, now: datetime) -> Applied:
    """Have open pairs ask for as many votes as the project does now.

    In short transactions: people go on voting. Pairs that have the votes by now are resolved or
    go to adjudication. Places that somebody holds stay theirs.
    """
    changed = done = after = 0
    open_pairs = project.pairs.filter(state=Pair.State.OPEN, kind__in=Pair.TEACHING, agree__gt=0)
    open_pairs = _with_prompts(open_pairs)
    while batch := list(open_pairs.filter(pk__gt=after).order_by("pk")[:BATCH]):
        after = batch[-1].pk
        other = [pair.pk for pair in batch if _new_quota(pair, pair.votes) != _quota(pair)]
        if not other:
            continue
        with write():
            slots.lock(other)
            still = list(open_pairs.filter(pk__in=other).values_list("pk", flat=True))
            outbox.tell_resolved(recount(still, now=now, quota=_new_quota))
            done += len(still) - open_pairs.filter(pk__in=still).count()
        changed += len(still)
    return Applied(changed, done)


def _with_prompts(pairs: PairQuerySet) -> PairQuerySet:
    """The pairs with what a quota depends on, without the texts."""
    texts = ("messages", "tools", "reference", "metadata", "tags")
    return pairs.select_related("prompt").defer(*(f"prompt__{name}" for name in texts))


def _quota(pair: Pair) -> Quota:
    return Quota(pair.kind, pair.arms, pair.wanted, pair.limit, pair.agree)


def _new_quota(pair: Pair, votes: int) -> Quota:
    """The quota that the project gives a pair of this key; votes that are there were asked for."""
    if pair.limit == 1 < votes:
        return _quota(pair)  # its further votes were asked because the first surprised
    columns = Pair.quota(
        pair.project,
        Pair.Kind.NORMAL,
        key=pair.key,
        held_out=pair.prompt.held_out,
        chosen=pair.arms == Pair.Arms.ACTIVE,
    )
    asked = Quota(*(columns[name] for name in Quota._fields))
    wanted = max(asked.wanted, min(pair.wanted, votes))
    if pair.wanted == 1 <= votes:
        # It is open because of its first vote: what comes second stays outside agreement.
        wanted = 1
    return asked._replace(wanted=wanted, limit=max(asked.limit, votes))


def _standing(pairs: Collection[int]) -> defaultdict[int, list[StandingVote]]:
    votes = defaultdict[int, list[StandingVote]](list)
    columns = ("pair_id", "choice", "strength", "annotator_id", "voted_at", "simulated")
    standing = Assignment.objects.filter(pair__in=pairs).standing()
    for pair, *vote in standing.order_by("pair_id", "seq", "pk").values_list(*columns):
        votes[pair].append(StandingVote(*vote))
    return votes


def _decisions(pairs: Collection[int]) -> dict[int, tuple[str, int]]:
    decided = Adjudication.objects.filter(pair__in=pairs)
    rows = decided.values_list("pair_id", "choice", "strength")
    return {pair: (choice, strength) for pair, choice, strength in rows}


def _settle(
    pair: Pair, votes: list[StandingVote], quota: Quota, *, decided: bool, now: datetime
) -> None:
    """Set the row's columns; `_store` writes them."""
    leased = pair.asked - pair.open_slots - pair.votes
    if not quota.agree:
        quota = quota._replace(wanted=len(votes), limit=len(votes))
    for name, value in zip(Quota._fields, quota, strict=True):
        setattr(pair, name, value)
    for name, number in zip(Counted._fields, tally(votes, wanted=quota.wanted), strict=True):
        setattr(pair, name, number)
    state, asked = state_and_asked(slot_counts(pair), of_one_text=pair.of_one_text)
    if decided:
        state, asked = Pair.State.RESOLVED, pair.votes
    if state != pair.state:
        pair.resolved_at = None if state == Pair.State.OPEN else now
    pair.state = state
    pair.asked = max(asked, pair.votes + leased)
    pair.open_slots = pair.asked - pair.votes - leased


def state_and_asked(counts: SlotCounts, *, of_one_text: bool) -> tuple[str, int]:
    """The state of a pair and the votes it asks for; nobody is shown one of two equal texts."""
    if not of_one_text:
        certain = resolution.certainty(counts, voted=True)
        return resolution.state_and_votes_asked(counts, certain=certain)
    state, _ = resolution.state_and_votes_asked(replace(counts, state=Pair.State.OPEN))
    resolved = state == Pair.State.RESOLVED
    return (Pair.State.RESOLVED if resolved else Pair.State.RETIRED), counts.votes


def slot_counts(pair: Pair) -> SlotCounts:
    """The columns of a row that is in memory, as the rules read them."""
    counts = {name: getattr(pair, name) for name in slots.COLUMNS}
    return SlotCounts(**counts, stop_when_certain=pair.project.stop_when_certain)


STORED = (*Quota._fields, *Counted._fields, "state", "asked", "open_slots", "resolved_at")
_UPDATE = "UPDATE annotate_pair SET {} WHERE id = %s".format(
    ", ".join(f'"{name}" = %s' for name in STORED)
)


def _store(pairs: list[Pair]) -> None:
    rows = [(*(_adapted(getattr(pair, name)) for name in STORED), pair.pk) for pair in pairs]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_UPDATE, rows)


def _adapted(value: Any) -> Any:
    """The value as this database stores it."""
    is_time = isinstance(value, datetime)
    return connection.ops.adapt_datetimefield_value(value) if is_time else value


def _label(
    pairs: list[Pair],
    votes: dict[int, list[StandingVote]],
    decisions: dict[int, tuple[str, int]],
) -> None:
    """Write the labels of pairs that are done, and take those of open ones away."""
    kept: list[Label] = []
    for pair in pairs:
        aggregate = labels.verdict((vote.choice, vote.strength) for vote in votes[pair.pk])
        if pair.pk in decisions:
            decided = labels.decided(aggregate or labels.UNKNOWN, *decisions[pair.pk])
            kept.append(Label(pair=pair, **decided))
        elif aggregate and pair.state != Pair.State.OPEN:
            kept.append(Label(pair=pair, **labels.columns(aggregate)))
    without = {pair.pk for pair in pairs} - {label.pair_id for label in kept}
    Label.objects.filter(pair__in=without).delete()
    if kept:
        columns = (*labels.columns(labels.UNKNOWN), "updated_at")
        Label.objects.bulk_create(
            kept, update_conflicts=True, unique_fields=["pair"], update_fields=columns
        )
