"""Signing in and out, the one-time link, and one's own password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from annotate.forms.people_forms import ChangePasswordForm, OwnAddressForm
from annotate.people.http_requests import AuthenticatedHttpRequest, HtmxRequest, from_this_machine
from annotate.people.joining import openid_accounts, openid_connect, sign_in_link
from annotate.views.joining import sign_in_limits
from annotate.views.joining.sign_in_code import BLOCKED, enter_or_ask, safe_target


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HtmxRequest) -> HttpResponse:
    if request.htmx:
        # A fragment was asked for after the session had ended: the whole page has to go.
        page = request.htmx.current_url_abs_path or ""
        return HttpResponseClientRedirect(f"{reverse('login')}?{urlencode({'next': page})}")
    target = safe_target(request)
    if request.user.is_authenticated:
        return redirect(target)
    username = request.POST.get("username", "")
    if request.method == "POST" and sign_in_limits.blocked(request, username):
        form = AuthenticationForm(request)
        context = {"form": form, "next": target, "blocked": BLOCKED}
        return render(request, "annotate/sign_in.html", context, status=429)
    form = AuthenticationForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        return enter_or_ask(request, form.get_user())
    if request.method == "POST":
        sign_in_limits.failed(request, username)
    context = {"form": form, "next": target}
    return render(request, "annotate/sign_in.html", context)


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.success(request, "You are signed out.")
    return redirect("login")


@login_not_required
@require_GET
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in by a link that was printed on this very machine."""
    user = sign_in_link.user_of(token) if from_this_machine(request) else None
    # The conditional update makes the link work once, even for two clicks at one instant.
    once = user and User.objects.filter(pk=user.pk, last_login=user.last_login).update(
        last_login=timezone.now()
    )
    if not user or not once:
        return render(request, "annotate/link_expired.html", status=404)
    user.refresh_from_db()
    return enter_or_ask(request, user)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: AuthenticatedHttpRequest) -> HttpResponse:
    """One's own account: the mail address, and the password."""
    of_address = "current" in request.POST
    address = OwnAddressForm(request.user, request.POST if of_address else None)
    first = openid_accounts.came_lately(request.user, request.session)
    posted = None if of_address else request.POST or None
    form = ChangePasswordForm(request.user, posted, first=first)
    if form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, "Your password is changed. Other devices are signed out.")
        return redirect("projects")
    if address.is_valid():
        address.save()
        messages.success(request, "Your mail address is saved.")
        return redirect("password")
    context = {
        "form": form,
        "address": address,
        "provider": openid_connect.provider(),
        "without_password": openid_accounts.only_through_provider(request.user),
        "first": first,
        "connection": openid_accounts.connection_of(request.user),
    }
    return render(request, "annotate/password.html", context)
