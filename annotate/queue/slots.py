"""A pair's places: what is asked for follows from the counts on its row, and from nothing else.

Lock order, which every module of the queue keeps: pair rows (several: in the order of their
ids), then membership, then assignments. All changes of an assignment's state happen while its
pair's row is locked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import log
from typing import Any

from django.db import connection
from django.db.models import F
from django.utils import timezone

from annotate.models import Adjudication, Label, Pair
from annotate.queue import early_stopping, first_two_votes
from annotate.votes import labels

COLUMNS = (
    "id",
    "kind",
    "state",
    "n_a",
    "n_b",
    "n_tie",
    "cast",
    "wanted",
    "limit",
    "agree",
    "asked",
    "open_slots",
    "margin",
)
_RETURNED = ", ".join(f'"{name}"' for name in COLUMNS) + (
    ", (SELECT stop_when_certain FROM annotate_project of_it WHERE of_it.id = project_id)"
)
SURE = log(9)
"""Logit beyond which the reward model counts as confident: a probability of 0.9."""
TWO_AND_ONE = (2, 3, 2)
"""Votes wanted, at most, and equal ones that resolve: two, and a third where they differ."""
COUNT_OF = {choice: f"n_{name}" for choice, name in labels.CLASS.items()}


@dataclass(frozen=True)
class Places:
    """The columns of a pair that decide what happens to it."""

    id: int
    kind: str
    state: str
    n_a: int
    n_b: int
    n_tie: int
    cast: int
    wanted: int
    limit: int
    agree: int
    asked: int
    open_slots: int
    margin: float | None
    stop_when_certain: float | None = None
    """The project's: how probable a label has to be. None where votes are counted alone."""

    @property
    def votes(self) -> int:
        return self.n_a + self.n_b + self.n_tie

    @property
    def contradicts(self) -> bool:
        """Whether the only vote asked for is against a reward model that was sure."""
        if self.limit > 1 or self.kind != Pair.Kind.NORMAL or self.margin is None:
            return False
        return (self.margin > SURE and self.n_b > 0) or (self.margin < -SURE and self.n_a > 0)


