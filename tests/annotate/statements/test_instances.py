"""Rows of hand-written SQL beside what the ORM reads."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.db import connection, transaction

from annotate import queue
from annotate.models import Assignment, Pair, Project
from annotate.statements import prepared
from annotate.statements.instances import Changes, Columns

MakePairs = Callable[..., list[Pair]]


def voted(project: Project, user: User) -> Assignment:
    lease = queue.next_pair(project, user)
    assert lease
    queue.vote(user, lease.token, choice="a", reasons=["Style", "Ünïcode %s"], wall_ms=70_000)
    return Assignment.objects.get(pk=lease.pk)


def test_an_instance_has_the_values_that_the_orm_reads(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    stored = voted(project, ann)
    columns = Columns(Assignment, "a")
    sql = f"SELECT {columns.sql} FROM annotate_assignment a WHERE a.token = %(token)s"
    row = prepared.row(sql, {"token": stored.token})
    assert row
    read = columns.instance(row)
    assert {field.attname: getattr(read, field.attname) for field in columns.fields} == {
        field.attname: getattr(stored, field.attname) for field in columns.fields
    }


def test_a_field_that_is_left_out_is_read_when_it_is_asked_for(
    project: Project, django_assert_num_queries: Callable[..., object]
) -> None:
    Project.objects.update(guidelines="Be kind.")
    columns = Columns(Project, "project", without=("guidelines",))
    sql = f"SELECT {columns.sql} FROM annotate_project project"
    row = prepared.row(sql, {})
    assert row
    read = columns.instance(row)
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        assert read.guidelines == "Be kind."


def test_changes_store_what_the_orm_would(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    stored = voted(project, ann)
    stored.reasons, stored.comment, stored.active_ms = ["100 %"], "50 % of “it”", None
    changes = Changes(Assignment, ("reasons", "comment", "active_ms"))
    prepared.execute(changes.sql, changes.of(stored))
    again = Assignment.objects.get(pk=stored.pk)
    assert (again.reasons, again.comment) == (["100 %"], "50 % of “it”")
    assert again.active_ms is None


def test_postgresql_keeps_the_plans_of_votes_and_of_nothing_else(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    if connection.vendor != "postgresql":
        return
    make_pairs(3)
    with transaction.atomic():
        voted(project, ann)
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_prepared_statements")
            kept = [sql for (sql,) in cursor.fetchall()]
    assert any("UPDATE annotate_pair" in sql for sql in kept)
    assert not any('FROM "annotate_' in sql for sql in kept), "the ORM's texts differ each time"
