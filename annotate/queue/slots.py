"""A pair's slots: what is asked for follows from the counts on its row, and from nothing else.

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

from annotate.models import Pair
from annotate.statements import prepared
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
HAS_WEBHOOKS = (
    "EXISTS (SELECT 1 FROM annotate_webhook hook"
    " WHERE hook.project_id = annotate_pair.project_id AND hook.active)"
)
_RETURNED = ", ".join(f'"{name}"' for name in COLUMNS) + (
    ", (SELECT stop_when_certain FROM annotate_project of_it WHERE of_it.id = project_id)"
    f", {HAS_WEBHOOKS}"
)
SURE = log(9)
"""Logit beyond which the reward model counts as confident: a probability of 0.9."""
COUNT_OF = {choice: f"n_{name}" for choice, name in labels.CLASS.items()}
"""Column that counts the votes of a choice."""

# A pair's row holds its first two standing votes, on which agreement is measured, and the time of
# its last. A vote adds itself in the UPDATE that counts it, because no vote that stands was cast
# after it; whatever takes a vote away or changes it counts the one pair again.
#
# A second vote where one was wanted was asked because the first contradicted the reward model or
# left the label uncertain: agreement measured on such pairs would come out too low.
_IS_SECOND = """"first" <> '' AND "second" = '' AND wanted > 1"""
_WAS_SECOND = "n.place = 2 AND p.wanted > 1"

# The right-hand sides see the row as it was.
_ADD_TO_FIRST_TWO = f"""
    "second" = CASE WHEN {_IS_SECOND} THEN %(choice_class)s ELSE "second" END,
    second_by_id = CASE WHEN {_IS_SECOND} THEN %(by)s ELSE second_by_id END,
    second_at = CASE WHEN {_IS_SECOND} THEN %(at)s ELSE second_at END,
    last_vote_at = %(at)s,
    firsts_simulated = CASE WHEN n_a + n_b + n_tie < 2 AND %(simulated)s = 1 THEN TRUE
        ELSE firsts_simulated END,
    first_by_id = CASE WHEN "first" = '' THEN %(by)s ELSE first_by_id END,
    "first" = CASE WHEN "first" = '' THEN %(choice_class)s ELSE "first" END
"""

_RECOUNT_FIRST_TWO = f"""
    UPDATE annotate_pair SET "first" = v.one, first_by_id = v.one_by, "second" = v.two,
        second_by_id = v.two_by, second_at = v.two_at, last_vote_at = v.last_at,
        firsts_simulated = v.simulated > 0
    FROM (
        SELECT p.id,
            COALESCE(MAX(CASE WHEN n.place = 1 THEN n.class END), '') AS one,
            MAX(CASE WHEN n.place = 1 THEN n.annotator_id END) AS one_by,
            COALESCE(MAX(CASE WHEN {_WAS_SECOND} THEN n.class END), '') AS two,
            MAX(CASE WHEN {_WAS_SECOND} THEN n.annotator_id END) AS two_by,
            MAX(CASE WHEN {_WAS_SECOND} THEN n.voted_at END) AS two_at,
            MAX(n.voted_at) AS last_at,
            SUM(CASE WHEN n.place <= 2 AND n.simulated THEN 1 ELSE 0 END) AS simulated
        FROM annotate_pair p LEFT JOIN (
            SELECT pair_id, annotator_id, simulated, voted_at,
                CASE choice WHEN 'a' THEN 'a' WHEN 'b' THEN 'b' ELSE 'tie' END AS class,
                ROW_NUMBER() OVER (PARTITION BY pair_id ORDER BY seq, id) AS place
            FROM annotate_assignment
            WHERE pair_id = %(pair)s AND state = 'voted' AND NOT surplus
        ) n ON n.pair_id = p.id
        WHERE p.id = %(pair)s
        GROUP BY p.id
    ) v WHERE v.id = annotate_pair.id
