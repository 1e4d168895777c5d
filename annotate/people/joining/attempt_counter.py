"""Limits of what strangers may try, counted for all processes of an installation together."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.utils import timezone

from annotate.models import Attempts


def add(*what: str, seconds: int) -> int:
    """Count an attempt; how many there are within `seconds` of the first one.

    Args:
        what: its kind, and who or what it is counted for; only their hash is stored.
    """
    now = timezone.now()
    return Attempts.objects.add(_key(what), now=now, until=now + timedelta(seconds=seconds))


def made(*what: str) -> int:
    """Attempts that still count."""
    return Attempts.objects.made(_key(what), now=timezone.now())


def seconds_left(*what: str) -> float:
    """Seconds until attempts are counted anew; 0 where none counts."""
    row = Attempts.objects.filter(key=_key(what)).first()
    return max(0.0, (row.until - timezone.now()).total_seconds()) if row else 0.0


def forget(*what: str) -> None:
    """Begin to count anew."""
    Attempts.objects.filter(key=_key(what)).delete()


def _key(what: tuple[str, ...]) -> str:
    # Lengths in front: ("ab", "c") and ("a", "bc") are not the same.
    text = "".join(f"{len(part)}:{part}" for part in what)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
