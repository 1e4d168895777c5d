"""A project's webhooks, and one of them with its latest deliveries."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms.integration_forms import ChangedWebhookForm, WebhookForm
from annotate.models import Project, Webhook
from annotate.people.http_requests import AuthenticatedHttpRequest, public_url
from annotate.people.permissions import project_or_404
from annotate.webhooks import delivery, outbox, webhook_changes

LATEST = 50
"""Deliveries on the page of a webhook."""


@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        seen_at = public_url(request)
        try:
            hook = webhook_changes.create(
                project, request.user, seen_at=seen_at, **form.cleaned_data
            )
        except webhook_changes.TooMany as problem:
            form.add_error(None, str(problem))
        else:
            # Shown in this answer only; from now on it signs, and nobody needs to read it.
            return _one(request, project, hook, {"secret": hook.secret})
    own = list(project.webhooks.all())
    tried = delivery.newest_tries(own)
    context = {
        "project": project,
        "tab": "webhooks",
        "form": form,
        "hooks": [{"hook": hook, "tried_at": tried.get(hook.pk)} for hook in own],
    }
    status = 400 if form.is_bound else 200
    return render(request, "annotate/webhooks.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook(request: AuthenticatedHttpRequest, slug: str, hook_id: int) -> HttpResponse:
    project, hook = _hook_of(request, slug, hook_id)
    form = ChangedWebhookForm(request.POST or None, initial=_columns(hook))
    if request.method == "POST" and form.is_valid():
        webhook_changes.change(hook, seen_at=public_url(request), **form.cleaned_data)
        messages.success(request, "The webhook is saved.")
        return redirect("webhook", slug, hook.pk)
    return _one(request, project, hook, {"form": form}, status=400 if form.is_bound else 200)


@require_POST
def rotate(request: AuthenticatedHttpRequest, slug: str, hook_id: int) -> HttpResponse:
    project, hook = _hook_of(request, slug, hook_id)
    return _one(request, project, hook, {"secret": hook.rotate(), "rotated": True})


@require_POST
def delete(request: AuthenticatedHttpRequest, slug: str, hook_id: int) -> HttpResponse:
    _, hook = _hook_of(request, slug, hook_id)
    hook.delete()
    messages.success(request, "The webhook is deleted, with what waited for it.")
    return redirect("webhooks", slug)


@require_POST
def send_test(request: AuthenticatedHttpRequest, slug: str, hook_id: int) -> HttpResponse:
    _, hook = _hook_of(request, slug, hook_id)
    if not hook.active:
        messages.error(request, "Activate the webhook first.")
    else:
        outbox.tell_test(hook)
        messages.success(request, "A test is on its way. Load the page again to see its answer.")
    return redirect("webhook", slug, hook.pk)


@require_POST
def send_again(
    request: AuthenticatedHttpRequest, slug: str, hook_id: int, delivery_id: int
) -> HttpResponse:
    _, hook = _hook_of(request, slug, hook_id)
    row = get_object_or_404(hook.deliveries, pk=delivery_id)
    if not hook.active:
        messages.error(request, "Activate the webhook first.")
    elif delivery.send_again(row):
        messages.success(request, "It is sent again, under the same id.")
    return redirect("webhook", slug, hook.pk)


def _hook_of(request: AuthenticatedHttpRequest, slug: str, hook_id: int) -> tuple[Project, Webhook]:
    project = project_or_404(request, slug, "admin")
    return project, get_object_or_404(project.webhooks.select_related("project"), pk=hook_id)


def _columns(hook: Webhook) -> dict[str, Any]:
    return {name: getattr(hook, name) for name in ("url", "events", "active")}


def _one(
    request: AuthenticatedHttpRequest,
    project: Project,
    hook: Webhook,
    shown: dict[str, object],
    *,
    status: int = 200,
) -> HttpResponse:
    context = {
        "project": project,
        "tab": "webhooks",
        "hook": hook,
        "deliveries": hook.deliveries.all()[:LATEST],
        "form": ChangedWebhookForm(initial=_columns(hook)),
        **shown,
    }
    return render(request, "annotate/webhook.html", context, status=status)
