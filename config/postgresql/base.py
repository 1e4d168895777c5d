"""Connections from the pool, looked at before each request.

Django's health check asks the server by a statement of its own, which costs every request two
messages. A server that ended a connection has said so on it: something to read on a connection
that asked for nothing means that it is over.
"""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """A connection that its server has not ended; from the pool, where there is one."""
        while True:
            connection: Connection[Any] = super().get_new_connection(conn_params)
            if not self.pool or not has_ended(connection):
                return connection
            connection.close()
            self.pool.putconn(connection)  # The pool makes another one instead.


def has_ended(connection: Connection[Any]) -> bool:
    """True when something waits on an idle connection: the server's farewell, or the end of its
    stream."""
    if connection.closed:
        return True
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
