"""From the key to the next pair: a browser votes by keyboard against a real server.

`python -m benchmarks interaction [--votes=100] [--think=400] [--criteria=0]`, on SQLite in a
temporary home. The time runs in the page, from the key's event to the second animation frame after
the next pair is in place, the first that is sure to have been painted. With criteria each is
answered by a key first, and the time runs from the key of the overall vote. `think` is the pause
before each key in milliseconds: keys right after a change are ignored, as they are for people.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.result import Result
from benchmarks.votes import SETUP, SLUG, free_port, served, shell

PASSWORD = "a pass phrase of the benchmark"
SIGN_UP = f"""
from django.contrib.auth.models import User
user = User.objects.get(username="load-0")
user.set_password({PASSWORD!r})
user.save()
print("done")
"""
COMPARE = """
import sys
from annotate.models import Project
Project.objects.update(criteria=["Helpful", "Correct", "Kind"][: int(sys.argv[1])])
print("done")
"""
CHROMIUM = "/usr/bin/chromium"
# Each key's milliseconds, in window.times.
CLOCK = """
window.times = [];
let pressed = 0;
document.addEventListener("keydown", () => { pressed = performance.now(); }, { capture: true });
document.addEventListener("pairloop:arrived", () => requestAnimationFrame(() =>
  requestAnimationFrame(() => window.times.push(performance.now() - pressed))));
"""
SAVED = "() => document.getElementById('state').textContent.includes('✓')"


def vote(page: Any, votes: int, think: int, criteria: int) -> list[float]:
    """Vote by keyboard, each next key after a pause once the vote before is saved."""
    for number in range(votes):
        for criterion in range(criteria):
            page.wait_for_timeout(think)
            page.keyboard.press("1234567"[(number + criterion) % 7])
        page.wait_for_timeout(think)
        page.keyboard.press("1234567"[number % 7])
        page.wait_for_function(f"() => window.times.length > {number}")
        page.wait_for_function(SAVED)
    return list(page.evaluate("window.times"))


def measure(
    address: str, votes: int, think: int, criteria: int
) -> tuple[list[float], float, float]:
    """The times, the bytes of the first load, and the bytes of each vote."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{address}/accounts/login/")
        page.get_by_label("Username").fill("load-0")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state("networkidle")
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.send("Network.setCacheDisabled", {"cacheDisabled": True})
        loaded: list[float] = []
        network.on("Network.loadingFinished", lambda e: loaded.append(e["encodedDataLength"]))
        page.add_init_script(CLOCK)
        page.goto(f"{address}/projects/{SLUG}/label/")
        # Without the next pair, which is fetched once the page has settled.
        first = sum(loaded)
        page.wait_for_load_state("networkidle")
        loaded.clear()
        times = vote(page, votes, think, criteria)
        page.wait_for_load_state("networkidle")
        browser.close()
    return times, first, sum(loaded) / votes


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    votes, think = int(options.get("votes", 100)), int(options.get("think", 400))
    criteria = int(options.get("criteria", 0))
    port = free_port()
    with served("", port) as environment:
        shell(SETUP, "1", str(votes + 10), environment=environment)
        shell(SIGN_UP, environment=environment)
        shell(COMPARE, str(criteria), environment=environment)
        times, first, each = measure(f"http://127.0.0.1:{port}", votes, think, criteria)
    figures = {
        "votes": float(len(times)),
        "key_to_next_pair_p50_ms": statistics.median(times),
        "key_to_next_pair_p95_ms": statistics.quantiles(times, n=20)[18],
        "key_to_next_pair_max_ms": max(times),
        "first_load_bytes": first,
        "bytes_per_vote": each,
    }
    return Result(figures=figures)
