"""Response headers and the answer when the database is away."""

from __future__ import annotations

import sys
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.views.defaults import page_not_found
from psycopg_pool import PoolTimeout

GetResponse = Callable[[HttpRequest], HttpResponse]

# Nothing inline and nothing from elsewhere: completions are hostile text until proven otherwise.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PERMISSIONS_POLICY = "camera=(), microphone=(), geolocation=()"


class CompressedFiles(GZipMiddleware):
    """Scripts and styles travel compressed; fonts are already. Pages are not: they hold secrets
    beside what a stranger wrote, and the length of both compressed would tell of the first."""

    # Nothing in these files is secret, so that their length needs no disguise.
    max_random_bytes = 0

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        packed = request.path.endswith(".woff2")
        if packed or response.status_code != 200 or not request.path.startswith("/static/"):
            return response
        return super().process_response(request, response)


class SecurityHeaders:
    """Add the Content-Security-Policy, and keep signed-in pages out of shared caches."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown path: JSON to API clients, the page to people."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404)
    return page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an uncaught error: 503 with Retry-After while the database is away, else 500.

    A handler and not a middleware, because sessions and authentication already ask the
    database before any view runs.
    """
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError | PoolTimeout):
        message = "The database is not available just now. Nothing was lost; please try again."
        return _plain(request, message, status=503, headers={"Retry-After": "2"})
    message = "Something went wrong on the server. It has been logged; please try again."
    return _plain(request, message, status=500, headers={})


def _plain(
    request: HttpRequest, message: str, *, status: int, headers: dict[str, str]
) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": message}, status=status, headers=headers)
    # No template and no context: they could ask the database again.
    return HttpResponse(message, status=status, headers=headers, content_type="text/plain")
