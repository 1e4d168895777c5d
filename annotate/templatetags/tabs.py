"""The tabs of a project's header, by what the person at the screen may open."""

from __future__ import annotations

from typing import NamedTuple

from django import template
from django.template import RequestContext
from django.urls import NoReverseMatch, reverse

from annotate.models import Membership, Project
from annotate.models.people import Role

register = template.Library()

TABS = [
    ("label", "Label", Role.ANNOTATOR),
    ("quality", "Quality", Role.REVIEWER),
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
    role = role_in(project, context["request"].user)
    tabs = []
    for name, title, needed in TABS:
        if role not in Role.at_least(needed):
            continue
        try:
            tabs.append(Tab(name, title, reverse(name, args=[project.slug])))
        except NoReverseMatch:
            continue
    return tabs


def role_in(project: Project, user: object) -> str:
    if getattr(user, "is_superuser", False):
        return str(Role.ADMIN)
    roles = Membership.objects.filter(project=project, user=user, active=True)
    return roles.values_list("role", flat=True).first() or ""
