"""One's own second factor: set up, confirm, recovery codes, turn off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import segno
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.joining import openid_accounts, openid_connect, second_factor
from annotate.views.joining import sign_in_limits
from annotate.views.joining.sign_in_code import BLOCKED, WRONG

STILL_OPEN = ("second-factor", "logout", "login")
"""Pages for who has to set a second factor up first."""
WRONG_PASSWORD = "That is not your current password."


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor_page(request: AuthenticatedHttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(request)
    act = ACTS.get(request.POST.get("do", ""))
    if act is None:
        return HttpResponseBadRequest("There is no such action.")
    if sign_in_limits.blocked(request, request.user.username):
        return _page(request, error=BLOCKED, status=429)
    return act(request)


def _start(request: AuthenticatedHttpRequest) -> HttpResponse:
    if second_factor.device_of(request.user):
        return redirect("second-factor")
    if not _password_is_right(request):
        return _refused(request, _wrong_password(request))
    second_factor.begin(request.user)
    return redirect("second-factor")


def _confirm(request: AuthenticatedHttpRequest) -> HttpResponse:
    codes = second_factor.confirm(request.user, request.POST.get("code", ""), request.session)
    if codes is None:
        return _refused(request, WRONG)
    return _page(request, codes=codes)


def _renew(request: AuthenticatedHttpRequest) -> HttpResponse:
    if not second_factor.accepts(request.user, request.POST.get("code", "")):
        return _refused(request, WRONG)
    return _page(request, codes=second_factor.renew_recovery_codes(request.user))


def _turn_off(request: AuthenticatedHttpRequest) -> HttpResponse:
    if not _password_is_right(request):
        return _refused(request, _wrong_password(request))
    if not second_factor.accepts(request.user, request.POST.get("code", "")):
        return _refused(request, WRONG)
    second_factor.turn_off(request.user)
    messages.success(request, "The second factor is off. Your password alone signs you in.")
    return redirect("second-factor")


ACTS: dict[str, Callable[[AuthenticatedHttpRequest], HttpResponse]] = {
    "start": _start,
    "confirm": _confirm,
    "renew": _renew,
    "off": _turn_off,
}


def _password_is_right(request: AuthenticatedHttpRequest) -> bool:
    password = request.POST.get("password", "")
    return openid_accounts.owns(request.user, request.session, password)


def _wrong_password(request: AuthenticatedHttpRequest) -> str:
    here = openid_connect.provider()
    if here is None or not openid_accounts.only_through_provider(request.user):
        return WRONG_PASSWORD
    return f"Sign out, sign in with {here.name} once more, and do this within ten minutes."


def _refused(request: AuthenticatedHttpRequest, error: str) -> HttpResponse:
    sign_in_limits.failed(request, request.user.username)
    return _page(request, error=error, status=400)


def _page(request: AuthenticatedHttpRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    device = second_factor.device_of(request.user)
    begun = None if device else second_factor.begun(request.user)
    context = {
        "device": device,
        "begun": begun,
        "required": second_factor.is_required_of(request.user),
        "without_password": openid_accounts.only_through_provider(request.user),
        "left": second_factor.recovery_codes_left(request.user),
        **shown,
    }
    if begun:
        context |= {"secret": second_factor.secret_of(begun), "qr": _qr(begun.config_url)}
    response = render(request, "annotate/second_factor.html", context, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _qr(url: str) -> SafeString:
    code = segno.make(url, error="m", micro=False)
    # Segno draws modules only; the secret is nowhere in the markup.
    return mark_safe(code.svg_inline(scale=4, border=4, omitsize=True))


class AskedOfStaff:
    """Middleware that leads staff to the page above until they have what the operator asks for.

    It asks nothing of API tokens: they are made in a session that was let through here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: Any, view: Callable[..., HttpResponse], *_: object
    ) -> HttpResponse | None:
        # Calls of the API look themselves at who asks, after this.
        of_api = request.path.startswith("/api/")
        if not (of_api or getattr(view, "login_required", True)) or not _lacks_it(request):
            return None
        if of_api:
            raise PermissionDenied("Set up your second factor first, on the page of your account.")
        to = reverse("second-factor")
        return HttpResponseClientRedirect(to) if request.htmx else redirect(to)


def _lacks_it(request: HttpRequest) -> bool:
    match = request.resolver_match
    if not match or match.url_name in STILL_OPEN or not request.user.is_authenticated:
        return False
    if second_factor.given(request.session):
        return False
    return second_factor.is_required_of(request.user)
