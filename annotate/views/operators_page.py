"""The state of the whole installation in words, for who operates it: the figures of /metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from prometheus_client.core import Metric

from annotate.monitoring import prometheus_page
from annotate.people.http_requests import AuthenticatedHttpRequest

MOST_ADDRESSES = 12
"""Addresses whose times are shown: those that took most time together."""


class Figure(NamedTuple):
    """A figure, what it is of, and what it says."""

    of: str
    value: str


class Times(NamedTuple):
    """The requests of one address."""

    view: str
    requests: int
    mean_ms: float
    total: float
    failed: int


@require_safe
def operators(request: AuthenticatedHttpRequest) -> HttpResponse:
    if not (request.user.is_superuser or request.user.is_staff):
        raise PermissionDenied("This page is for those who operate the installation.")
    families = [
        (family.documentation, [Figure(*_words(family, sample)) for sample in family.samples])
        for family in prometheus_page.database_registry.collect()
    ]
    context = {"families": families, "times": _times(), "disk": list(_disk())}
    return render(request, "annotate/operators.html", context)


def _words(family: Metric, sample: object) -> tuple[str, str]:
    labels, value = sample.labels, sample.value  # type: ignore[attr-defined]  # A named tuple of the client.
    of = ", ".join(str(word) for word in labels.values()) or "all"
    if family.name.endswith("_seconds"):
        return of, _duration(value)
    return of, f"{value:,.0f}"


def _duration(seconds: float) -> str:
    """A length of time as people say it, by its two largest units."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        n, left = divmod(left, size)
        if n or (unit == "second" and not parts):
            parts.append(f"{n} {unit}{'' if n == 1 else 's'}")
    return " ".join(parts[:2])


def _times() -> list[Times]:
    """Times of requests since the web processes started, of those that took most."""
    counts: dict[str, list[float]] = {}
    for family in prometheus_page.process_registry().collect():
        if family.name != "pairloop_request_seconds":
            continue
        for sample in family.samples:
            row = counts.setdefault(sample.labels["view"], [0, 0.0, 0])
            if sample.name.endswith("_count"):
                row[0] += sample.value
                row[2] += sample.value if sample.labels["status"].startswith("5") else 0
            elif sample.name.endswith("_sum"):
                row[1] += sample.value
    read = [
        Times(view, int(n), 1000 * seconds / n, seconds, int(failed))
        for view, (n, seconds, failed) in counts.items()
        if n
    ]
    return sorted(read, key=lambda one: -one.total)[:MOST_ADDRESSES]


def _disk() -> Iterator[Figure]:
    usage = shutil.disk_usage(settings.HOME)
    yield Figure("free", f"{usage.free / 1e9:,.1f} GB")
    yield Figure("of", f"{usage.total / 1e9:,.1f} GB")
    yield Figure("least for new rounds", f"{settings.MIN_FREE_GB:,.1f} GB")
