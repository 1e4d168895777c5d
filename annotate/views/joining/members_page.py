"""Members of a project: roles, places, reset links, announcements."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate.audit import recording
from annotate.forms.people_forms import AnnouncementForm, InvitationsForm, SharedInvitationForm
from annotate.models import ApiToken, Membership, Project
from annotate.models.roles import Role
from annotate.people import memberships
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.joining import mail, second_factor
from annotate.people.permissions import may_reset, project_or_404
from annotate.views.joining import password_reset


@require_safe
def people(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    return people_page(request, project)


@require_POST
def member(request: AuthenticatedHttpRequest, slug: str, member_id: int) -> HttpResponse:
    """Change one member; the button's name says what."""
    project = project_or_404(request, slug, "admin")
    changed = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    if "reset" in request.POST:
        memberships.may_change(changed, by=request.user)
        return _reset(request, project, changed)
    if "second_factor" in request.POST:
        memberships.may_change(changed, by=request.user)
        return _second_factor_off(request, project, changed)
    if "active" in request.POST:
        active = request.POST["active"] == "yes"
        memberships.change_place(changed, by=request.user, active=active)
    elif request.POST.get("role") in Role.values:
        memberships.change_place(changed, by=request.user, role=request.POST["role"])
    else:
        return HttpResponseBadRequest("There is no such role.")
    messages.success(request, f"{changed.user.username} is saved.")
    return redirect("people", slug)


@require_POST
def announce(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = AnnouncementForm(request.POST)
    if not form.is_valid():
        return people_page(request, project, announcement=form, status=400)
    n = memberships.announce(project, form.cleaned_data["announcement"], by=request.user)
    messages.success(request, f"Announced to {n} {'person' if n == 1 else 'people'}.")
    return redirect("people", slug)


def _reset(request: AuthenticatedHttpRequest, project: Project, member: Membership) -> HttpResponse:
    if not may_reset(request.user, member.user):
        raise PermissionDenied(
            "This account has rights elsewhere; only a superuser may reset its password."
        )
    return people_page(request, project, reset=password_reset.reset_link(request, member.user))


def _second_factor_off(
    request: AuthenticatedHttpRequest, project: Project, member: Membership
) -> HttpResponse:
    if not may_reset(request.user, member.user):
        raise PermissionDenied(
            "This account has rights elsewhere; only a superuser may turn its second factor off."
        )
    if second_factor.turn_off(member.user):
        details = {"account": member.user.pk}
        recording.record("second-factor-off", request, project_slug=project.slug, details=details)
    messages.success(request, f"{member.user.username} signs in with the password alone.")
    return redirect("people", project.slug)


def people_page(
    request: AuthenticatedHttpRequest, project: Project, *, status: int = 200, **shown: Any
) -> HttpResponse:
    """The page of a project's people, with forms that were refused and links just made."""
    forms = {
        "form": InvitationsForm(),
        "shared": SharedInvitationForm(),
        "announcement": AnnouncementForm(),
    }
    context = {
        "project": project,
        "tab": "people",
        "members": memberships.members(project),
        "invitations": project.invitations.open().order_by("expires_at"),
        "tokens": ApiToken.objects.reaching(project).select_related("user").order_by("pk"),
        "with_second_factor": second_factor.members_with_one(project),
        "roles": Role.choices,
        "mails": mail.configured(),
    }
    return render(request, "annotate/people.html", context | forms | shown, status=status)
