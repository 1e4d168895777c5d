"""The people of a project: standing, figures, role, weight, pauses, and invitations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, ROOT
from annotate.api.serializers import KnownFieldsOnly, StrictCharField
from annotate.forms.people_forms import MOST_DAYS, MOST_PLACES
from annotate.models import Invitation, Membership, Project, TokenScope
from annotate.models.roles import Role
from annotate.people import cached_annotator_figures, memberships
from annotate.people.annotator_figures import Row, Share
from annotate.people.http_requests import public_url
from annotate.people.joining import invitation_links
from annotate.people.permissions import project_or_404
from annotate.people.token_scopes import needs_scope
from annotate.people.warnings_and_pauses import resume

SHARES = ("agreement", "gold", "retest", "left", "ties", "skips", "too_fast")


class ShareBody(serializers.Serializer[Any]):
    """`n` cases, and the share of them that the figure is about; null without any."""

    n = serializers.IntegerField()
    value = serializers.FloatField(allow_null=True)


class FiguresBody(serializers.Serializer[Any]):
    votes = serializers.IntegerField()
    last_vote = serializers.DateTimeField(allow_null=True)
    active_minutes = serializers.FloatField()
    median_seconds = serializers.FloatField(allow_null=True)
    agreement = ShareBody(help_text="The same answer as the other person of a pair.")
    gold = ShareBody(help_text="Right answers on gold pairs.")
    retest = ShareBody(help_text="The same answer again.")
    left = ShareBody(help_text="Decided votes for the reply on the left.")
    ties = ShareBody()
    skips = ShareBody()
    too_fast = ShareBody()


class AnnotatorBody(serializers.ModelSerializer[Membership]):
    """A member. Figures are those of the annotators page; null before the first vote or skip, and
    of simulated colleagues where training leaves their votes out."""

    username = serializers.CharField(allow_null=True, help_text="For admins.")
    figures = FiguresBody(allow_null=True)

    class Meta:
        model = Membership
        fields = (
            *("id", "pseudonym", "username", "role", "active", "weight", "reliability"),
            *("reliability_at", "pace_ms", "paused_at", "paused_because", "warned_at"),
            *("qualified_at", "guidelines_read", "simulated", "joined_at", "figures"),
        )


class AnnotatorQuery(ListQuery):
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    active = serializers.BooleanField(required=False)
    paused = serializers.BooleanField(required=False)
    simulated = serializers.BooleanField(required=False)


class AnnotatorChange(KnownFieldsOnly):
    """Fields that are left out stay as they are."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    active = serializers.BooleanField(required=False)
    weight = serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text="Of their votes in training."
    )
    paused = serializers.BooleanField(required=False, help_text="Whether they are offered pairs.")
    because = StrictCharField(
        required=False, max_length=200, help_text="Of a pause; shown to them."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs.get("paused")) != ("because" in attrs):
            raise serializers.ValidationError({"because": "With a pause, and only then."})
        return attrs


