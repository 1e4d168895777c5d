"""The pages of a project by their groups, and those of them that a person may open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django import template
from django.template import RequestContext
from django.urls import NoReverseMatch, reverse

from annotate.models import Message, Project
from annotate.models.roles import Role
from annotate.people.permissions import role_of

register = template.Library()

OWN = "Your work"
SETTINGS = "Settings"
GROUPS = {
    "Home": "home",
    "Label": "label",
    "Data": "data",
    "People": "people",
    "Quality": "quality",
    "Training": "training",
    SETTINGS: "settings",
    OWN: "person",
}
"""The groups with their icons. Settings stand beside the project's name, a person's own work in
the person's menu."""

PAGES = [
    ("project-home", "Home", Role.ANNOTATOR, "Home"),
    ("label", "Label", Role.ANNOTATOR, "Label"),
    ("data", "Browse", Role.REVIEWER, "Data"),
    ("imports", "Import", Role.ADMIN, "Data"),
    ("write-completions", "Write completions", Role.ADMIN, "Data"),
    ("export", "Export", Role.ADMIN, "Data"),
    ("people", "Members", Role.ADMIN, "People"),
    ("batches", "Batches", Role.REVIEWER, "People"),
    ("annotators", "Annotator performance", Role.REVIEWER, "People"),
    ("quality", "Agreement", Role.REVIEWER, "Quality"),
    ("adjudicate", "Adjudication", Role.REVIEWER, "Quality"),
    ("checks", "Gold pairs", Role.REVIEWER, "Quality"),
    ("rounds", "Rounds", Role.REVIEWER, "Training"),
    ("active-learning", "Active learning", Role.REVIEWER, "Training"),
    ("schedule", "Schedule", Role.REVIEWER, "Training"),
    ("models", "Models", Role.REVIEWER, "Training"),
    ("models-compare", "Compare", Role.REVIEWER, "Training"),
    ("ai-annotators", "AI annotators", Role.REVIEWER, "Training"),
    ("playground", "Playground", Role.REVIEWER, "Training"),
    ("leaderboard", "Leaderboard", Role.REVIEWER, "Training"),
    ("project-settings", "Project settings", Role.ADMIN, SETTINGS),
    ("webhooks", "Webhooks", Role.ADMIN, SETTINGS),
    ("audit", "Audit log", Role.ADMIN, SETTINGS),
    ("me", "My progress", Role.ANNOTATOR, OWN),
    ("my-votes", "My votes", Role.ANNOTATOR, OWN),
]
"""Address, title, the lowest role that opens it, and group of every page that is linked
everywhere. A group's own link leads to the first of its pages that the person may open."""


class Tab(NamedTuple):
    name: str
    title: str
    url: str
    current: bool


@dataclass
class Group:
    """One group of pages that is open to this person."""

    title: str
    icon: str
    pages: list[Tab] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.pages[0].url

    @property
    def current(self) -> bool:
        return any(page.current for page in self.pages)


@dataclass
class Navigation:
    """The header of a project's page."""

    groups: list[Group]
    settings: Group | None
    own: Group | None

    @property
    def local(self) -> Group | None:
        """The group in sight, where it has several pages."""
        every = [*self.groups, *([self.settings] if self.settings else [])]
        return next((one for one in every if one.current and len(one.pages) > 1), None)


@register.simple_tag(takes_context=True)
def project_pages(context: RequestContext, project: Project) -> Navigation:
    """Pages that exist in this installation and are open to this person, by their groups."""
    groups: dict[str, Group] = {}
    for title, tab in _open(context, project):
        groups.setdefault(title, Group(title, GROUPS[title])).pages.append(tab)
    settings, own = groups.pop(SETTINGS, None), groups.pop(OWN, None)
    return Navigation([groups[title] for title in GROUPS if title in groups], settings, own)


def _open(context: RequestContext, project: Project) -> Iterator[tuple[str, Tab]]:
    role = getattr(project, "role", None) or role_of(context["request"].user, project)
    current = _current(context)
    for name, title, needed, group in PAGES:
        if role in Role.at_least(needed):
            with contextlib.suppress(NoReverseMatch):
                yield group, Tab(name, title, reverse(name, args=[project.slug]), name == current)


def _current(context: RequestContext) -> str:
    """The page in sight, or the one that a page further in belongs to."""
    match = context["request"].resolver_match
    here = str(match.url_name) if match else ""
    return here if any(here == name for name, *_ in PAGES) else str(context.get("tab", ""))


@register.simple_tag(takes_context=True)
def unread_messages(context: RequestContext, project: Project) -> int:
    """Messages from the reviewers that the person at the screen has not marked as read."""
    user = context["request"].user
    return Message.objects.filter(member__project=project, member__user=user, read_at=None).count()