"""


@dataclass(frozen=True)
class SlotCounts:
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
    has_webhooks: bool = False
    """The project has active ones, so that votes of all others need not look for them."""

    @property
    def quota(self) -> tuple[int, int, int]:
        """Votes wanted, at most, and equal ones that resolve."""
        return self.wanted, self.limit, self.agree

    @property
    def votes(self) -> int:
        return self.n_a + self.n_b + self.n_tie

    @property
    def contradicts(self) -> bool:
        """True when the only vote asked for is against a reward model that was sure."""
        if self.limit > 1 or not self.agree or self.kind != Pair.Kind.NORMAL or self.margin is None:
            return False
        return (self.margin > SURE and self.n_b > 0) or (self.margin < -SURE and self.n_a > 0)


def update(
    pair_id: int, assignments: str, *, where: str = "TRUE", **parameters: str | int | None
) -> SlotCounts | None:
    """Update one pair's columns and return them as they are now, its row locked.

    None when `where` did not hold. Both SQL fragments are constants of this package.
    """
    sql = (
        f"UPDATE annotate_pair SET {assignments} WHERE id = %(pair)s AND {where} "
        f"RETURNING {_RETURNED}"
    )
    row = prepared.row(sql, {"pair": pair_id, **parameters})
    return SlotCounts(*row) if row else None


def count_vote(
    pair_id: int,
    choice: str,
    *,
    holds_slot: bool,
    by: int,
    now: datetime,
    simulated: bool = False,
) -> SlotCounts:
    """Number one more vote of the pair and, unless it is surplus, count it."""
    after = update(pair_id, counting(choice, holds_slot), **counted(choice, by, now, simulated))
    assert after, "pairs with assignments are never deleted on their own"
    return after


def counting(choice: str, holds_slot: bool) -> str:
    """Assignments of `count_vote`, with the parameters that `counted` has."""
    column = COUNT_OF[choice]
    counts = f", {column} = {column} + 1, {_ADD_TO_FIRST_TWO}" if holds_slot else ""
    return f'"cast" = "cast" + 1{counts}'


def counted(choice: str, by: int, now: datetime, simulated: bool) -> dict[str, Any]:
    """Parameters of a vote's `counting`."""
    return {
        "choice_class": labels.CLASS[choice],
        "by": by,
        "simulated": int(simulated),
        "at": connection.ops.adapt_datetimefield_value(now),
    }


def after_vote(pair: Pair, choice: str) -> SlotCounts:
    """The counts that `count_vote` would return of a pair whose row is locked and was read since,
    with its project."""
    counts = {name: getattr(pair, name) for name in COLUMNS}
    counts["cast"] += 1
    counts[COUNT_OF[choice]] += 1
    return SlotCounts(**counts, stop_when_certain=pair.project.stop_when_certain)


def uncount_vote(pair_id: int, choice: str) -> SlotCounts:
    """Stop counting a vote. `recount_first_two` follows once the vote no longer stands."""
    column = COUNT_OF[choice]
    after = update(pair_id, f"{column} = {column} - 1")
    assert after, "pairs with assignments are never deleted on their own"
    return after


def take(pair_id: int, *, left: str) -> SlotCounts | None:
    """Hold one more slot of the pair; None when none is free."""
    sign = "+" if left == "a" else "-"
    return update(
        pair_id,
        f"open_slots = open_slots - 1, left_balance = left_balance {sign} 1",
        where="open_slots > 0",
    )


def recount_first_two(pair_id: int) -> None:
    """Set the columns of the first two votes from those that stand; the row is locked."""
    with connection.cursor() as cursor:
        cursor.execute(_RECOUNT_FIRST_TWO, {"pair": pair_id})


def retire(pair_id: int) -> None:
    """Withdraw an open pair's free slots for good. Slots that somebody holds stay theirs."""
    update(
        pair_id,
        "state = 'retired', asked = asked - open_slots, open_slots = 0",
        where="state = 'open'",
    )


def reopen(pair_id: int) -> None:
    """Open as many slots of a retired pair as it is meant to have at most."""
    update(
        pair_id,
        'state = \'open\', open_slots = "limit" - asked, asked = "limit", resolved_at = NULL',
        where="state = 'retired'",
    )


def lock(pair_ids: Iterable[int]) -> None:
    """Hold the rows of these pairs until the transaction ends (SQLite holds everything)."""
    if connection.features.has_select_for_update:
        rows = Pair.objects.select_for_update(no_key=True).filter(pk__in=pair_ids)
        list(rows.order_by("pk").values_list("pk"))
