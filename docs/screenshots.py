"""Take the screenshots in docs/screenshots: `python docs/screenshots.py LINK [NAME ...]`.

LINK is the sign-in link that `make demo` prints, after a round, a comparison, a question in the
playground and votes of an AI annotator. Without names, all that the project has; the qualification
only where it asks for one, which then hides the label page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
PROJECT = "/projects/support-desk"
PAGES = {
    "home": f"{PROJECT}/",
    "projects": "/projects/",
    "project-new": "/projects/new/",
    "password": "/accounts/password/",
    "label": f"{PROJECT}/label/",
    "diff": f"{PROJECT}/label/?view=diff",
    "guidelines": f"{PROJECT}/guidelines/",
    "qualification": f"{PROJECT}/qualification/",
    "votes": f"{PROJECT}/votes/",
    "me": f"{PROJECT}/me/",
    "quality": f"{PROJECT}/quality/?simulated=1",
    "pair-list": f"{PROJECT}/quality/pairs/?simulated=1",
    "leaderboard": f"{PROJECT}/leaderboard/?simulated=1",
    "annotators": f"{PROJECT}/annotators/?simulated=1",
    "adjudicate": f"{PROJECT}/adjudicate/",
    "checks": f"{PROJECT}/checks/",
    "data": f"{PROJECT}/data/?agreement=split",
    "prompts": f"{PROJECT}/data/?in=prompts",
    "imports": f"{PROJECT}/import/",
    "rounds": f"{PROJECT}/rounds/",
    "schedule": f"{PROJECT}/rounds/schedule/",
    "round-new": f"{PROJECT}/rounds/new/",
    "round": f"{PROJECT}/rounds/1/",
    "active": f"{PROJECT}/active/",
    "ai-annotators": f"{PROJECT}/ai-annotators/",
    "models": f"{PROJECT}/models/",
    "model-add": f"{PROJECT}/models/add/",
    "playground": f"{PROJECT}/playground/?prompt=any",
    "compare": f"{PROJECT}/models/compare/?v=0&v=1",
    "prune": f"{PROJECT}/models/prune/?keep=0",
    "people": f"{PROJECT}/people/",
    "batches": f"{PROJECT}/batches/",
    "settings": f"{PROJECT}/settings/",
    "webhooks": f"{PROJECT}/webhooks/",
    "audit": f"{PROJECT}/audit/",
    "tokens": "/accounts/tokens/",
    "completions": f"{PROJECT}/completions/",
    "export": f"{PROJECT}/export/",
}
BEHIND = {
    "annotator": ("annotators", "th a[href*='/annotators/']"),
    "batch": ("batches", "th a[href*='/batches/']"),
    "ai-annotator": ("ai-annotators", "th a[href*='/ai-annotators/']"),
    "model": ("models", "th a[href*='/models/']"),
    "import": ("imports", "th a[href*='/import/']"),
    "version": ("export", "a[href*='/versions/']"),
    "prompt": ("prompts", "th a[href*='/prompts/']"),
    "pair": ("data", "a[href*='/pairs/']"),
    "trial": ("playground", ".recent a[href*='/playground/']"),
    "question": ("qualification", "main a[href*='/qualification/']"),
}
"""Pages without an address of their own: the first such link on another page."""
SIGNED_OUT = {"landing": "/", "sign-in": "/accounts/login/"}
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def shoot(
    browser: Browser,
    address: str,
    state: dict[str, object],
    size: str,
    scheme: str,
    names: Sequence[str],
) -> None:
    context = browser.new_context(
        viewport=SIZES[size],  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        storage_state=state,  # type: ignore[arg-type]
    )
    page = context.new_page()
    for name in names or [*PAGES, *BEHIND, *SIGNED_OUT]:
        if name in SIGNED_OUT:
            context.clear_cookies()
        if opened(page, address, name):
            page.wait_for_timeout(300)
            page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png")
    context.close()


def opened(page: Page, address: str, name: str) -> bool:
    """Go to a page; whether the project has it."""
    start, link = BEHIND.get(name, (name, ""))
    answer = page.goto(address + (PAGES | SIGNED_OUT)[start])
    if answer is not None and answer.ok and link:
        answer = page.goto(address + str(page.locator(link).first.get_attribute("href")))
    return answer is not None and answer.ok


def main(link: str, *names: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    parts = urlsplit(link)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        context = browser.new_context()
        context.new_page().goto(link)
        state = context.storage_state()
        for size in SIZES:
            for scheme in ("light", "dark"):
                shoot(browser, f"{parts.scheme}://{parts.netloc}", dict(state), size, scheme, names)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
