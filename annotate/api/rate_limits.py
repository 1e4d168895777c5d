"""Rate limits of the REST API, counted for all web processes together."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle, SimpleRateThrottle, UserRateThrottle
from rest_framework.views import APIView

from annotate.people.joining import attempt_counter

RATES = {"vote": settings.VOTE_RATE, "import": "60/hour", "export": "120/hour"}
"""Calls that each person may make; votes without a limit unless PAIRLOOP_VOTE_RATE says one."""


class SharedRateThrottle(SimpleRateThrottle):
    """So many calls in a window that begins with the first; a base behind REST framework's own.

    Those keep times in the memory of one process: two processes would allow twice the rate.
    """

    THROTTLE_RATES = RATES

    def allow_request(self, request: Request, view: APIView) -> bool:
        calls, seconds = self.parse_rate(self.rate)
        self.who = self.get_cache_key(request, view) or ""
        if calls is None or seconds is None or not self.who:
            return True
        return attempt_counter.add("rate", self.who, seconds=seconds) <= calls

    def wait(self) -> float:
        """Seconds until calls are counted anew."""
        return attempt_counter.seconds_left("rate", self.who)


class VoteThrottle(UserRateThrottle, SharedRateThrottle):
    """Off unless PAIRLOOP_VOTE_RATE is set."""

    scope = "vote"


class ExportThrottle(ScopedRateThrottle, SharedRateThrottle):
    scope = "export"

    def allow_request(self, request: Request, view: Any) -> bool:
        view.throttle_scope = self.scope
        return super().allow_request(request, view)


class ImportThrottle(ExportThrottle):
    scope = "import"


class NewExportThrottle(ExportThrottle):
    """Looking at the list costs nothing."""

    def allow_request(self, request: Request, view: Any) -> bool:
        return request.method != "POST" or super().allow_request(request, view)


class NewImportThrottle(ImportThrottle):
    """Looking at the list costs nothing."""

    def allow_request(self, request: Request, view: Any) -> bool:
        return request.method != "POST" or super().allow_request(request, view)
