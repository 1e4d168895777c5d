"""Connections from the pool that the server has ended are not used."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection

from config.postgresql.base import has_ended

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL has a pool")
def test_a_connection_that_the_server_ended_is_replaced_before_anybody_meets_it() -> None:
    def backend() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    first, ended = backend(), connection.connection
    connection.close()
    with psycopg.connect(**connection.get_connection_params() | {"context": None}) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [first])
    while not has_ended(ended):
        pass
    for _ in range(3):
        assert backend() != first
        connection.close()
