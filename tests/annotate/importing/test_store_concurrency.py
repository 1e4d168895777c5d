"""Imports beside people who vote, and beside other imports. Real threads and connections."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from annotate import queue
from annotate.importing.imported_row import Row
from annotate.importing.row_store import Writer
from annotate.models import Assignment, Completion, Pair, Project, Prompt
from annotate.queue import Pace, bulk_write, recount
from tests.annotate.importing.test_row_store import judged, votes
from tests.conftest import at_once

MakePairs = Callable[..., list[Pair]]
pytestmark = pytest.mark.django_db(transaction=True)


def rows(n: int, rater: str = "anna") -> list[Row]:
    return [judged((rater, "a"), ("", "tie"), ask=f"Q{i}", tags=[rater]) for i in range(n)]


def assert_counts_are_right(project: Project) -> None:
    pairs = project.pairs.order_by("pk")
    before = list(pairs.values(*recount.STORED))
    recount.recount([pair.pk for pair in pairs], now=timezone.now())
    assert list(pairs.values(*recount.STORED)) == before


def test_two_imports_of_one_file_at_once_add_it_once(project: Project) -> None:
    file = rows(200)
    other_order = random.Random(3).sample(file, len(file))
    writers = [Writer(project, now=timezone.now()) for _ in range(2)]
    results = at_once(lambda: writers[0].add(file), lambda: writers[1].add(other_order))
    assert not any(isinstance(result, BaseException) for result in results), results
    assert (Prompt.objects.count(), Completion.objects.count()) == (200, 400)
    assert (Pair.objects.count(), Assignment.objects.count()) == (200, 400)
    assert sum(writer.added["votes"] for writer in writers) == 400
    assert_counts_are_right(project)


def test_two_tables_with_votes_on_the_same_pairs_at_once_lose_none(project: Project) -> None:
    writers = [Writer(project, now=timezone.now()) for _ in range(2)]
    tables = rows(150), rows(150, "bob")
    results = at_once(lambda: writers[0].add(tables[0]), lambda: writers[1].add(tables[1]))
    assert not any(isinstance(result, BaseException) for result in results), results
    assert Pair.objects.count() == 150
    for pair in project.pairs.all():
        assert votes(pair).keys() == {"anna", "bob", "imported"}
    assert_counts_are_right(project)


def test_people_vote_while_rows_come_in_on_their_own_pairs_too(
    project: Project, ann: User, ben: User
) -> None:
    asked = [judged(ask=f"Q{i}") for i in range(60)]
    Writer(project, now=timezone.now()).add(asked)
    done = threading.Event()

    def bring() -> int:
        try:
            writer = Writer(project, now=timezone.now(), judged="ask")
            for start in range(0, 600, 30):
                writer.add(rows(600)[start : start + 30])
            return writer.added["votes"]
        finally:
            done.set()

    def vote(user: User) -> int:
        cast = 0
        while (lease := queue.next_pair(project, user)) and not done.is_set():
            cast += queue.vote(user, lease.token, choice="b").status in ("stored", "surplus")
        return cast

    added, *cast = at_once(bring, lambda: vote(ann), lambda: vote(ben))
    assert added == 1200
    assert all(isinstance(n, int) and n > 0 for n in cast), cast
    assert Assignment.objects.filter(imported=True).count() == 1200
    live = Assignment.objects.voted().filter(imported=False).count()
    assert live == sum(n for n in cast if isinstance(n, int))
    assert_counts_are_right(project)


def safety() -> int:
    if connection.vendor != "sqlite":
        return 0
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


def test_what_is_written_in_bulk_is_there_and_the_next_vote_is_as_safe_as_before() -> None:
    before = safety()
    with bulk_write():
        Project.objects.create(slug="bulk", name="Bulk")
    assert Project.objects.filter(slug="bulk").exists()
    assert safety() == before


def test_a_batch_that_fails_leaves_nothing_and_the_next_vote_is_as_safe_as_before() -> None:
    before = safety()
    with pytest.raises(ZeroDivisionError), bulk_write():
        Project.objects.create(slug="bulk", name="Bulk")
        raise ZeroDivisionError
    assert not Project.objects.filter(slug="bulk").exists()
    assert safety() == before


def test_a_batch_that_took_long_makes_the_next_one_smaller_and_a_short_one_larger() -> None:
    pace = Pace(100, least=30, most=150)
    for slow, rows in ((False, 150), (True, 75), (True, 38), (True, 30), (True, 30), (False, 60)):
        with pace.write(pace.rows):
            time.sleep(0.25 if slow else 0)
        assert pace.rows == rows
