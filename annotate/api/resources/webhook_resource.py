"""The calls of webhooks: list, make, change, delete, and give a new secret."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.urls import path, reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.direct_import_calls import BAD, DENIED, FOREIGN
from annotate.api.import_job_calls import check_body
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.serializers import KnownFieldsOnly, StrictCharField
from annotate.models import Project, TokenScope, Webhook, WebhookEvent
from annotate.people.http_requests import public_url
from annotate.people.permissions import project_or_404
from annotate.people.token_scopes import needs_scope
from annotate.webhooks import webhook_changes
from annotate.webhooks.target_address import LONGEST, WrongAddress, check_url

ANSWERS = {403: DENIED, 404: FOREIGN}


class NewWebhook(KnownFieldsOnly):
    """An address for events: https, and outside the server's own network."""

    url = StrictCharField(max_length=LONGEST)
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=WebhookEvent.choices), min_length=1, max_length=20
    )
    active = serializers.BooleanField(default=True)

    def validate_url(self, value: str) -> str:
        try:
            return check_url(value)
        except WrongAddress as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_events(self, value: list[str]) -> list[str]:
        return list(dict.fromkeys(value))


class WebhookBody(serializers.Serializer[Any]):
    """A webhook. Its secret is in no answer but that which makes it."""

    id = serializers.IntegerField()
    address = serializers.CharField(help_text="Of this webhook in the API.")
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(choices=WebhookEvent.choices))
    active = serializers.BooleanField()
    disabled_because = serializers.CharField(allow_blank=True)
    failing_since = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class NewWebhookBody(WebhookBody):
    secret = serializers.CharField(
        allow_null=True,
        help_text="whsec_ and base64, for the signatures. Told once: null where the request is "
        "answered again.",
    )


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="webhooks_list",
    methods=["GET"],
    parameters=[ListQuery],
    responses={200: page_of(WebhookBody), 400: BAD, **ANSWERS},
)
@extend_schema(
    operation_id="webhooks_new",
    methods=["POST"],
    request=NewWebhook,
    responses={201: NewWebhookBody, 400: BAD, **ANSWERS},
)
@api_view(["GET", "POST"])
def webhooks(request: Request, slug: str) -> Response:
    """The project's webhooks; or a new one, whose secret is in this answer and in no other."""
    project = project_or_404(request, slug, "admin")
    if request.method == "GET":
        asked(request, ListQuery)
        hooks_of = project.webhooks.all()
        return listed(request, hooks_of, lambda page: [_body(project, hook) for hook in page])
    form = NewWebhook(data=request.data)
    form.is_valid(raise_exception=True)
    seen_at = public_url(request)
    try:
        hook = webhook_changes.create(
            project, user_of(request), seen_at=seen_at, **form.validated_data
        )
    except webhook_changes.TooMany as problem:
        raise ValidationError({"detail": str(problem)}) from problem
    body = _body(project, hook) | {"secret": hook.secret}
    where = {"Location": body["address"]}
    return _telling_once(body, status=status.HTTP_201_CREATED, headers=where)


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="webhooks_one", methods=["GET"], responses={200: WebhookBody, **ANSWERS}
)
@extend_schema(
    operation_id="webhooks_change",
    methods=["PATCH"],
    request=NewWebhook(partial=True),
    responses={200: WebhookBody, 400: BAD, **ANSWERS},
)
@extend_schema(
    operation_id="webhooks_delete",
    methods=["DELETE"],
    responses={204: OpenApiResponse(description="It is gone, with what waited for it."), **ANSWERS},
)
@api_view(["GET", "PATCH", "DELETE"])
def one(request: Request, slug: str, hook_id: int) -> Response:
    """A webhook: look at it, change it, delete it."""
    project, hook = _hook_of(request, slug, hook_id)
    if request.method == "DELETE":
        hook.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
    if request.method == "PATCH":
        form = NewWebhook(data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        webhook_changes.change(hook, seen_at=public_url(request), **form.validated_data)
    return Response(_body(project, hook))


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="webhooks_secret", request=None, responses={200: NewWebhookBody, **ANSWERS}
)
@api_view(["POST"])
def new_secret(request: Request, slug: str, hook_id: int) -> Response:
    """Give a webhook a new secret. For a day the former one signs beside it."""
    project, hook = _hook_of(request, slug, hook_id)
    check_body(request)
    return _telling_once(_body(project, hook) | {"secret": hook.rotate()})


def _telling_once(body: dict[str, Any], **how: Any) -> Response:
    response = Response(body, **how)
    response.shown_once = ("secret",)  # type: ignore[attr-defined]  # Read by IdempotencyKeys.
    return response


def _hook_of(request: Request, slug: str, hook_id: int) -> tuple[Project, Webhook]:
    project = project_or_404(request, slug, "admin")
    hook = project.webhooks.filter(pk=hook_id).first()
    if hook is None:
        raise Http404("There is no such webhook.")
    return project, hook


def _body(project: Project, hook: Webhook) -> dict[str, Any]:
    columns = ("url", "events", "active", "disabled_because", "failing_since", "created_at")
    return {
        "id": hook.pk,
        "address": reverse("api-webhook-one", args=[project.slug, hook.pk]),
        **{name: getattr(hook, name) for name in columns},
    }


_ROOT = "api/v1/projects/<slug:slug>/webhooks/"
urlpatterns = [
    path(_ROOT, webhooks, name="api-webhooks"),
    path(_ROOT + "<int:hook_id>/", one, name="api-webhook-one"),
    path(_ROOT + "<int:hook_id>/secret/", new_secret, name="api-webhook-secret"),
]
