"""The link that signs one person in without a password: once, from this machine, for minutes."""

from __future__ import annotations

import time

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core import signing
from django.urls import reverse

LINK_SALT = "annotate.sign-in-link"


def path_of(user: User, *, minutes: int = 15) -> str:
    """Path of a link that signs `user` in once, from this machine, within `minutes`."""
    payload = {"user": user.pk, "seen": _last_seen(user), "until": int(time.time()) + minutes * 60}
    return reverse("enter", args=[signing.dumps(payload, salt=LINK_SALT)])


def user_of(token: str) -> User | None:
    """The person of a link that still works; None of any other."""
    try:
        payload = signing.loads(token, salt=LINK_SALT)
    except signing.BadSignature:
        return None
    user = get_user_model().objects.filter(pk=payload["user"], is_active=True).first()
    if user is None or time.time() > payload["until"] or payload["seen"] != _last_seen(user):
        return None
    return user


def _last_seen(user: User) -> str:
    return user.last_login.isoformat() if user.last_login else ""
