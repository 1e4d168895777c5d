"""Statements whose plans the database keeps."""

from __future__ import annotations

import pytest
from django.db import connection

from annotate.statements import prepared

pytestmark = pytest.mark.django_db(transaction=True)
KEPT = "SELECT word FROM words_of_a_test WHERE id = %(id)s"


def test_a_column_that_a_migration_changes_meanwhile_is_read_as_it_is_then() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE words_of_a_test (id integer, word varchar(5))")
        cursor.execute("INSERT INTO words_of_a_test VALUES (1, 'one')")
    try:
        assert [prepared.row(KEPT, {"id": 1}) for _ in range(3)] == [("one",)] * 3
        # By another connection: psycopg forgets its plans when it sees an ALTER itself.
        migration = connection.copy() if connection.vendor == "postgresql" else connection
        with migration.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("ALTER TABLE words_of_a_test ALTER word TYPE varchar(20)")
            cursor.execute("UPDATE words_of_a_test SET word = 'another'")
        if migration is not connection:
            migration.close()
        assert prepared.row(KEPT, {"id": 1}) == ("another",)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE words_of_a_test")
