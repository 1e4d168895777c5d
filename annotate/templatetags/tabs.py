"""The tabs of a project's header, by what the person at the screen may open."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from django import template
from django.template import RequestContext
from django.urls import NoReverseMatch, reverse

from annotate.models import Message, Project
from annotate.models.roles import Role
from annotate.people.permissions import role_of

register = template.Library()

TABS = [
    ("label", "Label", Role.ANNOTATOR),
    ("me", "My work", Role.ANNOTATOR),
    ("my-votes", "My votes", Role.ANNOTATOR),
    ("quality", "Quality", Role.REVIEWER),
    ("checks", "Checks", Role.REVIEWER),
    ("annotators", "Annotators", Role.REVIEWER),
    ("adjudicate", "Adjudicate", Role.REVIEWER),
    ("data", "Data", Role.REVIEWER),
    ("rounds", "Rounds", Role.REVIEWER),
    ("people", "People", Role.ADMIN),
    ("project-settings", "Settings", Role.ADMIN),
    ("export", "Export", Role.ADMIN),
]


class Tab(NamedTuple):
    name: str
    title: str
    url: str


@register.simple_tag(takes_context=True)
def project_tabs(context: RequestContext, project: Project) -> list[Tab]:
    """Tabs of pages that exist in this installation and are open to this person."""
    role = getattr(project, "role", None) or role_of(context["request"].user, project)
    tabs = []
    for name, title, needed in TABS:
        if role not in Role.at_least(needed):
            continue
        with contextlib.suppress(NoReverseMatch):
            tabs.append(Tab(name, title, reverse(name, args=[project.slug])))
    return tabs


@register.simple_tag(takes_context=True)
def unread_messages(context: RequestContext, project: Project) -> int:
    """Messages from the reviewers that the person at the screen has not marked as read."""
    user = context["request"].user
    return Message.objects.filter(member__project=project, member__user=user, read_at=None).count()
