"""The first two standing votes of a pair, and when it got its last, on the pair's own row.

Agreement is measured on them (see annotate.quality.agreement_counts). A vote adds itself in the
UPDATE that counts it, because no vote that stands was cast after it; whatever takes a vote away or
changes it counts the one pair again.
"""

from __future__ import annotations

from django.db import connection

# A second vote where one is the limit was asked because the first contradicted the reward model:
# agreement measured on such pairs would come out too low.
IS_SECOND = """"first" <> '' AND "second" = '' AND "limit" > 1"""
WAS_SECOND = 'n.place = 2 AND p."limit" > 1'

# The right-hand sides see the row as it was.
ADD = f"""
    "second" = CASE WHEN {IS_SECOND} THEN %(class)s ELSE "second" END,
    second_by_id = CASE WHEN {IS_SECOND} THEN %(by)s ELSE second_by_id END,
    second_at = CASE WHEN {IS_SECOND} THEN %(at)s ELSE second_at END,
    last_vote_at = %(at)s,
    firsts_simulated = CASE WHEN "second" = '' AND %(simulated)s = 1 THEN TRUE
        ELSE firsts_simulated END,
    first_by_id = CASE WHEN "first" = '' THEN %(by)s ELSE first_by_id END,
    "first" = CASE WHEN "first" = '' THEN %(class)s ELSE "first" END
"""

RECOUNT = f"""
    UPDATE annotate_pair SET "first" = v.one, first_by_id = v.one_by, "second" = v.two,
        second_by_id = v.two_by, second_at = v.two_at, last_vote_at = v.last_at,
        firsts_simulated = v.simulated > 0
    FROM (
        SELECT p.id,
            COALESCE(MAX(CASE WHEN n.place = 1 THEN n.class END), '') AS one,
            MAX(CASE WHEN n.place = 1 THEN n.annotator_id END) AS one_by,
            COALESCE(MAX(CASE WHEN {WAS_SECOND} THEN n.class END), '') AS two,
            MAX(CASE WHEN {WAS_SECOND} THEN n.annotator_id END) AS two_by,
            MAX(CASE WHEN {WAS_SECOND} THEN n.voted_at END) AS two_at,
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


def recount(pair_id: int) -> None:
    """Set the columns from the votes that stand; the caller holds the pair's row."""
    with connection.cursor() as cursor:
        cursor.execute(RECOUNT, {"pair": pair_id})
