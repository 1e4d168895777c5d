"""Sessions in the database, and who is behind one: read with the project that the request names, by
one prepared statement."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from annotate.people.permissions import PROJECT, remember
from annotate.statements import prepared
from annotate.statements.instances import Columns

BACKEND = "django.contrib.auth.backends.ModelBackend"
REMEMBERED = 4096
"""Sessions whose owners a process remembers at most."""
DROPPED = 1000
"""Expired sessions that are removed at a time."""
_owners: dict[str, int] = {}
LOAD = """
    SELECT session_data FROM django_session
    WHERE session_key = %(key)s AND expire_date > %(now)s
"""
USER = Columns(User, "person")
WHO = f"""
    SELECT session.session_data, {USER.sql}, {PROJECT.sql}, member.role
    FROM django_session session
    JOIN auth_user person ON person.id = %(user)s
    LEFT JOIN annotate_project project ON project.slug = %(slug)s
    LEFT JOIN annotate_membership member
        ON member.project_id = project.id AND member.user_id = person.id AND member.active
    WHERE session.session_key = %(key)s AND session.expire_date > %(now)s
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

    def load_with_owner(self, user: int, slug: str) -> User | None:
        """Load the session and with it this user, if the session is theirs and may still be used;
        else None, with nothing loaded.

        The project of this slug and the user's role in it are kept for `project_or_404`.
        """
        asked = {"key": self.session_key, "user": user, "slug": slug, "now": timezone.now()}
        row = prepared.row(WHO, asked)
        if row is None:
            return None
        held, person = self.decode(row[0]), USER.instance(row[1 : 1 + len(USER)])
        if not _is_of(held, person):
            return None
        self._session_cache = held
        self.accessed = True
        remember(person, slug, row[1 + len(USER) :])
        return person


def _is_of(session: dict[str, Any], person: User) -> bool:
    """As `django.contrib.auth.get_user` decides it, without its ways for older secrets."""
    return (
        session.get(SESSION_KEY) == str(person.pk)
        and session.get(BACKEND_SESSION_KEY) == BACKEND
        and person.is_active
        and constant_time_compare(session.get(HASH_SESSION_KEY, ""), person.get_session_auth_hash())
    )


def _remember_owner(session_key: str, user: int) -> None:
    """Keep whose session somebody was seen to use: a guess that saves a statement, and decides
    nothing."""
    if len(_owners) >= REMEMBERED:
        _owners.clear()  # each of them costs one statement once
    _owners[session_key] = user


def end_sessions(user: User, *, but: str | None = None) -> None:
    """End the person's sessions but the one that is named; whose one is stands inside of it."""
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        own = session.get_decoded().get(SESSION_KEY) == str(user.pk)
        if own and session.session_key != but:
            session.delete()


def drop_expired_sessions() -> int:
    """Remove sessions that have expired, some at a time; how many. They let nobody in before."""
    old = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")
    keys = list(old.values_list("session_key", flat=True)[:DROPPED])
    return Session.objects.filter(session_key__in=keys).delete()[0] if keys else 0


class Authentication(AuthenticationMiddleware):
    """Django's own, but that who asks is read in one statement with the project."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: _user_of(request))  # type: ignore[assignment]  # As Django does itself.


def _user_of(request: HttpRequest) -> User | AnonymousUser:
    known: User | AnonymousUser | None = getattr(request, "_cached_user", None)
    if known is not None:
        return known
    known = _read_at_once(request) or _read_by_django(request)
    request._cached_user = known  # type: ignore[attr-defined]  # Where Django itself keeps it.
    return known


def _read_at_once(request: HttpRequest) -> User | None:
    session = request.session
    key = session.session_key
    # What was read already may have been changed by this request.
    if not key or hasattr(session, "_session_cache") or (owner := _owners.get(key)) is None:
        return None
    match = request.resolver_match
    slug = match.kwargs.get("slug", "") if match else ""
    return session.load_with_owner(owner, str(slug))  # type: ignore[attr-defined, no-any-return]  # SESSION_ENGINE names the store above.


def _read_by_django(request: HttpRequest) -> User | AnonymousUser:
    person = get_user(request)
    key = request.session.session_key
    if key and isinstance(person, User):
        _remember_owner(key, person.pk)
    return person
