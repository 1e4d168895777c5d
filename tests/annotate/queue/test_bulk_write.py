"""Transactions of many rows: as safe as others, while their disk is waited for without the lock."""

from __future__ import annotations

import pytest
from django.db import connection

from annotate.models import Project
from annotate.queue import bulk_write

pytestmark = pytest.mark.django_db(transaction=True)


def level() -> int:
    if connection.vendor != "sqlite":
        return 0
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


def test_what_is_written_in_bulk_is_there_and_the_next_vote_is_as_safe_as_before() -> None:
    before = level()
    with bulk_write():
        Project.objects.create(slug="bulk", name="Bulk")
    assert Project.objects.filter(slug="bulk").exists()
    assert level() == before


def test_a_batch_that_fails_leaves_nothing_and_the_next_vote_is_as_safe_as_before() -> None:
    before = level()
    with pytest.raises(ZeroDivisionError), bulk_write():
        Project.objects.create(slug="bulk", name="Bulk")
        raise ZeroDivisionError
    assert not Project.objects.filter(slug="bulk").exists()
    assert level() == before
