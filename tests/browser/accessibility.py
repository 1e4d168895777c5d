"""What axe finds wrong with a page."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

COLOURS = ("color-contrast", "link-in-text-block")
"""Those of axe's rules that look at colours."""


def violations(page: Page, *rules: str) -> list[str]:
    """Of these rules, or of all that axe has on by default."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in Axe().run(page, options=options).response["violations"]
        for node in rule["nodes"]
    ]


WIDTHS = (2560, 1280, 640, 360, 320)
"""Of windows, in CSS pixels; 640 and 320 are 1,280 at a zoom of 200 % and of 400 %."""
SCHEMES: tuple[dict[str, Any], ...] = (
    {"color_scheme": "light", "forced_colors": "none"},
    {"color_scheme": "dark", "forced_colors": "none"},
    {"color_scheme": "light", "forced_colors": "active"},
)


def problems(page: Page) -> list[str]:
    """What is wrong with a page in light and dark, and the widths at which it scrolls sideways."""
    before = page.viewport_size
    found = violations_in_both_schemes(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"scrolls sideways at {width}: it is {wide} wide")
    if before:
        page.set_viewport_size(before)
    return found


def problems_in_every_form(page: Page) -> list[str]:
    """The same with all of axe's rules at every width, in light, dark and forced colours."""
    found = problems(page)
    for scheme in SCHEMES:
        page.emulate_media(reduced_motion="reduce", **scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            found += [f"{width} {scheme}: {one}" for one in violations(page)]
    page.emulate_media(**SCHEMES[0])
    return found


def violations_in_both_schemes(page: Page) -> list[str]:
    """In light, and of the same page in dark, where nothing but colours can differ."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    found = violations(page)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return found + violations(page, *COLOURS)


def with_all_unfolded(page: Page) -> None:
    """Opens every fold of the page's own part, so that what lies in them is looked at too."""
    page.evaluate("for (const d of document.querySelectorAll('main details')) d.open = true")
