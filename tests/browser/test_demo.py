"""`make demo` as a newcomer meets it: from nothing to a policy changed by votes.

`make test` trains the starter on a quarter of its texts and asks for fewer updates in the form;
`make test-long` trains all of it, with what the sample's preset says.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).resolve().parent.parent.parent
SHORTER_STARTER = ROOT / "tests" / "training" / "shorter_starter.py"
ROUND_MS = 1_800_000
FEW_UPDATES = 12
"""Of 32: four fifths of what the judge gives for all of them."""


class Demo:
    """A running `manage.py demo` with a home of its own."""

    def __init__(self, home: Path, *, whole: bool) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.output = home.with_suffix(".log")
        self.environment = os.environ | {"PAIRLOOP_HOME": str(home), "PORT": str(self.port)}
        self.environment |= {"DATABASE_URL": "", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        if not whole:
            self.environment["PAIRLOOP_LAUNCHER"] = f"{sys.executable} {SHORTER_STARTER}"
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def sign_in_link(self) -> str:
        """Wait until the demo is up and return the link it prints."""
        deadline = time.monotonic() + ROUND_MS / 1000
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(rf"{self.address}/accounts/enter/\S+", self.output.read_text())
            if found:
                return found.group()
            time.sleep(0.2)
        pytest.fail(f"the demo did not come up:\n{self.output.read_text()}")

    def status(self) -> dict[str, Any]:
        """The answer of `manage.py status` on the sample project."""
        command = [sys.executable, "manage.py", "status", "--project", "support-desk", "--json"]
        said = subprocess.run(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, check=True
        )
        return dict(json.loads(said.stdout))

    def stop(self) -> None:
        """What Ctrl-C in a terminal does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(120)


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that work in this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if f"PAIRLOOP_HOME={home}".encode() in environment and command:
            found.append(command)
    return found


@pytest.fixture(
    params=[False, pytest.param(True, marks=pytest.mark.long)], ids=["shorter", "whole"]
)
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether all of the sample's training is done."""
    return bool(request.param)


@pytest.fixture
def demo(tmp_path: Path, whole: bool) -> Iterator[Callable[[], Demo]]:
    started: list[Demo] = []

    def start() -> Demo:
        started.append(Demo(tmp_path / "home", whole=whole))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def vote(page: Page, key: str) -> None:
    before = page.locator("#screen").get_attribute("data-token") or ""
    page.wait_for_timeout(200)
    page.keyboard.press(key)
    expect(page.locator("#screen")).not_to_have_attribute("data-token", before)


@pytest.mark.early
def test_a_newcomer_votes_closes_the_loop_and_sees_pairs_of_the_new_policy(
    demo: Callable[[], Demo], chromium: Browser, tmp_path: Path, whole: bool
) -> None:
    running = demo()
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(running.sign_in_link())
    page.goto(f"{running.address}/projects/support-desk/label/")
    expect(page.locator("article")).to_have_count(2)
    for key in ("2", "6", "4", "8"):
        vote(page, key)
    before = page.locator("#screen").get_attribute("data-token") or ""
    page.wait_for_timeout(200)
    page.keyboard.press("u")
    expect(page.locator("#screen")).not_to_have_attribute("data-token", before)

    page.goto(f"{running.address}/projects/support-desk/rounds/")
    page.get_by_role("button", name="Ask them").click()
    start = page.get_by_role("link", name="Start a round")
    expect(start).to_be_visible(timeout=ROUND_MS)
    start.click()
    if not whole:
        page.get_by_text("Settings in detail").click()
        page.locator("[name='ppo.updates']").fill(str(FEW_UPDATES))
    page.get_by_role("button", name="Start the round").click()
    row = page.get_by_role("row", name=re.compile("Round 1"))
    expect(row).to_contain_text("Done", timeout=ROUND_MS)
    row.get_by_role("link", name="Round 1").click()
    expect(
        page.get_by_role("heading", name=re.compile("before and after", re.IGNORECASE))
    ).to_be_visible()

    page.goto(f"{running.address}/projects/support-desk/data/")
    expect(page.locator("main")).to_contain_text("round-1")
    running.stop()
    assert running.process.returncode == 0
    assert processes_of(tmp_path / "home") == []
    (turn,) = running.status()["rounds"]
    assert turn["metrics"]["train_policy"]["updates"] == (32 if whole else FEW_UPDATES)
    assert turn["metrics"]["train_reward"]["accuracy"] > 0.6
    assert turn["metrics"]["evaluate"]["win_rate"] > 0.5

    again = demo()
    asked = time.monotonic()
    page.goto(again.sign_in_link())
    print(f"second start: {time.monotonic() - asked:.1f} s")
    page.goto(f"{again.address}/projects/support-desk/label/")
    expect(page.locator("article")).to_have_count(2)
