"""The statements of every vote, by hand: through the ORM they cost several times as much.

The claim of a slot is one statement on Postgres, four short ones on SQLite. Its parameters:
project, user, membership, propensity, acquisition, side, token, now, expires, guideline_version,
compared.
An arm leases in one order or in several; each order is a statement of its own, with its words in
the text, so that a plan made once suits every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from annotate.models import Assignment, Completion, Pair, Project, Prompt
from annotate.statements import prepared
from annotate.statements.instances import Columns


class Order(NamedTuple):
    """An order in which an arm leases pairs."""

    arm: str
    """Stored with the lease, and with a pair that is leased for the first time."""
    pairs: str
    by: str
    others: tuple[tuple[str, str], ...] = ()
    """Pairs of the arm that this one was drawn against, each kind with the order of its index."""


# Spelt as in the partial index. What nothing has ranked is asked at random.
_MAY_BE_ACTIVE = "p.arms IN ('both', 'active')"
_RANKED = f"{_MAY_BE_ACTIVE} AND p.priority > 0"
_BY_SHUFFLE = "p.shuffle, p.id"
# Started pairs are completed before new ones of equal priority.
_BY_PRIORITY = "p.priority DESC, p.started DESC, p.id"
_ACTIVE = ((_RANKED, _BY_PRIORITY),)
_DRAWN = (("p.arms = 'both'", _BY_SHUFFLE), ("p.arms = 'random'", _BY_SHUFFLE))
ORDERS = {
    "measuring": Order("random", "p.arms = 'random'", _BY_SHUFFLE, _ACTIVE),
    "random": Order("random", "p.arms = 'both'", _BY_SHUFFLE, _ACTIVE),
    "active": Order("active", _RANKED, _BY_PRIORITY, _DRAWN),
    # Chosen, and then ranked no more: after all others.
    "unranked": Order("active", _MAY_BE_ACTIVE, _BY_PRIORITY),
    "evaluation": Order("evaluation", "p.arms = 'evaluation'", _BY_SHUFFLE),
    "check": Order("check", "p.arms = 'check'", _BY_SHUFFLE),
}


def _holds(which: str, *kinds: tuple[str, str]) -> str:
    """True where there is such a pair.

    The first in an order, and not EXISTS: for that PostgreSQL may read the table from its start,
    past all the pairs that are done, because it expects one that fits soon.
    """
    firsts = (
        f"(SELECT p.id FROM annotate_pair p WHERE {which} AND {pairs} ORDER BY {by} LIMIT 1)"
        for pairs, by in kinds
    )
    return f"COALESCE({', '.join(firsts)}, NULL) IS NOT NULL"


# `open_slots > 0` is spelt as in the partial indexes, so that both databases use them.
AVAILABLE = """
    p.project_id = %(project)s AND p.open_slots > 0
    AND (p.only_for_id IS NULL OR p.only_for_id = %(user)s)
    AND NOT EXISTS (
        SELECT 1 FROM annotate_assignment mine
        WHERE mine.pair_id = p.id AND mine.annotator_id = %(user)s AND mine.state <> 'released'
    )
"""

# Few pairs are in batches; an index holds those alone.
IN_BATCHES = """
    AND p.state = 'open' AND p.batch_id IN (
        SELECT batch_id FROM annotate_batch_people WHERE membership_id = %(membership)s
    )
"""


def of_batches(sql: str) -> str:
    """The statement, of nothing but the pairs of the person's batches."""
    return sql.replace(AVAILABLE, AVAILABLE + IN_BATCHES)


# A check hides among pairs that are offered anyway: were it all there is, it would show. Nor may
# it be the second time that the person sees these two texts. `compared` is the arm of comparisons
# for those who may have them, and empty for the others.
SOMETHING_OPEN = f"""
    SELECT 1 FROM annotate_pair p
    WHERE {AVAILABLE} AND p.arms IN ('both', 'random', 'active', %(compared)s) LIMIT 1
"""
HIDDEN = f"""
    AND EXISTS ({SOMETHING_OPEN})
    AND NOT EXISTS (
        SELECT 1 FROM annotate_pair twin JOIN annotate_assignment seen ON seen.pair_id = twin.id
        WHERE twin.completion_a_id = p.completion_a_id
            AND twin.completion_b_id = p.completion_b_id AND twin.id <> p.id
            AND seen.annotator_id = %(user)s AND seen.state <> 'released'
    )
"""
PICK = f"""
    SELECT p.id, p.left_balance FROM annotate_pair p
    WHERE {AVAILABLE} AND {{pairs}} {{hidden}}
    ORDER BY {{by}} LIMIT 1
"""

