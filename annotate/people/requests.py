"""Types of the requests that views get, as the middleware leaves them; nothing at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request whose `htmx` is true when a page of ours asks for a fragment of itself."""

    htmx: HtmxDetails


class AuthenticatedHttpRequest(HtmxRequest):
    """A request of somebody who signed in: every view but those under `login_not_required`."""

    user: User
