"""Sessions in the database, read by one prepared statement."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import db
from django.utils import timezone

from annotate.statements import prepared

LOAD = """
    SELECT session_data FROM django_session
    WHERE session_key = %(key)s AND expire_date > %(now)s
"""


class SessionStore(db.SessionStore):
    """Django's own sessions, in its own table."""

    def load(self) -> dict[str, Any]:
        """The values of the session; none where it has expired or was ended."""
        row = prepared.row(LOAD, {"key": self.session_key, "now": timezone.now()})
        if row is None:
            self._session_key = None
            return {}
        held: dict[str, Any] = self.decode(row[0])
        return held