def change(
    pair_id: int, assignments: str, *, where: str = "TRUE", **parameters: object
) -> Places | None:
    """Update one pair's columns and return them as they are now, its row locked.

    None when `where` did not hold. Both SQL fragments are constants of this package.
    """
    sql = (
        f"UPDATE annotate_pair SET {assignments} WHERE id = %(pair)s AND {where} "
        f"RETURNING {_RETURNED}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, {"pair": pair_id, **parameters})
        row = cursor.fetchone()
    return Places(*row) if row else None


def cast(
    pair_id: int, choice: str, *, counts: bool, by: int, now: datetime, simulated: bool = False
) -> Places:
    """Number one more vote of the pair and, unless it is surplus, count it."""
    column = COUNT_OF[choice]
    after = change(
        pair_id,
        '"cast" = "cast" + 1'
        + (f", {column} = {column} + 1, {first_two_votes.ADD}" if counts else ""),
        **{"class": labels.CLASS[choice], "by": by, "simulated": int(simulated)},
        at=connection.ops.adapt_datetimefield_value(now),
    )
    assert after, "pairs with assignments are never deleted on their own"
    return after


def uncount(pair_id: int, choice: str) -> Places:
    """Stop counting a vote. `firsts.recount` follows once the vote no longer stands."""
    column = COUNT_OF[choice]
    after = change(pair_id, f"{column} = {column} - 1")
    assert after, "pairs with assignments are never deleted on their own"
    return after


def take(pair_id: int, *, left: str) -> Places | None:
    """Hold one more place of the pair; None when there is none."""
    sign = "+" if left == "a" else "-"
    return change(
        pair_id,
        f"open_slots = open_slots - 1, left_balance = left_balance {sign} 1",
        where="open_slots > 0",
    )


def give_back(pair_id: int, *, left: str) -> None:
    """Stop holding a place. It opens again, unless nobody needs it any more."""
    sign = "-" if left == "a" else "+"
    places = change(
        pair_id,
        "open_slots = open_slots + CASE WHEN state = 'open' THEN 1 ELSE 0 END, "
        "asked = asked - CASE WHEN state = 'open' THEN 0 ELSE 1 END, "
        f"left_balance = left_balance {sign} 1",
    )
    assert places, "pairs with assignments are never deleted on their own"
    settle(places, voted=False)


def retire(pair_id: int) -> None:
    """Withdraw an open pair's free places for good. Places that somebody holds stay theirs."""
    change(
        pair_id,
        "state = 'retired', asked = asked - open_slots, open_slots = 0",
        where="state = 'open'",
    )


def reopen(pair_id: int) -> None:
    """Open as many places of a retired pair as it is meant to have at most."""
    change(
        pair_id,
        'state = \'open\', open_slots = "limit" - asked, asked = "limit", resolved_at = NULL',
        where="state = 'retired'",
    )


def lock(pair_ids: Iterable[int]) -> None:
    """Hold the rows of these pairs until the transaction ends (SQLite holds everything)."""
    if connection.features.has_select_for_update:
        rows = Pair.objects.select_for_update(no_key=True).filter(pk__in=pair_ids)
        list(rows.order_by("pk").values_list("pk"))


def settled(places: Places, *, certain: bool | None = None) -> tuple[str, int]:
    """The state a pair's counts amount to, and how many votes it should be asking for.

    `certain` says whether the label is as probable as the project asks, which then decides in the
    place of the counts until the votes are at their limit; None where counts decide alone.
    """
    wanted, limit, agree = places.wanted, places.limit, places.agree
    if places.contradicts:
        wanted, limit, agree = TWO_AND_ONE
    enough = max(places.n_a, places.n_b, places.n_tie) >= agree
    if certain is not None:
        enough = certain or (enough and places.votes >= limit)
    elif places.votes < wanted:
        enough = False
    if places.state == Pair.State.RETIRED:
        return Pair.State.RETIRED, places.votes
    if enough:
        return Pair.State.RESOLVED, places.votes
    if places.votes >= limit:
        return Pair.State.ADJUDICATE, places.votes
    return Pair.State.OPEN, max(wanted, min(places.votes + 1, limit))


def _certain(places: Places, *, voted: bool) -> bool | None:
    """What `settled` wants to know. Votes are read only where the project stops early."""
    stop = places.stop_when_certain
    if stop is None or places.kind not in (Pair.Kind.NORMAL, Pair.Kind.OVERLAP):
        return None
    if not voted:
        # Whatever is known about people by now: no vote has changed.
        return places.state == Pair.State.RESOLVED
    second_opinion = places.kind == Pair.Kind.OVERLAP or places.contradicts
    if places.votes < (2 if second_opinion else 1):
        return False
    return early_stopping.of_label(places.id) >= stop


def is_adjudicated(pair_id: int) -> bool:
    """Whether a reviewer decided the pair: it stays resolved, whatever becomes of its votes."""
    return Adjudication.objects.filter(pair=pair_id).exists()


def settle(places: Places, *, voted: bool, now: datetime | None = None) -> None:
    """Open or withdraw places so that the pair asks for what its counts call for.

    A place that somebody holds is never taken away. `voted` says that the votes themselves
    changed, so a label that stands has to be computed again.
    """
    if places.state == Pair.State.RESOLVED and is_adjudicated(places.id):
        return
    state, wanted = settled(places, certain=_certain(places, voted=voted))
    excess = min(places.asked - wanted, places.open_slots)
    changed: dict[str, Any] = {}
    if excess:
        changed = {"asked": F("asked") - excess, "open_slots": F("open_slots") - excess}
    if state != places.state:
        done = state != Pair.State.OPEN
        changed |= {"state": state, "resolved_at": (now or timezone.now()) if done else None}
    if changed:
        Pair.objects.filter(pk=places.id).update(**changed)
    if places.kind in Pair.OUTSIDE_LABELS:
        return
    if state != Pair.State.OPEN and voted:
        labels.refresh(Pair(pk=places.id))
    elif state == Pair.State.OPEN and places.state != Pair.State.OPEN:
        Label.objects.filter(pair=places.id).delete()
