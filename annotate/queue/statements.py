"""The claim of a place, by hand: one statement on Postgres, four short ones on SQLite.

Parameters: project, user, membership, stream (the arm), other (the other arm), propensity,
side, token, now, expires, guideline_version.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

ORDER = {
    "random": "p.shuffle, p.id",
    # Started pairs are completed before new ones of equal priority.
    "active": "p.priority DESC, p.started DESC, p.id",
}

# `open_slots > 0` is spelt as in the partial indexes, so that both databases use them.
AVAILABLE = """
    p.project_id = %(project)s AND p.open_slots > 0
    AND (p.only_for_id IS NULL OR p.only_for_id = %(user)s)
    AND NOT EXISTS (
        SELECT 1 FROM annotate_assignment mine
        WHERE mine.pair_id = p.id AND mine.annotator_id = %(user)s AND mine.state <> 'released'
    )
"""

PICK = f"""
    SELECT p.id, p.left_balance FROM annotate_pair p
    WHERE {AVAILABLE} AND p.stream = %(stream)s
    ORDER BY {{order}} LIMIT 1
"""

# The first two people on a pair see opposite sides; else each person's own sides balance.
# The arm had probability 1 when the other one held nothing for this person.
PLACE = f"""
    INSERT INTO annotate_assignment (
        pair_id, annotator_id, token, state, "left", stream, propensity,
        leased_at, expires_at, guideline_version, choice, strength, reasons, comment,
        skip_reason, surplus, simulated, revision
    )
    SELECT pick.id, %(user)s, %(token)s, 'reserved',
        CASE WHEN pick.left_balance > 0 THEN 'b' WHEN pick.left_balance < 0 THEN 'a'
            ELSE %(side)s END,
        %(stream)s,
        CASE WHEN %(propensity)s < 1 AND EXISTS (
            SELECT 1 FROM annotate_pair p WHERE {AVAILABLE} AND p.stream = %(other)s
        ) THEN %(propensity)s ELSE 1 END,
        %(now)s, %(expires)s, %(guideline_version)s, '', 0, '[]', '', '', FALSE, FALSE, 1
    FROM {{pick}}
    ON CONFLICT (annotator_id, pair_id) DO UPDATE SET
        state = 'reserved', surplus = FALSE, stream = excluded.stream,
        propensity = excluded.propensity, leased_at = excluded.leased_at,
        expires_at = excluded.expires_at, guideline_version = excluded.guideline_version
    WHERE annotate_assignment.state = 'released'
    RETURNING id, pair_id, CASE WHEN "left" = 'a' THEN 1 ELSE -1 END AS sign
"""

# Both updates follow the insert: if that is suppressed, no place leaks.
ON_POSTGRES = {
    arm: f"""
    WITH pick AS ({PICK.format(order=order)} FOR NO KEY UPDATE OF p SKIP LOCKED),
    place AS ({PLACE.format(pick="pick")}),
    pair AS (
        UPDATE annotate_pair SET open_slots = open_slots - 1, left_balance = left_balance + sign
        FROM place WHERE annotate_pair.id = place.pair_id
    ),
    member AS (
        UPDATE annotate_membership SET left_balance = left_balance + sign
        FROM place WHERE annotate_membership.id = %(membership)s
    )
    SELECT id FROM place
    """
    for arm, order in ORDER.items()
}
ON_SQLITE = {
    arm: PLACE.format(pick=f"({PICK.format(order=order)}) AS pick WHERE TRUE")
    for arm, order in ORDER.items()
}


def claim(parameters: dict[str, Any]) -> int | None:
    """Take a place on the arm's best pair; return the assignment's id, None when it is empty."""
    arm = parameters["stream"]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(ON_POSTGRES[arm], parameters)
            row = cursor.fetchone()
            return row[0] if row else None
        cursor.execute(ON_SQLITE[arm], _as_sqlite_stores_them(parameters))
        row = cursor.fetchone()
        if row is None:
            return None
        assignment, pair, sign = row
        cursor.execute(
            "UPDATE annotate_pair SET open_slots = open_slots - 1, "
            "left_balance = left_balance + %s WHERE id = %s",
            [sign, pair],
        )
        cursor.execute(
            "UPDATE annotate_membership SET left_balance = left_balance + %s WHERE id = %s",
            [sign, parameters["membership"]],
        )
        return assignment


def _as_sqlite_stores_them(parameters: dict[str, Any]) -> dict[str, Any]:
    adapt = connection.ops.adapt_datetimefield_value
    return parameters | {
        "token": parameters["token"].hex,
        "now": adapt(parameters["now"]),
        "expires": adapt(parameters["expires"]),
    }
