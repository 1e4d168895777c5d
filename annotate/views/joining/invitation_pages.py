"""Links to join a project: made by admins, opened by those who were invited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms.people_forms import (
    AddressForm,
    InvitationsForm,
    NewAccountForm,
    SharedInvitationForm,
)
from annotate.models import Invitation, Project
from annotate.people.http_requests import AuthenticatedHttpRequest, public_url
from annotate.people.joining import invitation_links, mail
from annotate.people.permissions import project_or_404
from annotate.views.joining.members_page import people_page
from annotate.views.joining.shown_links import ShownLink
from annotate.views.joining.sign_in_code import MODEL_BACKEND


@require_POST
def invite(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = InvitationsForm(request.POST)
    if not form.is_valid():
        return people_page(request, project, form=form, status=400)
    said = form.cleaned_data
    made = invitation_links.invite_each(
        project, said["note"], role=said["role"], by=request.user, lifetime=form.lifetime()
    )
    mailed = [(one, token) for one, token in made if form.to_mail(one)]
    refused = _send(request, project, mailed)
    sent = {one.pk: "refused" if one.note in refused else "sent" for one, _token in mailed}
    links = [ShownLink(one.note, _url(request, token), sent.get(one.pk, "")) for one, token in made]
    return people_page(request, project, links=links)


@require_POST
def invite_several(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = SharedInvitationForm(request.POST)
    if not form.is_valid():
        return people_page(request, project, shared=form, status=400)
    invitation = form.invitation()
    token = invitation_links.invite(project, invitation, by=request.user, lifetime=form.lifetime())
    return people_page(
        request,
        project,
        links=[ShownLink(invitation.note, _url(request, token))],
        places=invitation,
    )


@require_POST
def revoke(request: AuthenticatedHttpRequest, slug: str, invitation_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    project.invitations.open().filter(pk=invitation_id).update(expires_at=timezone.now())
    messages.success(request, "The link no longer works.")
    return redirect("people", slug)


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    invitation = _open(token)
    if invitation is None:
        return render(request, "annotate/link_expired.html", status=404)
    if invitation.domain:
        return _ask_address(request, invitation, token)
    return _join(request, invitation)


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def confirmed(request: HttpRequest, token: str, confirmation: str) -> HttpResponse:
    """Join by the link that was mailed to an address of the invitation's domain."""
    invitation = _open(token)
    address = invitation and invitation_links.confirmed_address(invitation, confirmation)
    if invitation is None or not address:
        return render(request, "annotate/link_expired.html", status=404)
    return _join(request, invitation, address=address)


def _open(token: str) -> Invitation | None:
    return Invitation.objects.for_token(token).select_related("project").first()


def _join(request: HttpRequest, invitation: Invitation, *, address: str = "") -> HttpResponse:
    account = request.user if request.user.is_authenticated else None
    form = NewAccountForm(request.POST or None, initial={"email": address})
    if address:
        # Confirmed: another one typed here would not be.
        form.fields["email"].disabled = True
    if request.method == "POST" and (account or form.is_valid()):
        user = _joined(invitation, account, form, address=address)
        if user is None:
            return render(request, "annotate/link_expired.html", status=404)
        if account is None:
            login(request, user, backend=MODEL_BACKEND)
        messages.success(request, f"Welcome to {invitation.project.name}.")
        return redirect(invitation.project)
    context = {"invitation": invitation, "form": None if account else form}
    return render(request, "annotate/invitation.html", context)


def _joined(
    invitation: Invitation, account: User | None, form: NewAccountForm, *, address: str
) -> User | None:
    """The account that joined; None, and no new one, if the last place was just taken."""
    with transaction.atomic():
        user = account or form.save()
        if not invitation_links.accept(invitation, user, address=address):
            transaction.set_rollback(True)
            return None
    return user


def _ask_address(request: HttpRequest, invitation: Invitation, token: str) -> HttpResponse:
    form = AddressForm(request.POST or None, invitation=invitation)
    context: dict[str, Any] = {"invitation": invitation, "form": form}
    if request.method == "POST" and form.is_valid():
        context["sent"] = _mail_confirmation(request, invitation, token, form.cleaned_data["email"])
    return render(request, "annotate/invitation_address.html", context)


def _mail_confirmation(
    request: HttpRequest, invitation: Invitation, token: str, address: str
) -> bool:
    if not mail.configured() or not invitation_links.may_mail(invitation):
        return False
    end = invitation_links.confirmation(invitation, address)
    url = public_url(request, reverse("invitation-confirmed", args=[token, end]))
    text = (
        f"To join {invitation.project.name} on Pairloop, open this link within a day:\n\n"
        f"{url}\n\nIf you did not ask for it, leave it: nothing happens.\n"
    )
    return not mail.send(f"Join {invitation.project.name}", {address: text})


def _url(request: HttpRequest, token: str) -> str:
    return public_url(request, reverse("invitation", args=[token]))


def _send(
    request: HttpRequest, project: Project, made: Iterable[tuple[Invitation, str]]
) -> list[str]:
    texts = {
        one.note: (
            f"You are invited to {project.name} on Pairloop, to choose the better of two answers.\n"
            f"Open this link to join:\n\n{_url(request, token)}\n\n"
            f"It is for you alone and works until {one.expires_at:%d %B %Y}.\n"
        )
        for one, token in made
    }
    return mail.send(f"Join {project.name}", texts) if texts else []
