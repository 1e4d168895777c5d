"""Take the screenshots in docs/screenshots: `python docs/screenshots.py LINK`.

LINK is the sign-in link that `make demo` prints, after a round has run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
PROJECT = "/projects/support-desk"
PAGES = {
    "label": f"{PROJECT}/label/",
    "quality": f"{PROJECT}/quality/?simulated=1",
    "annotators": f"{PROJECT}/annotators/?simulated=1",
    "leaderboard": f"{PROJECT}/leaderboard/?simulated=1",
    "data": f"{PROJECT}/data/?agreement=split",
    "adjudicate": f"{PROJECT}/adjudicate/",
    "votes": f"{PROJECT}/votes/",
    "checks": f"{PROJECT}/checks/",
    "me": f"{PROJECT}/me/",
    "rounds": f"{PROJECT}/rounds/",
    "round": f"{PROJECT}/rounds/1/",
}
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def shoot(browser: Browser, address: str, state: dict[str, object], size: str, scheme: str) -> None:
    context = browser.new_context(
        viewport=SIZES[size],  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        storage_state=state,  # type: ignore[arg-type]
    )
    page = context.new_page()
    for name, path in PAGES.items():
        page.goto(address + path)
        page.wait_for_timeout(300)
        page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png")
    context.close()


def main(link: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    parts = urlsplit(link)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        context = browser.new_context()
        context.new_page().goto(link)
        state = context.storage_state()
        for size in SIZES:
            for scheme in ("light", "dark"):
                shoot(browser, f"{parts.scheme}://{parts.netloc}", dict(state), size, scheme)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
