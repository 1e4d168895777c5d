"""A project with pairs, a server that judges them, and an annotator that asks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from annotate.models import AiAnnotator, Assignment, Label, Pair, Project
from tests.training.fake_endpoint import Server
from training.ai_annotators import ai_voting
from training.models import Run

KEY = "sk-5ecret-0f-the-server"
PRINCIPLES = "A reply that names a step is better."
PAIRS = 5


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The replies that a question shows as A and as B."""
    asked = body["messages"][0]["content"]
    both = re.search(r"\[Reply A\]\n(.*?)\n\n\[Reply B\]\n(.*?)\n\nAnswer", asked, re.DOTALL)
    assert both, "a question shows both replies"
    return both[1], both[2]


def longer(body: dict[str, Any]) -> str:
    """A judge that takes the longer reply, whatever its place."""
    a, b = shown(body)
    return "A" if len(a) > len(b) else "B"


@pytest.fixture
def judged(
    project: Project,
    home: Path,
    server: Server,
    make_pairs: Callable[..., list[Pair]],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """The project with five open pairs, of which A is the longer one; its server judges."""
    settings.ENDPOINT_HOSTS = [server.url.removesuffix("/v1")]
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY_127_0_0_1", KEY)
    for pair in make_pairs(PAIRS):
        pair.completion_a.text += " with a step that somebody takes"
        pair.completion_a.save()
    server.says = longer
    return project


@pytest.fixture
def annotator(judged: Project, server: Server) -> AiAnnotator:
    return chat_annotator(judged, server)


def chat_annotator(project: Project, server: Server, **wishes: Any) -> AiAnnotator:
    """An annotator by the server's model `desk`, which may ask as often as it likes."""
    source = ai_voting.chat_source(server.url, "desk", longest=16)
    usual: dict[str, Any] = {"name": "Judge", "constitution": PRINCIPLES, "per_minute": 6000}
    return ai_voting.create(project, source, by=None, **(usual | wishes))


def started(annotator: AiAnnotator, most: int = 100) -> Run:
    """A queued run, of which no worker was told."""
    return ai_voting.start(annotator, most=most, enqueue=False)


def label(pair: Pair, outcome: str, **columns: Any) -> None:
    """A label by people on a pair that the random arm had leased."""
    Label.objects.create(pair=pair, outcome=outcome, vote_fraction=0.5, n_votes=1)
    Pair.objects.filter(pk=pair.pk).update(
        state="resolved", open_slots=0, stream="random", **columns
    )


def people_saw_nothing(project: Project, before: list[dict[str, Any]]) -> bool:
    """Whether no row that people's figures rest on has changed."""
    return before == rows_of_people(project) and not Assignment.objects.exists()


def rows_of_people(project: Project) -> list[dict[str, Any]]:
    return list(project.pairs.order_by("pk").values())
