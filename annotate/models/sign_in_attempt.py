"""Counts of what strangers may try only so often."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F


class AttemptsQuerySet(models.QuerySet["Attempts"]):
    def add(self, key: str, *, now: datetime, until: datetime) -> int:
        """Count one more; how many there are. The first one says until when they count."""
        if not self.filter(key=key, until__gt=now).update(n=F("n") + 1):
            self.filter(until__lte=now).delete()
            # Of two first ones at one instant one is not counted: no more than that is lost.
            self.bulk_create(
                [Attempts(key=key, n=1, until=until)],
                update_conflicts=True,
                unique_fields=["key"],
                update_fields=["until"],
            )
        return self.made(key, now=now)

    def made(self, key: str, *, now: datetime) -> int:
        """Attempts that still count."""
        return self.filter(key=key, until__gt=now).values_list("n", flat=True).first() or 0


class Attempts(models.Model):
    """Attempts of one kind by one of whom there are many; in the database, for all processes."""

    key = models.CharField(primary_key=True, max_length=64, help_text="SHA-256: names nobody.")
    n = models.PositiveIntegerField()
    until = models.DateTimeField(db_index=True)

    objects = AttemptsQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.n} until {self.until}"
