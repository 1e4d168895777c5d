"""Record docs/loop.gif, the README's animation: `python docs/animation.py LINK`.

LINK is the sign-in link that `make demo` prints, of a project whose votes suffice for its first
round. The script votes, watches the round (and starts it, where it has not started by itself),
then reads replies before and after: what is seen happened so, without the waiting. Needs Pillow.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageChops
from playwright.sync_api import Page, sync_playwright

FILE = Path(__file__).parent / "loop.gif"
PROJECT = "/projects/support-desk"
VIEW, CAPTION = {"width": 1200, "height": 772}, 64
SEEN = {"x": 0, "y": 0, "width": 1185, "height": 772}
"""The page without the gutter that is kept for a scroll bar."""
WIDTH = 900
COLOURS = 128
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
MOST_OF_A_ROUND = 9
"""Frames of a round: its stages, however long they took."""
CAPTIONS = (
    ("1", "People vote: one key per pair, saved at once"),
    ("2", "A round learns from the votes"),
    ("3", "The new model’s replies, beside the old ones"),
)
READING_MS = (1600, 1200, 900)
"""The time that each pair is read before its vote."""
KIND = re.compile("sorry|thank|happy", re.IGNORECASE)
# Written by its properties: the pages' policy allows no style sheet of a stranger.
DRAW = """([number, words, height]) => {
    document.querySelector("#caption")?.remove();
    const bar = document.body.appendChild(document.createElement("div"));
    bar.id = "caption";
    Object.assign(bar.style, {
        position: "fixed", inset: "auto 0 0", zIndex: 99, height: `${height}px`,
        display: "flex", alignItems: "center", gap: "16px", padding: "0 24px",
        background: "#1b1c1e", color: "#fff", font: "600 24px var(--font)",
    });
    const mark = bar.appendChild(document.createElement("span"));
    Object.assign(mark.style, {
        display: "grid", placeItems: "center", width: "34px", height: "34px",
        borderRadius: "50%", background: "#8cc4ec", color: "#0d1b26",
    });
    mark.textContent = number;
    bar.append(words);
}"""


class Reel:
    """Frames with the time each is shown, in milliseconds; a frame like the last prolongs it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def take(self, chapter: int, ms: int) -> bool:
        """One frame with the caption of its chapter; whether it differs from the last."""
        self.page.evaluate(DRAW, [*CAPTIONS[chapter], CAPTION])
        frame = Image.open(io.BytesIO(self.page.screenshot(clip=SEEN))).convert("RGB")
        frame = frame.resize((WIDTH, frame.height * WIDTH // frame.width), Image.Resampling.LANCZOS)
        if self.frames and not ImageChops.difference(self.frames[-1], frame).getbbox():
            self.times[-1] += ms
            return False
        self.frames.append(frame)
        self.times.append(ms)
        return True

    def thin(self, since: int, most: int) -> None:
        """Keep `most` of the frames from `since` on, evenly."""
        later = range(since, len(self.frames))
        if len(later) <= most:
            return
        kept = [*range(since), *(later[i * (len(later) - 1) // (most - 1)] for i in range(most))]
        self.frames = [self.frames[i] for i in kept]
        self.times = [self.times[i] for i in kept]

    def save(self, file: Path) -> None:
        # One palette for all: what does not change between two frames is then not written again.
        height = self.frames[0].height
        sheet = Image.new("RGB", (WIDTH, height * len(self.frames)))
        for place, frame in enumerate(self.frames):
            sheet.paste(frame, (0, place * height))
        palette = sheet.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
        drawn = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in self.frames]
        times = [*self.times[:-1], self.times[-1] + 2000]
        drawn[0].save(file, save_all=True, append_images=drawn[1:], duration=times, loop=0)


def better(page: Page) -> str:
    """The key of the reply that a customer would rather have, as far as a script can tell."""
    replies = page.locator(".reply .prose").all_inner_texts()
    worth = [(bool(KIND.search(text)), len(text)) for text in replies]
    return "2" if worth[0] >= worth[1] else "6"


def vote(reel: Reel) -> None:
    """Three votes: the pointer shows the side that lights up, the key casts the vote."""
    page = reel.page
    for ms in READING_MS:
        key = better(page)
        page.mouse.move(2, 2)
        reel.take(0, ms)
        page.locator(f"button.point[data-key~='{key}']").hover()
        page.wait_for_timeout(200)
        reel.take(0, 600)
        before = page.locator("#screen").get_attribute("data-token")
        page.mouse.move(2, 2)
        page.wait_for_timeout(500)
        page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('#screen').dataset.token !== before", arg=before
        )
        page.wait_for_timeout(400)
    reel.take(0, 1200)


def train(reel: Reel) -> None:
    """A round from its button to its result."""
    page = reel.page
    reel.take(1, 1500)
    live = page.locator("tbody a[href$='/rounds/1/']")
    if not live.count():
        page.locator("#start").click()
        page.get_by_role("button", name="Start the round").click()
    page.goto(f"{page.url.partition('/rounds/')[0]}/rounds/1/")
    page.locator("#progress").wait_for()
    since = len(reel.frames)
    while page.locator("#progress .chip").first.inner_text() not in ("Done", "Failed"):
        reel.take(1, 350)
        page.wait_for_timeout(2500)
    reel.thin(since, MOST_OF_A_ROUND)
    page.reload()
    reel.take(1, 900)
    page.evaluate("document.querySelector('#result-title').scrollIntoView()")
    reel.take(1, 2000)


def read(reel: Reel) -> None:
    """Replies to prompts that nobody voted on, before and after."""
    reel.page.evaluate("document.querySelector('#samples-title').scrollIntoView()")
    reel.take(2, 3500)
    reel.page.mouse.wheel(0, 420)
    reel.page.wait_for_timeout(300)
    reel.take(2, 3000)


def main(link: str) -> None:
    parts = urlsplit(link)
    address = f"{parts.scheme}://{parts.netloc}{PROJECT}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_context(viewport=VIEW, color_scheme="light").new_page()  # type: ignore[arg-type]
        page.goto(link)
        reel = Reel(page)
        page.goto(f"{address}/label/")
        page.wait_for_load_state("networkidle")
        vote(reel)
        page.goto(f"{address}/rounds/")
        train(reel)
        read(reel)
        reel.save(FILE)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
