"""A person's own API tokens: make, look through, revoke."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms.integration_forms import TokenForm
from annotate.models import ApiToken, Project, TokenScope
from annotate.people.http_requests import AuthenticatedHttpRequest, public_url
from annotate.people.joining import second_factor
from annotate.people.permissions import project_or_404

TRY = {
    TokenScope.READ: ("api-agreement", ""),
    TokenScope.VOTE: ("api-next", " -X POST"),
    TokenScope.WRITE: ("api-import", " --data-binary @pairs.jsonl"),
    TokenScope.ADMIN: ("api-rounds", " -X POST"),
}
"""A call to try a token of each scope with: name of its address, and curl's options."""


@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: AuthenticatedHttpRequest) -> HttpResponse:
    form = TokenForm(request.POST or None, user=request.user)
    if form.is_bound and not second_factor.verified(request.user, request.session):
        form.add_error(None, "Sign out and in again with your code: then you can make a token.")
    elif request.method == "POST" and form.is_valid():
        token, secret = form.issue()
        # Shown in this answer and never again: only the secret's hash is stored.
        shown = {"made": token, "secret": secret, "curl": _curl(request, token, secret)}
        return _page(request, TokenForm(user=request.user), shown)
    return _page(request, form, {}, status=400 if form.is_bound else 200)


@require_POST
def revoke(request: AuthenticatedHttpRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(request.user.api_tokens, pk=token_id)
    token.delete()
    messages.success(request, f"{token.name or token.prefix} no longer works.")
    return redirect("tokens")


@require_POST
def end_in_project(request: AuthenticatedHttpRequest, slug: str, token_id: int) -> HttpResponse:
    """Keep somebody's token out of the project; in their other ones it goes on working."""
    project = project_or_404(request, slug, "admin")
    token = get_object_or_404(ApiToken.objects.reaching(project), pk=token_id)
    token.ended_in.add(project)
    messages.success(request, f"The token {token.prefix}… no longer reaches {project.name}.")
    return redirect("people", slug)


def _page(
    request: AuthenticatedHttpRequest,
    form: TokenForm,
    shown: dict[str, object],
    *,
    status: int = 200,
) -> HttpResponse:
    own = request.user.api_tokens.select_related("project").prefetch_related("ended_in")
    context = {"form": form, "tokens": own.order_by("-created_at", "-pk"), **shown}
    return render(request, "annotate/tokens.html", context, status=status)


def _curl(request: AuthenticatedHttpRequest, token: ApiToken, secret: str) -> str:
    """A line for the shell that tries the token."""
    project = token.project or Project.objects.for_user(request.user).first()
    name, options = TRY[TokenScope(token.scopes[0])]
    path = reverse(name, args=[project.slug if project else "PROJECT"])
    address = public_url(request, path)
    return f'curl -H "Authorization: Token {secret}"{options} {address}'