class NewInvitation(KnownFieldsOnly):
    role = serializers.ChoiceField(choices=Role.choices, default=Role.ANNOTATOR)
    note = StrictCharField(
        required=False, allow_blank=True, max_length=120, help_text="Whom the link is for."
    )
    places = serializers.IntegerField(
        default=1,
        min_value=1,
        max_value=MOST_PLACES,
        help_text="People that the link lets in; several are annotators.",
    )
    days = serializers.IntegerField(
        default=Invitation.LIFETIME.days,
        min_value=1,
        max_value=MOST_DAYS,
        help_text="Until it expires.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["places"] > 1 and attrs["role"] != Role.ANNOTATOR:
            raise serializers.ValidationError({"places": "A link for several is for annotators."})
        return attrs


class InvitationBody(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = (
            *("id", "role", "note", "places", "joined", "domain", "created_at", "expires_at"),
        )


class InvitationLink(InvitationBody):
    link = serializers.CharField(
        allow_null=True,
        help_text="Lets people in. Told once: null where the request is answered again.",
    )

    class Meta(InvitationBody.Meta):
        fields = (*InvitationBody.Meta.fields, "link")  # type: ignore[assignment]  # One longer.


@extend_schema(
    operation_id="annotators_list",
    tags=["annotators"],
    parameters=[AnnotatorQuery],
    responses={200: page_of(AnnotatorBody), **ANSWERS},
)
@api_view(["GET"])
def annotators(request: Request, slug: str) -> Response:
    """The project's members, those who joined last first, with their figures (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, AnnotatorQuery)
    if "paused" in filters:
        filters["paused_at__isnull"] = not filters.pop("paused")
    rows = project.memberships.select_related("user").filter(**filters)
    return listed(request, rows, lambda page: _bodies(project, page))


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="annotators_one",
    tags=["annotators"],
    methods=["GET"],
    responses={200: AnnotatorBody, **ANSWERS},
)
@extend_schema(
    operation_id="annotators_change",
    tags=["annotators"],
    methods=["PATCH"],
    request=AnnotatorChange,
    responses={200: AnnotatorBody, **ANSWERS},
)
@api_view(["GET", "PATCH"])
def annotator(request: Request, slug: str, member_id: int) -> Response:
    """One member (reviewers). PATCH changes their role, place, weight or pause (admins)."""
    project = project_or_404(request, slug, "admin" if request.method == "PATCH" else "reviewer")
    member = get_object_or_404(project.memberships.select_related("user", "project"), pk=member_id)
    if request.method == "PATCH":
        form = AnnotatorChange(data=request.data)
        form.is_valid(raise_exception=True)
        _change(request, member, form.validated_data)
        member.refresh_from_db()
    return Response(_bodies(project, [member])[0])


def _change(request: Request, member: Membership, said: dict[str, Any]) -> None:
    by = user_of(request)
    place = {name: said[name] for name in ("role", "active") if name in said}
    # All of it is allowed, or none is done: a weight may write many labels, one by one.
    if place:
        memberships.may_change(member, by=by)
    if "paused" in said:
        memberships.may_pause(member)
    if place:
        memberships.change_place(member, by=by, **place)
    if "weight" in said:
        memberships.weigh(member, said["weight"])
    if said.get("paused"):
        memberships.pause(member, said["because"])
    elif "paused" in said:
        resume(member)


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="invitations_list",
    tags=["annotators"],
    methods=["GET"],
    parameters=[ListQuery],
    responses={200: page_of(InvitationBody), **ANSWERS},
)
@extend_schema(
    operation_id="invitations_new",
    tags=["annotators"],
    methods=["POST"],
    request=NewInvitation,
    responses={201: InvitationLink, **ANSWERS},
)
@api_view(["GET", "POST"])
def invitations(request: Request, slug: str) -> Response:
    """Links that still let somebody in, newest first; or a new one (admins)."""
    project = project_or_404(request, slug, "admin")
    if request.method == "POST":
        return _invite(request, project)
    asked(request, ListQuery)
    rows = project.invitations.open()
    return listed(request, rows, lambda page: list(InvitationBody(page, many=True).data))


def _invite(request: Request, project: Project) -> Response:
    form = NewInvitation(data=request.data)
    form.is_valid(raise_exception=True)
    said = form.validated_data
    lifetime = timedelta(days=said.pop("days"))
    invitation = Invitation(**said)
    token = invitation_links.invite(project, invitation, by=user_of(request), lifetime=lifetime)
    link = public_url(request, reverse("invitation", args=[token]))
    body = {**InvitationBody(invitation).data, "link": link}
    response = Response(body, status=status.HTTP_201_CREATED)
    response.shown_once = ("link",)  # type: ignore[attr-defined]  # Read by IdempotencyKeys.
    return response


def _bodies(project: Project, page: Any) -> list[dict[str, Any]]:
    table = cached_annotator_figures.table(project, include_simulated=project.train_on_simulated)
    figures = {row.annotator_id: _figures(row) for row in table.rows}
    named = project.role == Role.ADMIN
    for member in page:
        member.username = member.user.username if named else None
        member.figures = figures.get(member.user_id)
    return list(AnnotatorBody(page, many=True).data)


def _figures(row: Row) -> dict[str, Any]:
    columns = ("votes", "last_vote", "active_minutes", "median_seconds")
    shares: dict[str, Share] = {name: getattr(row, name) for name in SHARES}
    return {name: getattr(row, name) for name in columns} | shares


urlpatterns = [
    path(ROOT + "annotators/", annotators, name="api-annotators"),
    path(ROOT + "annotators/<int:member_id>/", annotator, name="api-annotator"),
    path(ROOT + "invitations/", invitations, name="api-invitations"),
]
