"""A project with prompts and a server that may be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from annotate import exchange
from annotate.models import Project
from tests.training.fake_endpoint import Server
from training.completions import writing_runs
from training.forms import WritingForm
from training.models import Run

PROMPTS = 6
KEY = "sk-5ecret-0f-the-server"


@pytest.fixture
def asked(
    project: Project,
    home: Path,
    server: Server,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """The project with six prompts that nobody answered; the server is allowed and has a key."""
    settings.ENDPOINT_HOSTS = [server.url.removesuffix("/v1")]
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY_127_0_0_1", KEY)
    chats = [[{"role": "user", "content": f"Where is parcel {i}?"}] for i in range(PROMPTS)]
    exchange.add_prompts(project, ({"messages": chat} for chat in chats))
    return project


def options(project: Project, server: Server, **wishes: Any) -> dict[str, Any]:
    """Options of a run of the server's model `desk`."""
    given = {"url": server.url, "model": "desk", "concurrency": 2} | wishes
    form = WritingForm(WritingForm.by_names(project, given), project=project)
    assert form.is_valid(), form.errors
    return form.options()


def started(project: Project, server: Server, **wishes: Any) -> Run:
    """A queued run, of which no worker was told."""
    return writing_runs.start(project, options(project, server, **wishes), enqueue=False)
