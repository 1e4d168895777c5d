"""Figures for Prometheus: the page that a scraper reads, and the times of requests on it."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Histogram,
    generate_latest,
    multiprocess,
)

from annotate.people.http_requests import from_this_machine

database_registry = CollectorRegistry(auto_describe=False)
"""Collectors that read the database: the same whichever process answers."""
REQUEST_SECONDS = Histogram(
    "pairloop_request_seconds",
    "Time from a request to its answer, by the name of its address.",
    ("view", "method", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RequestTimes:
    """Middleware that times every request but those for files."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        # Names of addresses, never paths: those hold tokens, and there is no end of them.
        match = request.resolver_match
        view = (match.view_name if match else None) or "none"
        if not request.path.startswith("/static/"):
            # A client may send any word as a method, and each new one would be kept for ever.
            method = request.method if request.method in METHODS else "other"
            labels = (view, str(method), str(response.status_code))
            REQUEST_SECONDS.labels(*labels).observe(time.perf_counter() - began)
        return response


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything, for who has the token, is a superuser, or asks from this machine itself."""
    if not _may_read(request):
        text = "Metrics are for PAIRLOOP_METRICS_TOKEN, superusers, and this machine."
        return HttpResponse(text, status=403, content_type="text/plain")
    body = generate_latest(process_registry()) + generate_latest(database_registry)
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)


def process_registry() -> CollectorRegistry:
    """Figures of this process, or of all web processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry
    from prometheus_client import REGISTRY

    return REGISTRY


def _may_read(request: HttpRequest) -> bool:
    token = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    if request.user.is_authenticated and request.user.is_superuser:
        return True
    # Behind a proxy that writes no header everybody would seem to be here.
    return not token and not settings.TRUST_PROXY and from_this_machine(request)
