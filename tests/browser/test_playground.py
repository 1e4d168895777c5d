"""The playground with real, tiny models in their own process: from the form to scored replies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from annotate.models import Project
from tests.browser.accessibility import violations
from tests.training.rlhf import tiny
from training.models import ModelVersion
from training.playground import generator_process
from training.rlhf.reward import reward_model
from training.runs import supervisor
from training.versions import promotion
from training.worker import scheduler

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/projects/desk/playground/"


@pytest.fixture
def models(project: Project, settings: Settings, tmp_path: Path) -> None:
    """The starter, policy-1 and the reward model that scores them."""
    settings.HOME = tmp_path
    tiny.llama(tmp_path / "starter", sharpness=4.0)
    promotion.adopt_starter(project, "starter")
    tiny.llama(tmp_path / "policy", seed=1, sharpness=4.0)
    torch.manual_seed(0)
    scorer = reward_model.new(
        tmp_path / "starter", pooling="last", max_length=128, device=torch.device("cpu")
    )
    torch.nn.init.normal_(scorer.head.weight)  # type: ignore[union-attr, arg-type]
    scorer.save(tmp_path / "reward")
    for kind, state in (("policy", "candidate"), ("reward", "promoted")):
        ModelVersion.objects.create(project=project, kind=kind, number=1, state=state, path=kind)
    scheduler.seen("gpu")


@pytest.fixture
def worker(models: None) -> Iterator[None]:
    """The part of the training worker that answers, as the worker starts it."""
    supervisor.stopping.clear()
    thread = threading.Thread(target=generator_process.answer_until_stopped)
    thread.start()
    yield
    supervisor.stopping.set()
    thread.join()


def problems(page: Page) -> list[str]:
    page.evaluate("for (const d of document.querySelectorAll('main details')) d.open = true")
    return violations(page)


def test_two_models_reply_and_are_scored(
    browse: Callable[..., Page], root: User, worker: None
) -> None:
    page = browse(root, color_scheme="dark", viewport={"width": 360, "height": 740})
    page.goto(URL)
    assert problems(page) == []
    page.get_by_label("Message").fill("Tell me about the parcel.")
    page.get_by_label("Longest reply").fill("24")
    page.get_by_label("Seed").fill("5")  # both write something with it
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_text("The reward is that of reward-1")).to_be_visible(timeout=60_000)
    columns = page.locator("article.column")
    assert [c.locator("h3").inner_text() for c in columns.all()] == ["policy-0", "policy-1"]
    for column in columns.all():
        expect(column.locator(".column-foot")).to_contain_text("reward")
        assert column.locator(".column-text").inner_text().strip()
    assert page.locator("[hx-trigger]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert problems(page) == []
    page.get_by_role("link", name="Go on from here with the reply of policy-1").click()
    expect(page.get_by_role("heading", name="The next turn")).to_be_visible()
    expect(page.locator(".turn-assistant")).to_be_visible()
    expect(page.get_by_label("Message")).to_have_value("")
