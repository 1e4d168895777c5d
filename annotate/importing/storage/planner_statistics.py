"""The planner's statistics of the database, after many rows came at once."""

from __future__ import annotations

import logging
from collections import Counter

from django.db import DatabaseError, connection, transaction

from annotate.models import Assignment, Completion, Label, Pair, Prompt

MANY = 5_000
"""Rows added, from which on what the planner knows is too far off to wait for autovacuum, which
comes within a minute: until then every vote cost three times as much."""
TABLES = (Prompt, Completion, Pair, Assignment, Label)
log = logging.getLogger(__name__)


def refresh_after(added: Counter[str]) -> None:
    """Have PostgreSQL look at the tables again where an import added many rows.

    A sample of 30,000 rows a table, whatever its size; nobody waits for it. SQLite plans by its
    indexes alone.
    """
    if connection.vendor != "postgresql" or sum(added.values()) < MANY:
        return
    tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in TABLES)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"ANALYZE (SKIP_LOCKED) {tables}")
    except DatabaseError:
        # The rows are in; somebody else may own the tables, or the statement took too long.
        log.warning("The statistics of the database could not be refreshed.", exc_info=True)
