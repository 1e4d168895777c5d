"""The adjudication page: one pair with its votes, the reviewer's decision, and the next pair."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, NamedTuple

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from annotate.forms.review_forms import DecisionForm
from annotate.models import Adjudication, Assignment, Flag, Pair, Project
from annotate.people.annotator_figures import TOO_FAST_MS
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import adjudication
from annotate.review.adjudication import ANSWERS
from annotate.text.chat_turns import blind
from annotate.views.address_ids import number_in
from annotate.views.labelling.label import asked
from annotate.votes import scales

MOST = 500
"""Of the queue, so many are looked through for the place of a pair."""
COUNTED = 1000
"""Pairs of a kind beyond which there are only known to be more."""


@require_safe
def adjudicate(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The first pair that waits; `pair` names another one, `after` the one to go on behind."""
    project = project_or_404(request, slug, "reviewer")
    waiting = adjudication.first_waiting(project, MOST)
    pair = _chosen(request, project, [pk for pk, _ in waiting])
    context: dict[str, Any] = {
        "project": project,
        "tab": "adjudicate",
        "counts": _counts(project),
        "last": _last(request, project),
        "pair": pair,
    }
    if pair is not None:
        context |= _shown(pair, dict(waiting).get(pair.pk, ""))
    return render(request, "annotate/adjudicate.html", context)


@require_POST
def decide(request: AuthenticatedHttpRequest, slug: str, pair_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    pair = get_object_or_404(project.pairs, pk=pair_id)
    form = DecisionForm(request.POST, project=project)
    if form.has_error("rationale", "required"):
        messages.error(request, "Nothing was decided: this project wants a rationale.")
        return redirect(reverse("adjudicate", args=[slug]) + f"?pair={pair.pk}")
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    answer = ANSWERS[form.cleaned_data["vote"]]
    try:
        decision = adjudication.decide(
            request.user,
            pair,
            choice=answer.choice,
            strength=answer.strength,
            category=form.cleaned_data["category"],
            rationale=form.cleaned_data["rationale"],
        )
    except adjudication.Undecidable as problem:
        messages.error(request, str(problem))
        return redirect("adjudicate", slug)
    said = f"Decided: {answer.caption} ({decision.get_category_display().lower()})."
    messages.success(request, said)
    return redirect(reverse("adjudicate", args=[slug]) + f"?last={pair.pk}")


@require_POST
def take_back(request: AuthenticatedHttpRequest, slug: str, pair_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    pair = get_object_or_404(project.pairs, pk=pair_id)
    if adjudication.take_back(pair):
        messages.info(request, "The decision is taken back: the votes speak again.")
    return redirect(reverse("adjudicate", args=[slug]) + f"?pair={pair.pk}")


@require_POST
def settle(request: AuthenticatedHttpRequest, slug: str, pair_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    pair = get_object_or_404(project.pairs, pk=pair_id)
    if adjudication.settle_flags(pair):
        messages.success(request, "The flags are settled; the pair stays as it is.")
    return redirect("adjudicate", slug)


def _counts(project: Project) -> dict[str, str]:
    counts = adjudication.waiting(project, most=COUNTED + 1)
    return {why: f"more than {COUNTED}" if n > COUNTED else str(n) for why, n in counts.items()}


def _chosen(request: AuthenticatedHttpRequest, project: Project, waiting: list[int]) -> Pair | None:
    pairs = _pairs(project)
    if named := number_in(request, "pair"):
        return get_object_or_404(pairs, pk=named)
    after = number_in(request, "after")
    start = waiting.index(after) + 1 if after in waiting else 0
    return pairs.filter(pk=waiting[start % len(waiting)]).first() if waiting else None


def _pairs(project: Project) -> QuerySet[Pair]:
    texts = ("prompt", "completion_a", "completion_b")
    return project.pairs.select_related(*texts, "label", "adjudication__reviewer")


def _last(request: AuthenticatedHttpRequest, project: Project) -> Adjudication | None:
    """The decision just made, which can still be taken back."""
    named = number_in(request, "last")
    return Adjudication.objects.filter(pair__project=project, pair=named).first() if named else None


def _shown(pair: Pair, why: str) -> dict[str, Any]:
    model = adjudication.model_says(pair)
    return {
        "why": why,
        "replies": {
            letter: {"text": reply.text, "messages": reply.messages and blind(reply.messages)}
            for letter, reply in (("A", pair.completion_a), ("B", pair.completion_b))
        },
        "votes": (votes := _votes(pair)),
        "criteria": _by_criterion(pair.project, [one["vote"] for one in votes]),
        "flags": _open_flags(pair),
        "warned_of": _flags(pair),
        "model": model and {"side": model[0].upper(), "probability": model[1]},
        "undecidable": adjudication.undecidable(pair),
        "answers": list(ANSWERS.values()),
        "categories": [
            (category, adjudication.LETTERS[category]) for category in Adjudication.Category
        ],
        **_decided(pair),
    } | asked(blind(pair.prompt.messages), pair.prompt.tools)


def _decided(pair: Pair) -> dict[str, Any]:
    """The decision that was made on the pair, and its answer in words."""
    decision = getattr(pair, "adjudication", None)
    if decision is None:
        return {"decision": None}
    says = scales.stated(pair.project.scale, decision.choice, decision.strength)
    return {"decision": decision, "decision_says": says}


def _flags(pair: Pair) -> str:
    """The warnings about the pair, each kind once, with the number of people who gave it."""
    kinds = Counter(flag.get_kind_display().lower() for flag in _open_flags(pair))
    return ", ".join(f"{kind} ({n} people)" if n > 1 else kind for kind, n in kinds.items())


def _open_flags(pair: Pair) -> QuerySet[Flag]:
    return pair.flags.filter(settled_at=None).order_by("created_at", "pk")


def _votes(pair: Pair) -> list[dict[str, Any]]:
    """The pair's votes in the order they were cast, without names."""
    cast = pair.assignments.filter(state=Assignment.State.VOTED).order_by("seq")
    return [
        {
            "vote": vote,
            "says": scales.stated(pair.project.scale, vote.choice, vote.strength),
            **_taken(vote),
        }
        for vote in cast
    ]


class Compared(NamedTuple):
    """A criterion with each voter's answer: A, B, Same, or empty where it was left out."""

    name: str
    answers: list[str]

    @property
    def voters(self) -> str:
        """They agree or differ; empty where fewer than two answered."""
        given = [one for one in self.answers if one]
        return "" if len(given) < 2 else "differ" if len(set(given)) > 1 else "agree"


def _by_criterion(project: Project, votes: list[Assignment]) -> list[Compared]:
    """The answers of voters by criterion: those of the project, then others that votes still have.

    Nothing where nobody compared by any.
    """
    if not any(vote.criteria for vote in votes):
        return []
    names = dict.fromkeys([*project.criteria, *chain(*(vote.criteria for vote in votes))])
    return [
        Compared(name, [SAID.get(vote.criteria.get(name, ""), "") for vote in votes])
        for name in names
    ]


SAID = {"a": "A", "b": "B", "tie": "Same"}


def _taken(vote: Assignment) -> dict[str, Any]:
    ms = vote.active_ms if vote.active_ms is not None else vote.wall_ms
    fast = ms is not None and ms < TOO_FAST_MS
    return {"seconds": None if ms is None else ms / 1000, "fast": fast}
