"""The second step of signing in, for accounts with a second factor: a code after the password."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from annotate.audit import recording
from annotate.people.joining import second_factor
from annotate.views.joining import sign_in_limits

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
BLOCKED = "Too many failed attempts. Wait five minutes, then try again."
TOO_LATE = "That took too long. Sign in once more."
WRONG = "That code is not right, or was used already. Wait for the next one, then try again."


@login_not_required
@sensitive_post_parameters()
@require_POST
def sign_in_code(request: HttpRequest) -> HttpResponse:
    user = second_factor.user_of_proof(request.POST.get("proof", ""))
    if user is None:
        form = AuthenticationForm(request)
        context = {"form": form, "blocked": TOO_LATE, "next": safe_target(request)}
        return render(request, "annotate/sign_in.html", context, status=400)
    if sign_in_limits.blocked(request, user.username):
        return ask_for_code(request, user, error=BLOCKED, status=429)
    if not second_factor.accepts(user, request.POST.get("code", "")):
        sign_in_limits.failed(request, user.username)
        recording.record("sign-in-failed", request, user=user, details={"by": "code"})
        return ask_for_code(request, user, error=WRONG, status=400)
    return signed_in(request, user)


def enter_or_ask(request: HttpRequest, user: User, *, target: str = "") -> HttpResponse:
    """Let in who gave the right password, or came by a link or a provider in its place; ask first
    where a code is due. `target` is the page to show then, by default the request's `next`."""
    if second_factor.device_of(user) is not None:
        return ask_for_code(request, user, target=target)
    return signed_in(request, user, target=target)


def signed_in(request: HttpRequest, user: User, *, target: str = "") -> HttpResponse:
    """The answer to who gave all that was asked for."""
    login(request, user, backend=MODEL_BACKEND)
    if (device := second_factor.device_of(user)) is not None:
        second_factor.mark(request.session, device)
    response = redirect(target or safe_target(request))
    # Only now: who has the password alone must not begin to count anew with it.
    sign_in_limits.succeeded(request, response, user.username)
    return response


def ask_for_code(
    request: HttpRequest, user: User, *, error: str = "", status: int = 200, target: str = ""
) -> HttpResponse:
    context = {
        "proof": second_factor.proof_of_password(user),
        "next": target or safe_target(request),
        "error": error,
    }
    return render(request, "annotate/sign_in_code.html", context, status=status)


def safe_target(request: HttpRequest) -> str:
    """Address to go to after signing in: `next` when it is a page of ours."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    hosts = {request.get_host()}
    if url_has_allowed_host_and_scheme(target, hosts, require_https=request.is_secure()):
        return target
    return resolve_url("home")
