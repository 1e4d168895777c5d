"""Signing in through the identity provider, and connecting one's account with it."""

from __future__ import annotations

import logging

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from annotate.audit import recording
from annotate.models import ExternalIdentity
from annotate.people.http_requests import AuthenticatedHttpRequest, network, public_url
from annotate.people.joining import attempt_counter, openid_accounts, openid_connect, second_factor
from annotate.people.joining.openid_connect import SENTENCES, Begun, NotSignedIn, Provider
from annotate.views.joining import sign_in_limits
from annotate.views.joining.sign_in_code import BLOCKED, enter_or_ask, safe_target, signed_in

LIMIT = 50
"""Sign-ins that may fail from one network in `sign_in_limits.WINDOW` seconds."""
MOST_BEGUN = 500
"""Sign-ins that may be begun there meanwhile: a whole office may come in at nine."""
WRONG_PASSWORD = "That is not your current password."
TAKEN = "That account of {} is connected with somebody else here."
HAS_ONE = "Your account is connected with another account of {}. Disconnect that one first."
log = logging.getLogger(__name__)


@login_not_required
@never_cache
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Send who wants to sign in to the provider."""
    here = _provider()
    if _blocked(request) or attempt_counter.made(*_begun_at(request)) >= MOST_BEGUN:
        return _refused(request, BLOCKED, status=429)
    attempt_counter.add(*_begun_at(request), seconds=sign_in_limits.WINDOW)
    return _sent(request, here, target=safe_target(request), connect=None)


@never_cache
@sensitive_post_parameters("password")
@require_POST
def connect(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Send who has an account here to the provider, to sign in through it from now on."""
    here, user = _provider(), request.user
    if sign_in_limits.blocked(request, user.username):
        messages.error(request, BLOCKED)
        return redirect("password")
    if not user.check_password(request.POST.get("password", "")):
        sign_in_limits.failed(request, user.username)
        messages.error(request, WRONG_PASSWORD)
        return redirect("password")
    return _sent(request, here, target=reverse("password"), connect=user.pk)


@require_POST
def disconnect(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Sign in through the provider no longer; who has no password keeps it."""
    here = _provider()
    if not request.user.has_usable_password():
        messages.error(request, "Choose a password first: without one you could not sign in.")
    elif request.user.external_identities.filter(issuer=here.issuer).delete()[0]:
        recording.record("openid-disconnected", request)
        messages.success(request, f"{here.name} no longer signs you in.")
    return redirect("password")


@login_not_required
@never_cache
@require_GET
@sensitive_variables()
def back(request: HttpRequest) -> HttpResponse:
    """The page that the provider sends people back to."""
    here = _provider()
    if _blocked(request):
        return _refused(request, BLOCKED, status=429)
    begun = openid_connect.taken_up(request.session)
    if begun is None:
        # Not recorded: a stranger who begins nothing here could fill the log.
        return _refused(request, SENTENCES["late"])
    try:
        claims = openid_connect.finish(here, begun, request.GET.dict(), _back(request))
        if begun.connect is not None:
            return _connected(request, here, claims, begun.connect)
        user = openid_accounts.account_of(here, claims)
    except NotSignedIn as problem:
        return _failed(request, here, problem, begun)
    return _came(request, here, user, begun.next)


def _came(request: HttpRequest, here: Provider, user: User, target: str) -> HttpResponse:
    openid_accounts.came_through(request.session, user)
    if here.second_factor:
        response = signed_in(request, user, target=target)
        second_factor.mark_of_provider(request.session)
        return response
    if second_factor.device_of(user) is not None:
        recording.record("openid-code-asked", request, user=user)
    return enter_or_ask(request, user, target=target)


def _failed(
    request: HttpRequest, here: Provider, problem: NotSignedIn, begun: Begun
) -> HttpResponse:
    attempt_counter.add(*_failed_at(request), seconds=sign_in_limits.WINDOW)
    _note(here, problem)
    recording.record(
        "sign-in-failed", request, details={"by": "openid-back", "reason": problem.why}
    )
    return _refused(request, str(problem), begun=begun)


def _note(here: Provider, problem: NotSignedIn) -> None:
    # Nothing of what was sent, and the setting's words alone: no secret gets into the log.
    log.warning("%s signed nobody in: %s %s", here.issuer, problem.why, problem.detail)


def _sent(
    request: HttpRequest, here: Provider, *, target: str, connect: int | None
) -> HttpResponse:
    try:
        address = openid_connect.begin(
            here, request.session, _back(request), target=target, connect=connect
        )
    except NotSignedIn as problem:
        _note(here, problem)
        if connect is not None:
            messages.error(request, str(problem))
            return redirect("password")
        return _refused(request, str(problem), status=502)
    # Not redirected: `form-action` of the Content-Security-Policy would hold the form back.
    context = {"address": address, "name": here.name}
    return render(request, "annotate/openid_leave.html", context)


def _connected(
    request: HttpRequest, here: Provider, claims: openid_connect.Claims, owner: int
) -> HttpResponse:
    """Connect the account that asked for it, if its owner is still the one who is signed in."""
    user = request.user
    if not isinstance(user, User) or user.pk != owner:
        return _refused(request, SENTENCES["late"])
    try:
        with transaction.atomic():
            openid_accounts.connect(user, claims)
    except IntegrityError:
        one = ExternalIdentity.objects.filter(issuer=claims.issuer, subject=claims.subject).first()
        if one and one.user_id == user.pk:
            messages.success(request, f"{here.name} signs you in already.")
        else:
            messages.error(request, (TAKEN if one else HAS_ONE).format(here.name))
        return redirect("password")
    # Without the address: entries stay when a person is erased.
    recording.record("openid-connected", request)
    messages.success(request, f"From now on {here.name} signs you in, too.")
    return redirect("password")


def _refused(
    request: HttpRequest, text: str, *, begun: Begun | None = None, status: int = 400
) -> HttpResponse:
    if request.user.is_authenticated:
        messages.error(request, text)
        return redirect("password" if begun and begun.connect is not None else "home")
    context = {
        "form": AuthenticationForm(request),
        "blocked": text,
        "next": begun.next if begun else safe_target(request),
    }
    return render(request, "annotate/sign_in.html", context, status=status)


def _provider() -> Provider:
    here = openid_connect.provider()
    if here is None:
        raise Http404("Nobody signs in through a provider here.")
    return here


def _back(request: HttpRequest) -> str:
    return public_url(request, reverse("openid-back"))


def _blocked(request: HttpRequest) -> bool:
    # By network alone: a stranger who fails keeps nobody out by their name.
    return attempt_counter.made(*_failed_at(request)) >= LIMIT


def _failed_at(request: HttpRequest) -> tuple[str, str]:
    return "openid failed", network(request)


def _begun_at(request: HttpRequest) -> tuple[str, str]:
    return "openid begun", network(request)
