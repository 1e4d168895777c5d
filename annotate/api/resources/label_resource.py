"""Labels of pairs: their list, and the form that pairs show them in."""

from __future__ import annotations

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, ROOT
from annotate.models import Label, Pair, Project
from annotate.people.permissions import project_or_404
from annotate.votes.labels import ADJUDICATED


class LabelBody(serializers.ModelSerializer[Label]):
    pair = serializers.IntegerField(source="pair_id")

    class Meta:
        model = Label
        fields = (
            *("pair", "outcome", "vote_fraction", "margin", "n_votes", "method"),
            *("p_a", "p_tie", "p_b", "updated_at"),
        )


class LabelQuery(ListQuery):
    outcome = serializers.ChoiceField(choices=Label.Outcome.choices, required=False)
    method = serializers.ChoiceField(choices=("majority", ADJUDICATED), required=False)
    kind = serializers.ChoiceField(choices=Pair.Kind.choices, required=False)
    updated_since = serializers.DateTimeField(required=False)


LABEL_COLUMNS = {"kind": "pair__kind", "updated_since": "updated_at__gte"}


@extend_schema(
    operation_id="labels_list",
    tags=["labels"],
    parameters=[LabelQuery],
    responses={200: page_of(LabelBody), **ANSWERS},
)
@api_view(["GET"])
def labels(request: Request, slug: str) -> Response:
    """Labels of the project's pairs, newest first (reviewers). p_a, p_tie and p_b are what the
    votes say once the annotators' reliabilities are known."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, LabelQuery)
    wanted = {LABEL_COLUMNS.get(name, name): value for name, value in filters.items()}
    rows = _labels(project).filter(**wanted)
    return listed(request, rows, lambda page: list(LabelBody(page, many=True).data))


def _labels(project: Project) -> QuerySet[Label]:
    return Label.objects.filter(pair__project=project)


urlpatterns = [path(ROOT + "labels/", labels, name="api-labels")]
