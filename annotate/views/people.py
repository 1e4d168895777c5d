"""Members of a project: roles, deactivation, passwords, links to join."""

from __future__ import annotations

import secrets

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.forms.people_forms import InvitationForm, NewAccountForm
from annotate.models import ApiToken, Invitation, Membership, Project
from annotate.models.roles import Role
from annotate.people import memberships
from annotate.people.permissions import project_or_404
from annotate.people.requests import AuthenticatedHttpRequest
from annotate.views.accounts import MODEL_BACKEND


@require_safe
def people(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    return _page(request, project)


@require_POST
def invite(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form=form, status=400)
    token = memberships.invite(project, form.save(commit=False), by=request.user)
    # Shown in this answer and never again: only the token's hash is stored.
    link = request.build_absolute_uri(reverse("invitation", args=[token]))
    return _page(request, project, link=link)


@require_POST
def revoke(request: AuthenticatedHttpRequest, slug: str, invitation_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    project.invitations.open().filter(pk=invitation_id).update(expires_at=timezone.now())
    messages.success(request, "The link no longer works.")
    return redirect("people", slug)


@require_POST
def member(request: AuthenticatedHttpRequest, slug: str, member_id: int) -> HttpResponse:
    """Change one member; the button's name says what."""
    project = project_or_404(request, slug, "admin")
    changed = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    if "reset" in request.POST:
        memberships.may_change(changed, by=request.user)
        return _reset(request, project, changed)
    if "active" in request.POST:
        active = request.POST["active"] == "yes"
        memberships.change_place(changed, by=request.user, active=active)
    elif request.POST.get("role") in Role.values:
        memberships.change_place(changed, by=request.user, role=request.POST["role"])
    else:
        return HttpResponseBadRequest("There is no such role.")
    messages.success(request, f"{changed.user.username} is saved.")
    return redirect("people", slug)


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    invitation = Invitation.objects.for_token(token).select_related("project").first()
    if invitation is None:
        return render(request, "annotate/link_expired.html", status=404)
    account = request.user if request.user.is_authenticated else None
    form = NewAccountForm(request.POST or None)
    if request.method == "POST" and (account or form.is_valid()):
        with transaction.atomic():
            user = account or form.save()
            joined = memberships.accept(invitation, user)
            if not joined:
                transaction.set_rollback(True)
        if not joined:
            return render(request, "annotate/link_expired.html", status=404)
        if account is None:
            login(request, user, backend=MODEL_BACKEND)
        messages.success(request, f"Welcome to {invitation.project.name}.")
        return redirect(invitation.project)
    context = {"invitation": invitation, "form": None if account else form}
    return render(request, "annotate/invitation.html", context)


def _reset(request: AuthenticatedHttpRequest, project: Project, member: Membership) -> HttpResponse:
    if not memberships.may_reset(request.user, member.user):
        raise PermissionDenied(
            "This account has rights elsewhere; only a superuser may reset its password."
        )
    password = secrets.token_urlsafe(12)
    member.user.set_password(password)
    member.user.save(update_fields=["password"])
    # Whoever knew the old password may have made tokens with it.
    member.user.api_tokens.all().delete()
    return _page(request, project, password=password, whose=member.user)


def _page(
    request: AuthenticatedHttpRequest,
    project: Project,
    *,
    form: InvitationForm | None = None,
    link: str = "",
    password: str = "",
    whose: User | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "project": project,
        "tab": "people",
        "members": memberships.members(project),
        "invitations": project.invitations.open().order_by("expires_at"),
        "tokens": ApiToken.objects.reaching(project).select_related("user").order_by("pk"),
        "roles": Role.choices,
        "form": form or InvitationForm(),
        "link": link,
        "password": password,
        "whose": whose,
    }
    return render(request, "annotate/people.html", context, status=status)