# The first two people on a pair see opposite sides; else each person's own sides balance.
# The arm had probability 1 when the other one held nothing for this person.
INSERT_LEASE = """
    INSERT INTO annotate_assignment (
        pair_id, annotator_id, token, state, "left", stream, acquisition, propensity,
        leased_at, expires_at, guideline_version, choice, strength, reasons, comment,
        criteria, skip_reason, input, surplus, simulated, imported, metadata, revision
    )
    SELECT pick.id, %(user)s, %(token)s, 'reserved',
        CASE WHEN pick.left_balance > 0 THEN 'b' WHEN pick.left_balance < 0 THEN 'a'
            ELSE %(side)s END,
        '{arm}', %(acquisition)s, {propensity},
        %(now)s, %(expires)s, %(guideline_version)s, '', 0, '[]', '', '{{}}', '', '',
        FALSE, FALSE, FALSE, '{{}}', 1
    FROM {pick}
    ON CONFLICT (annotator_id, pair_id) DO UPDATE SET
        state = 'reserved', surplus = FALSE, stream = excluded.stream,
        acquisition = excluded.acquisition,
        propensity = excluded.propensity, leased_at = excluded.leased_at,
        expires_at = excluded.expires_at, guideline_version = excluded.guideline_version
    WHERE annotate_assignment.state = 'released'
    RETURNING {returned}, CASE WHEN "left" = 'a' THEN 1 ELSE -1 END AS sign
"""


# A pair's stream is the arm of its first lease. Dataset versions tell it, so it never changes, and
# pairs with votes from a file have none. This lease is not there yet: on SQLite it is left out, by
# its token, because a row that is leased again was there before and keeps its old one.
TAKE_SLOT = """
    UPDATE annotate_pair SET open_slots = open_slots - 1, left_balance = left_balance + {sign},
        stream = CASE WHEN EXISTS (
            SELECT 1 FROM annotate_assignment had WHERE had.pair_id = annotate_pair.id {but}
        ) THEN annotate_pair.stream ELSE '{arm}' END
"""


def _pick(name: str) -> str:
    order = ORDERS[name]
    return PICK.format(pairs=order.pairs, by=order.by, hidden=HIDDEN if name == "check" else "")


def _insert(name: str, pick: str, *, returned: str) -> str:
    order = ORDERS[name]
    propensity = "%(propensity)s"
    if order.others:
        there = _holds(AVAILABLE, *order.others)
        propensity = f"CASE WHEN {propensity} < 1 AND {there} THEN {propensity} ELSE 1 END"
    return INSERT_LEASE.format(pick=pick, arm=order.arm, propensity=propensity, returned=returned)


_ASSIGNMENT = Columns(Assignment, "a")
# What an import said of a pair has no part in its votes.
_OF_IMPORTS = ("tags", "metadata", "source_ids")
_PAIR = Columns(Pair, "p", without=_OF_IMPORTS)
# What a lease or a vote may change beside whoever is shown the pair; read where it is asked for.
_MOVING = (
    *("state", "stream", "priority", "arms", "open_slots", "asked", "started", "left_balance"),
    *("n_a", "n_b", "n_tie", "first", "second", "first_by", "second_by", "firsts_simulated"),
    *("fell", "second_at", "last_vote_at", "cast", "resolved_at"),
)
_SETTLED = Columns(Pair, "p", without=(*_OF_IMPORTS, *_MOVING))
_PROJECT = Columns(Project, "project", without=("guidelines",))
LOCK = f"""
    SELECT {_ASSIGNMENT.sql}, {_PAIR.sql}, {_PROJECT.sql}
    FROM annotate_assignment a
    JOIN annotate_pair p ON p.id = a.pair_id
    JOIN annotate_membership m ON m.project_id = p.project_id AND m.user_id = a.annotator_id
    JOIN annotate_project project ON project.id = p.project_id
    WHERE a.token = %(token)s AND a.annotator_id = %(user)s AND m.active
"""
_PROMPT = Columns(Prompt, "prompt", without=("reference", "metadata", "tags"))
_TEXT_A = Columns(Completion, "one", without=("metadata",))
_TEXT_B = Columns(Completion, "other", without=("metadata",))
_SHOWN = f"SELECT {_ASSIGNMENT.sql}, {_SETTLED.sql}, {_PROMPT.sql}, {_TEXT_A.sql}, {_TEXT_B.sql}"
_TEXTS = """
    JOIN annotate_pair p ON p.id = a.pair_id
    JOIN annotate_prompt prompt ON prompt.id = p.prompt_id
    JOIN annotate_completion one ON one.id = p.completion_a_id
    JOIN annotate_completion other ON other.id = p.completion_b_id
"""
DISPLAY = f"{_SHOWN} FROM annotate_assignment a {_TEXTS} WHERE a.id = %(assignment)s"


