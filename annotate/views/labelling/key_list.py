"""The list of keys of the labelling screen, which it asks for when somebody opens it."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.votes import scales


class Key(NamedTuple):
    """A line in the list of keys."""

    first: str
    caption: str
    more: str = ""
    arrow: str = ""


# Besides those of the scale.
KEYS = [
    Key("s", "Skip", "you will not see this pair again"),
    Key("u", "Undo", "takes the last vote or skip back"),
    Key("n", "Comment", "on the vote just cast; the letters beside the reasons choose them"),
    Key("f", "Warn", "of unsafe, private or broken content"),
    Key("r", "Raw", "both replies as they were written"),
    Key("d", "Diff", "what differs between A and B"),
    Key("e", "Unfold", "the whole conversation, long replies, tools, thinking; again folds them"),
    Key("w", "Other reply", "of two long ones on a narrow screen"),
    Key("h", "My votes"),
    Key("g", "Guidelines"),
    Key("?", "Keys", "this list"),
]
# Where a project compares criteria; the keys of the vote answer them first.
COMPARING = [
    Key("Backspace", "Back", "to the criterion before"),
    Key("v", "Skip criteria", "vote without those that are left"),
]
ARROWS = {"ArrowLeft": "←", "ArrowDown": "↓", "ArrowRight": "→"}


@require_safe
def key_list(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The table of this project's keys with the buttons that change them, without a page around."""
    keys = _keys(project_or_404(request, slug))
    return render(request, "annotate/key_list.html", {"keys": keys})


def _keys(project: Project) -> list[Key]:
    votes = [
        Key(
            point.key, point.caption, arrow=ARROWS.get(point.keys.removeprefix(f"{point.key} "), "")
        )
        for point in scales.all_points(project.scale).values()
    ]
    comparing = COMPARING[: 1 if project.criteria_required else 2] if project.criteria else []
    return votes + comparing + KEYS
