"""Votes: all of them for reviewers, one's own for everybody. Votes are cast by assignments."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, ROOT, imported_by, with_imports
from annotate.models import Assignment, Pair, Project
from annotate.models.assignment import Choice
from annotate.models.roles import Role
from annotate.people.permissions import project_or_404
from annotate.review import search
from annotate.votes.export_values import pseudonyms

State = Assignment.State


class StoredVote(serializers.ModelSerializer[Assignment]):
    """A vote, about the completions of its pair. What an imported one does not tell is empty."""

    pair = serializers.IntegerField(source="pair_id")
    annotator = serializers.CharField(source="pseudonym")
    username = serializers.CharField(source="person", allow_null=True, help_text="For admins.")
    choice = serializers.ChoiceField(choices=Choice.choices)
    reasons = serializers.ListField(child=serializers.CharField())
    criteria = serializers.DictField(child=serializers.CharField())
    criteria_asked = serializers.CharField(
        help_text="with_pair, after_pair (the pair had given way to the next one by then) or "
        "unasked; empty where the project had no criteria, or a file does not say."
    )
    metadata = serializers.DictField()
    imported_by = imported_by()

    class Meta:
        model = Assignment
        fields = (
            *("id", "pair", "annotator", "username", "choice", "strength", "left", "reasons"),
            *("comment", "criteria", "criteria_asked", "stream", "propensity", "acquisition"),
            *("seq", "leased_at", "voted_at"),
            *("active_ms", "first_key_ms", "wall_ms", "input", "guideline_version", "revision"),
            *("surplus", "simulated", "imported", "metadata", "imported_by"),
        )


class VoteQuery(ListQuery):
    pair = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    prompt = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    annotator = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Pseudonym, or for admins a username."
    )
    kind = serializers.ChoiceField(choices=Pair.Kind.choices, required=False)
    choice = serializers.ChoiceField(choices=Choice.choices, required=False)
    imported = serializers.BooleanField(required=False)
    simulated = serializers.BooleanField(required=False)
    since = serializers.DateTimeField(required=False, help_text="Of the vote.")


class OwnVote(serializers.Serializer[Any]):
    """One's own vote or skip, as the screen showed the pair."""

    assignment = serializers.UUIDField(source="token")
    pair = serializers.IntegerField(source="pair_id")
    state = serializers.ChoiceField(choices=((State.VOTED, "Voted"), (State.SKIPPED, "Skipped")))
    choice = serializers.SerializerMethodField()
    strength = serializers.IntegerField(allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField())
    comment = serializers.CharField(allow_blank=True)
    skip_reason = serializers.CharField(allow_blank=True)
    acted_at = serializers.DateTimeField(allow_null=True)

    def get_choice(self, own: Assignment) -> str:
        """left, right, tie or both_bad; empty of a skip, and a or b of an imported vote whose
        sides nobody knows."""
        if own.left and own.choice in ("a", "b"):
            return "left" if own.choice == own.left else "right"
        return own.choice


class OwnVoteQuery(ListQuery):
    q = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Text of the pair, or your comment."
    )
    pair = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    state = serializers.ChoiceField(choices=(State.VOTED, State.SKIPPED), required=False)


VOTE_COLUMNS = {"since": "voted_at__gte"}


@extend_schema(
    operation_id="votes_list",
    tags=["votes"],
    parameters=[VoteQuery],
    responses={200: page_of(StoredVote), **ANSWERS},
)
@api_view(["GET"])
def votes(request: Request, slug: str) -> Response:
    """Standing and surplus votes, the pairs handed out last first (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, VoteQuery)
    known: dict[str, Any] = {
        name: filters.pop(name) for name in ("prompt", "annotator", "kind") if name in filters
    }
    rows = with_imports(search.votes(project, known).select_related(None))
    wanted = {VOTE_COLUMNS.get(name, name): value for name, value in filters.items()}
    with search.from_the_newest():
        return listed(request, rows.filter(**wanted), lambda page: _bodies(project, page))


@extend_schema(
    operation_id="own_votes_list",
    tags=["votes"],
    parameters=[OwnVoteQuery],
    responses={200: page_of(OwnVote), **ANSWERS},
)
@api_view(["GET"])
def own_votes(request: Request, slug: str) -> Response:
    """Your own votes and skips, the pairs handed out last first: never a model, a score or what
    others said."""
    project = project_or_404(request, slug)
    filters = asked(request, OwnVoteQuery)
    text = search.words(filters.pop("q", ""))
    rows = search.votes_and_skips(project, user_of(request), text=text).filter(**filters)
    return listed(request, rows, lambda page: list(OwnVote(page, many=True).data))


def _bodies(project: Project, page: Any) -> list[dict[str, Any]]:
    name = pseudonyms(project)
    people: dict[int, str] = {}
    if project.role == Role.ADMIN:
        voters = {vote.annotator_id for vote in page}
        people = dict(User.objects.filter(pk__in=voters).values_list("pk", "username"))
    for vote in page:
        vote.pseudonym, vote.person = name(vote.annotator_id), people.get(vote.annotator_id)
    return list(StoredVote(page, many=True).data)


urlpatterns = [
    path(ROOT + "votes/", votes, name="api-votes"),
    path(ROOT + "my-votes/", own_votes, name="api-my-votes"),
]
