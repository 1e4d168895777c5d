"""A real browser against a live server. Whatever it writes to the console is a failure."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.__main__ import CHROMIUM
from tests.annotate.jobs.files import work_off
from training.models import Run
from training.runs import supervisor
from training.worker import scheduler, tasks

WITHOUT = [
    # Pages of the browser's own in every window, which took a third of the tests' time.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
    # And what Playwright switches off by the same option, of which the last one counts.
    *("AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync"),
    *("DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades"),
    *("LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints"),
    *("PaintHolding", "PreconnectToSearch", "ThirdPartyStoragePartitioning"),
]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=" + ",".join(WITHOUT),
]
# As long as Playwright waits for everything else: what passes is not waited for, however slow.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        missing = f"The browser tests need one of {', '.join(CHROMIUM)}"
        if os.environ.get("PAIRLOOP_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    # Playwright's loop runs in this thread; Django would refuse the tests' own queries.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def console() -> Iterator[list[str]]:
    """What pages wrote to their consoles; a test that provokes a line takes it out."""
    lines: list[str] = []
    yield lines
    assert lines == []


@pytest.fixture
def browse(
    chromium: Browser, live_server: LiveServer, console: list[str]
) -> Iterator[Callable[..., Page]]:
    """browse(user=None, **context options): a page in a browser of its own, signed in as user."""
    contexts: list[BrowserContext] = []

    def make(user: User | None = None, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = chromium.new_context(base_url=live_server.url, **options)
        # Time runs as ever, and a test can turn it forward instead of waiting.
        context.clock.install()
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: console.append(str(error)))
        page.on("console", lambda line: _note(console, line.type, line.text))
        return page

    yield make
    for context in contexts:
        context.close()


def _note(console: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        console.append(text)


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """Both workers in a thread, without a queue: they look for jobs and runs that wait."""
    settings.HOME, settings.MIN_FREE_GB = tmp_path, 0.0
    supervisor.stopping.clear()
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.1):
            work_off()
            for pk in Run.objects.filter(state="queued").values_list("pk", flat=True):
                tasks.supervise(pk)
        connections.close_all()

    scheduler.seen("gpu")
    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    supervisor.stopping.set()
    thread.join()
    supervisor.stopping.clear()
