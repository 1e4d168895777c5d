"""The data page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count
from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.forms.people_forms import BatchForm
from annotate.models import Assignment, Project, Prompt
from annotate.models.roles import Role
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import search
from annotate.review.search import Search
from annotate.views.address_ids import number_in
from annotate.votes import scales
from annotate.votes.export_values import pseudonyms

LISTS = {"pairs": search.pairs, "prompts": search.prompts, "votes": search.votes}
"""The lists of the data page by the name in its address."""


@require_safe
def data(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """One of the lists; htmx gets the list alone, with an address that leaves empty fields out."""
    project = project_or_404(request, slug, "reviewer")
    form, chosen = Search(request.GET), request.GET.get("in") or "pairs"
    if not form.is_valid() or chosen not in LISTS:
        problem = form.errors.as_text() or "in must be pairs, prompts or votes."
        return HttpResponseBadRequest(problem, content_type="text/plain; charset=utf-8")
    # Going back to an address that htmx left asks for the whole page.
    if "HX-Request" not in request.headers or "HX-History-Restore-Request" in request.headers:
        return _data_page(request, project, form, chosen)
    context = _found(request, project, form, chosen)
    response = render(request, "annotate/data.html#found", context)
    response["HX-Push-Url"] = f"?{context['address']}"
    return response


def _found(
    request: AuthenticatedHttpRequest, project: Project, form: Search, chosen: str
) -> dict[str, Any]:
    wanted = form.cleaned_data
    before, after = (number_in(request, name) for name in ("before", "after"))
    with search.from_the_newest():
        results = search.page(LISTS[chosen](project, wanted), before=before, after=after)
    return {
        "project": project,
        "form": form,
        "wanted": wanted,
        "filters": sum(bool(value) for name, value in wanted.items() if name != "q"),
        "chosen": chosen,
        "tabs": {name: search.address(wanted, **{"in": name}) for name in LISTS},
        "address": search.address(wanted, **{"in": chosen}),
        "found": results,
        "counted": _counted(project, chosen, wanted, results),
        "entries": ENTRIES[chosen](project, results.rows),
        "batch_form": _batch_form(project) if chosen == "pairs" else None,
    }


def _batch_form(project: Project) -> BatchForm | None:
    return BatchForm(project=project) if project.role == Role.ADMIN else None


def _counted(
    project: Project, chosen: str, wanted: dict[str, Any], results: search.Page[Any]
) -> str:
    """The rows in words. Pairs that check people, and retired ones, are no pairs of the project as
    other pages count them, so they are named apart; unless there are too many to look at each."""
    if chosen != "pairs" or results.more:
        return _number(results.count, chosen[:-1], more=results.more)
    counted = Counter[str]()
    rows = LISTS["pairs"](project, wanted)
    for kind, state, n in rows.order_by().values_list("kind", "state").annotate(n=Count("pk")):
        counted[APART.get(state) or APART.get(kind) or "pair"] += n
    names = [name for name in ("pair", *APART.values()) if counted[name]] or ["pair"]
    *others, last = [_number(counted[name], name) for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def _number(n: int, name: str, *, more: bool = False) -> str:
    return f"{'more than ' * more}{n} {name}{'s' * (n != 1)}"


APART = {"gold": "gold pair", "retest": "retest", "retired": "retired pair"}
"""Pairs that are named apart, by their kind or state."""


def _prompt_entries(project: Project, rows: list[Prompt]) -> list[dict[str, Any]]:
    pairs = project.pairs.filter(prompt__in=rows).order_by().values_list("prompt")
    counts = dict(pairs.annotate(n=Count("pk")))
    return [{"prompt": prompt, "pairs": counts.get(prompt.pk, 0)} for prompt in rows]


def _vote_entries(project: Project, rows: list[Assignment]) -> list[dict[str, Any]]:
    name = pseudonyms(project)
    people: dict[int, str] = {}
    if project.role == Role.ADMIN:
        people = dict(User.objects.filter(assignments__in=rows).values_list("pk", "username"))
    return [
        {
            "vote": vote,
            "says": scales.stated(project.scale, vote.choice, vote.strength),
            "who": name(vote.annotator_id),
            "username": people.get(vote.annotator_id, ""),
        }
        for vote in rows
    ]


ENTRIES: dict[str, Callable[..., list[Any]]] = {
    "pairs": lambda project, rows: rows,
    "prompts": _prompt_entries,
    "votes": _vote_entries,
}


def _data_page(
    request: AuthenticatedHttpRequest,
    project: Project,
    form: Search,
    chosen: str,
) -> HttpResponse:
    admin = project.role == Role.ADMIN
    context = _found(request, project, form, chosen) | {
        "tab": "data",
        "may_import": admin,
        "offered": search.offered(project, named=admin),
    }
    return render(request, "annotate/data.html", context)
