"""The parts of a project's home: first steps that tick themselves, and those that others add.

The labelling side never asks training. It sends `home_wanted` with `project` and `figures`, and
whoever has something to show there answers with a `HomePart`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.dispatch import Signal
from django.urls import NoReverseMatch, reverse

from annotate.models import Project
from annotate.models.roles import Role
from annotate.overview.home_figures import Figures

home_wanted = Signal()

ORDER = ("guidelines", "data", "model", "people", "pairs", "votes", "round")
"""Names of the first steps, in the order in which a project begins."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of the checklist of a new project."""

    name: str
    title: str
    why: str
    done: bool
    action: str
    """Words of the button that leads to where it is done."""
    page: str
    """Name of that address."""
    role: str = Role.ADMIN
    """The lowest role that can do it."""


@dataclass(frozen=True, kw_only=True)
class HomePart:
    """An answer of another side: steps, and templates with their context for those who review."""

    steps: tuple[Step, ...] = ()
    next: str = ""
    """Template of what comes next, on top of the page."""
    figures: str = ""
    """Template of a card of figures."""
    charts: str = ""
    """Template of charts, each a `<figure class="chart">`."""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownStep:
    step: Step
    url: str
    """Empty where this person cannot do it."""


def parts(project: Project, figures: Figures) -> list[HomePart]:
    """The answers of the other sides."""
    answers: list[tuple[Any, Any]] = home_wanted.send(
        sender=Project, project=project, figures=figures
    )
    return [part for _, part in answers if part is not None]


def steps(project: Project, figures: Figures, others: Iterable[HomePart]) -> list[ShownStep]:
    """The checklist in its order, with the links that this person may follow."""
    every = [*_own(project, figures), *(step for part in others for step in part.steps)]
    every.sort(key=lambda step: ORDER.index(step.name) if step.name in ORDER else len(ORDER))
    return [ShownStep(step, _url(project, step)) for step in every]


def _url(project: Project, step: Step) -> str:
    if project.role not in Role.at_least(step.role):
        return ""
    try:
        return reverse(step.page, args=[project.slug])
    except NoReverseMatch:
        return ""


def _own(project: Project, figures: Figures) -> list[Step]:
    """The steps of the labelling side."""
    others = project.memberships.filter(active=True).exclude(role=Role.ADMIN)
    prompts = project.prompts.exists()
    return [
        Step(
            name="guidelines",
            title="Write guidelines",
            why="People agree more when they know what makes a reply better here.",
            done=bool(project.guidelines.strip()),
            action="Write them",
            page="project-settings",
        ),
        Step(
            name="data",
            title="Bring data",
            why="Prompts alone are enough for a model to answer; pairs can be labelled at once.",
            done=prompts,
            action="Import a file",
            page="imports",
        ),
        Step(
            name="people",
            title="Invite people",
            why="Two opinions on each pair show how far the votes can be trusted.",
            done=others.exists(),
            action="Invite",
            page="people",
        ),
        Step(
            name="pairs",
            title="Get first pairs",
            why="A pair is two replies to one prompt: imported, or written by a model.",
            done=bool(figures.pairs),
            action="Write completions" if prompts else "Import pairs",
            page="write-completions" if prompts else "imports",
        ),
        Step(
            name="votes",
            title="Cast first votes",
            why="A minute of labelling shows whether pairs and guidelines make sense.",
            done=bool(figures.votes),
            action="Label",
            page="label",
            role=Role.ANNOTATOR,
        ),
    ]
