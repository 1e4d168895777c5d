"""Exported values as text, the same in every format."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from annotate.models import Membership, Project


def line(row: dict[str, Any]) -> bytes:
    """One JSON line; key order is the row's own, so equal rows give equal bytes."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds always written, so that lengths do not vary."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pseudonyms(project: Project) -> Callable[[int], str]:
    """User id -> the name under which this project's exports know the person."""
    members = Membership.objects.filter(project=project)
    known = dict(members.values_list("user_id", "pseudonym"))

    def name(user_id: int) -> str:
        # A superuser votes without a membership; a keyed hash is stable and reveals nothing.
        return known.get(user_id) or f"ann-{_keyed(project, user_id)}"

    return name


def _keyed(project: Project, user_id: int) -> str:
    message = f"pseudonym:{project.pk}:{user_id}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()[:8]