# Both updates follow the insert: if that is suppressed, no slot leaks.
ON_POSTGRES = {
    name: f"""
    WITH pick AS ({_pick(name)} FOR NO KEY UPDATE OF p SKIP LOCKED),
    lease AS ({_insert(name, "pick", returned="annotate_assignment.*")}),
    pair AS (
        {TAKE_SLOT.format(sign="sign", arm=order.arm, but="")}
        FROM lease WHERE annotate_pair.id = lease.pair_id
    ),
    member AS (
        UPDATE annotate_membership SET left_balance = left_balance + sign
        FROM lease WHERE annotate_membership.id = %(membership)s
    )
    {_SHOWN} FROM lease a {_TEXTS}
    """
    for name, order in ORDERS.items()
}
ON_SQLITE = {
    name: _insert(name, f"({_pick(name)}) AS pick WHERE TRUE", returned="id, pair_id")
    for name in ORDERS
}
SLOT_ON_SQLITE = {
    name: TAKE_SLOT.format(sign="%s", arm=order.arm, but="AND had.token <> %s") + " WHERE id = %s"
    for name, order in ORDERS.items()
}


_OPEN = "p.project_id = %(project)s AND p.open_slots > 0"
OLDEST_LEASE = """
    SELECT a.id FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
    WHERE a.annotator_id = %(user)s AND a.state = 'reserved' AND p.project_id = %(project)s
        AND a.token <> %(after)s
    ORDER BY a.leased_at, a.id LIMIT 1
"""
# Which orders hold anything is asked here, so that no claim is spent on empty ones.
MEMBER = f"""
    SELECT id, left_balance, pace_ms, simulated, guidelines_read, qualified_at, paused_at,
        batches_only, EXISTS (
            SELECT 1 FROM annotate_batch_people given
            WHERE given.membership_id = annotate_membership.id
        ),
        {_holds(_OPEN, *_ACTIVE)},
        {_holds(_OPEN, ("p.arms = 'evaluation'", _BY_SHUFFLE))}
        AND (evaluates OR NOT EXISTS (SELECT 1 FROM annotate_membership other
            WHERE other.project_id = %(project)s AND other.evaluates
                AND other.active AND other.paused_at IS NULL)),
        ({OLDEST_LEASE})
    FROM annotate_membership
    WHERE project_id = %(project)s AND user_id = %(user)s AND active
"""
RENEW = """
    UPDATE annotate_assignment SET expires_at = %(expires)s, guideline_version = %(version)s
    WHERE id = ({lease}) RETURNING id
"""
NO_TOKEN = UUID(int=0)


def lock(*, user: int, token: UUID, membership: bool = False) -> Assignment | None:
    """Lock the pair of a member's own assignment, on request the membership, then the assignment: a
    dataset version that is freezing this vote comes before or after. Returns it as it is then, its
    pair and project with it."""
    # The rows are locked in the order in which OF names them, and read anew once they are.
    rows = "p, m, a" if membership else "p, a"
    row = _row(LOCK + _locking(f" FOR NO KEY UPDATE OF {rows}"), token=token, user=user)
    if row is None:
        return None
    assignment: Assignment
    assignment, pair, project = _instances(row, _ASSIGNMENT, _PAIR, _PROJECT)
    assignment.pair, pair.project = pair, project
    return assignment


def display(assignment: int) -> Assignment:
    """An assignment with its pair and its texts."""
    row = _row(DISPLAY, assignment=assignment)
    assert row, "what was leased in this transaction is there"
    return _shown(row)


