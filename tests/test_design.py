"""What docs/design.md says of the look is what the style sheets do."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STYLES = sorted((ROOT / "static/css").glob("*.css"))


def tokens() -> dict[str, str]:
    css = (ROOT / "static/css/tokens.css").read_text("utf-8")
    return dict(re.findall(r"^\s*(--[\w-]+):\s*([^;]+);", css, re.MULTILINE))


def document() -> str:
    return (ROOT / "docs/design.md").read_text("utf-8")


def test_every_token_is_in_the_document_with_its_value_and_every_documented_one_exists() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)` \| `([^`]+)` \|", document(), re.MULTILINE)
    assert len(rows) > 40
    assert dict(rows) == tokens()


def test_style_sheets_use_no_value_that_nothing_sets() -> None:
    css = "".join(path.read_text("utf-8") for path in STYLES)
    # A script sets the prompt's height, which only the page knows.
    known = set(re.findall(r"(--[\w-]+):", css)) | {"--prompt-height"}
    assert set(re.findall(r"var\((--[\w-]+)", css)) <= known


def test_colours_have_a_name() -> None:
    """Black in a mask is no colour, and a code that cameras read is on white paper."""
    for path in STYLES:
        if path.name in ("tokens.css", "code.css"):
            continue
        raw = set(re.findall(r"(?<![\w&])#[0-9a-fA-F]{3,8}\b", path.read_text("utf-8")))
        assert raw <= ({"#fff"} if path.name == "people.css" else {"#000"}), path.name


def test_every_documented_part_is_styled() -> None:
    (table,) = re.findall(r"^\| class \| is \|\n(.*?)\n\n", document(), re.MULTILINE | re.DOTALL)
    css = "".join(path.read_text("utf-8") for path in STYLES)
    named = set(re.findall(r"`\.([\w-]+)`", table))
    assert len(named) > 30
    assert {name for name in named if not re.search(rf"\.{name}\b", css)} == set()
