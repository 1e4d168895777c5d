"""The list of projects, a new one, and what an admin may change."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import queue
from annotate.forms.project_forms import ProjectForm, ReadForm, SettingsForm
from annotate.models import Guideline, Membership, Project
from annotate.models.roles import Role
from annotate.people.guidelines import confirm, revise
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.labelling_progress import projects_of
from annotate.people.permissions import project_or_404


@require_safe
def projects(request: AuthenticatedHttpRequest) -> HttpResponse:
    own = projects_of(request.user)
    context = {
        # With the pairs that are settled. Of many pairs few are open, and those an index counts.
        "projects": [
            (project, counted["all_pairs"] - counted["open_pairs"])
            for project in own
            if not project.archived and (counted := vars(project))
        ],
        "archived": [project for project in own if project.archived],
    }
    return render(request, "annotate/projects.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: AuthenticatedHttpRequest) -> HttpResponse:
    if not request.user.is_superuser:
        raise PermissionDenied("Only a superuser can create projects.")
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            project = form.save()
            Guideline.objects.create(
                project=project, version=1, text=project.guidelines, author=request.user
            )
            Membership.objects.create(project=project, user=request.user, role=Role.ADMIN)
        return redirect("project-home", project.slug)
    return render(request, "annotate/project_new.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    form = SettingsForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        _save(form, project, request)
        messages.success(request, f"Saved. {_apply_to_open(form, project)}".rstrip())
        return redirect("project-settings", slug)
    if form.errors:
        # The header shows the project as it is stored, not as it was typed.
        role, project = project.role, Project.objects.get(pk=project.pk)
        project.role = role
    context = {"project": project, "tab": "project-settings", "form": form}
    return render(request, "annotate/settings.html", context)


@require_POST
def archive(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    project.archived = request.POST.get("archived") == "yes"
    project.save(update_fields=["archived"])
    messages.success(
        request, "Archived. No more pairs are handed out." if project.archived else "Active again."
    )
    return redirect("project-settings", slug)


@require_safe
def guidelines(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    context = {"project": project, "tab": "label"}
    template = "annotate/guidelines.html" + ("#text" if request.htmx else "")
    return render(request, template, context)


@require_POST
def guidelines_read(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    form = ReadForm(request.POST, project=project)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    confirm(project, request.user, version=form.cleaned_data["version"])
    return redirect("label", slug)


NO_COLUMNS = ("guidelines", "based_on", "apply_to_open")
"""Fields of the settings form that are not stored as they are."""


def _apply_to_open(form: SettingsForm, project: Project) -> str:
    """Change the quota of open pairs where the form says so, and say what became of them."""
    if not form.cleaned_data["apply_to_open"]:
        return ""
    changed, done = queue.apply_quota(project, now=timezone.now())
    if not changed:
        return "All open pairs ask for these votes already."
    ask = "1 open pair asks" if changed == 1 else f"{changed:,} open pairs ask"
    are = "1 of them is" if done == 1 else f"{done:,} of them are"
    return f"{ask} for other votes now; {are} done."


def _save(form: SettingsForm, project: Project, request: AuthenticatedHttpRequest) -> None:
    """Write only what this person changed, so that two admins do not undo each other."""
    changed = [name for name in form.changed_data if name not in NO_COLUMNS]
    with transaction.atomic():
        if changed:
            project.save(update_fields=changed)
        if "votes" in changed and project.votes != Project.Votes.ADAPTIVE:
            queue.withdraw(project)
        if "guidelines" in form.changed_data:
            revise(project, form.cleaned_data["guidelines"], author=request.user)