def _shown(row: tuple[Any, ...]) -> Assignment:
    """The assignment of a row of _SHOWN."""
    shown: Assignment
    shown, pair, *texts = _instances(row, _ASSIGNMENT, _SETTLED, _PROMPT, _TEXT_A, _TEXT_B)
    shown.pair = pair
    pair.prompt, pair.completion_a, pair.completion_b = texts
    return shown


def _instances(row: tuple[Any, ...], *parts: Columns[Any]) -> Iterator[Any]:
    """The instances of a row that has the columns of one table behind those of another."""
    start = 0
    for part in parts:
        yield part.instance(row[start : start + len(part)])
        start += len(part)


class Member(NamedTuple):
    """Columns of a membership that bear on the next lease; times as the database returns them."""

    id: int
    left_balance: int
    pace_ms: int | None
    simulated: bool
    guidelines_read: int
    qualified_at: Any
    paused_at: Any
    batches_only: bool
    has_batches: bool
    ranked: bool
    """The active arm has pairs, for this person or for others."""
    evaluation: bool
    """The evaluation arm has, and the person may compare policies: where some of the members taught
    no reward model, they alone may."""
    lease: int | None
    """Their oldest one but the one asked without, as the statement saw it: before it could lock the
    membership."""


def member(
    *, project: int, user: int, lock: bool = False, after: UUID | None = None
) -> Member | None:
    """An active membership, on request locked; its lease is one other than `after`."""
    sql = MEMBER + (_locking(" FOR NO KEY UPDATE") if lock else "")
    row = _row(sql, project=project, user=user, after=after or NO_TOKEN)
    return Member(*row) if row else None


def compared(evaluation: bool) -> str:
    """The arm that only those who may compare policies are offered pairs of; "" for the others."""
    return "evaluation" if evaluation else ""


def something_open(
    *, project: int, user: int, evaluation: bool, membership: int | None = None
) -> bool:
    """True when an ordinary pair has a slot for the person; of a membership, one in its batches.

    Comparisons of policies are ordinary pairs to those who may have them (Member.evaluation).
    """
    sql = SOMETHING_OPEN if membership is None else of_batches(SOMETHING_OPEN)
    given = {"project": project, "user": user, "membership": membership}
    return _row(sql, **given, compared=compared(evaluation)) is not None


def renew(
    *, project: int, user: int, after: UUID | None, expires: datetime, version: int
) -> int | None:
    """Renew the person's oldest lease but `after`; return its id.

    A lease that is being voted on in another tab is as good as gone.
    """
    return _first(
        RENEW.format(lease=OLDEST_LEASE + _locking(" FOR NO KEY UPDATE OF a SKIP LOCKED")),
        project=project,
        user=user,
        after=after or NO_TOKEN,
        expires=expires,
        version=version,
    )


def _locking(clause: str) -> str:
    """SQLite has one writer, so its rows need no locks."""
    return clause if connection.features.has_select_for_update else ""


def _first(sql: str, **parameters: Any) -> int | None:
    row = _row(sql, **parameters)
    return row[0] if row else None


def _row(sql: str, **parameters: Any) -> tuple[Any, ...] | None:
    return prepared.row(sql, parameters)


def claim(order: str, parameters: dict[str, Any], *, batches: bool = False) -> Assignment | None:
    """Take a slot of the first pair of an order, a name in ORDERS; return the assignment to be
    shown, None when the order holds nothing for the person.

    With `batches`, of the pairs in the person's batches; checks are in none.
    """
    on_postgres = connection.vendor == "postgresql"
    sql = (ON_POSTGRES if on_postgres else ON_SQLITE)[order]
    if batches and order != "check":
        sql = of_batches(sql)
    with prepared.cursor() as cursor:
        cursor.execute(sql, prepared.adapted(parameters))
        row = cursor.fetchone()
        if on_postgres or row is None:
            return _shown(row) if row else None
        assignment, pair, sign = row
        cursor.execute(SLOT_ON_SQLITE[order], prepared.adapted([sign, parameters["token"], pair]))
        cursor.execute(
            "UPDATE annotate_membership SET left_balance = left_balance + %s WHERE id = %s",
            [sign, parameters["membership"]],
        )
    return display(assignment)
