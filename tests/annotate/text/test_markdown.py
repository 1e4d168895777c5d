"""Models' texts become HTML that can do nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from annotate.text import mathml
from annotate.text.markdown import (
    ATTRIBUTES,
    BLOCKS,
    CODE_CLASSES,
    MAX_BYTES,
    TAGS,
    capped,
    render,
    reveal,
)
from tests.annotate.api.hostile_json import PAYLOADS, documents

CLASSES = {
    "span": CODE_CLASSES | {"latex", "formula", "formula-displayed", "unseen"},
    "mrow": mathml.ENCLOSURES,
}


class Reader(HTMLParser):
    """Collects whatever a browser could act on and the page does not expect."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS | mathml.TAGS:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if not harmless(tag, name, value or ""):
                self.found.append(f"<{tag} {name}={value!r}>")

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.found.append(f"<!{decl}>")

    handle_pi = unknown_decl = handle_decl


def harmless(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("a", "href"):
        return urlsplit(value).scheme in ("http", "https", "mailto")
    if name == "class":
        return set(value.split()) <= CLASSES.get(tag, set())
    fixed = {
        ("span", "tabindex"): "0",
        ("span", "role"): "group",
        ("span", "aria-label"): "Formula",
        ("a", "target"): "_blank",
        ("a", "rel"): "nofollow noopener noreferrer ugc",
        ("table", "tabindex"): "0",
        ("pre", "tabindex"): "0",
        ("pre", "dir"): "ltr",
        ("code", "dir"): "ltr",
        **{(block, "dir"): "auto" for block in BLOCKS},
    }
    if (tag, name) in fixed:
        return value == fixed[tag, name]
    if tag in mathml.TAGS:
        sizes = len(value) < 20 and "%" not in value
        return name in mathml.ATTRIBUTES[tag] and (sizes or name == "alttext")
    return name in ATTRIBUTES.get(tag, set())


def active(html: str) -> list[str]:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader.found


def test_the_reader_notices_active_content() -> None:
    for html in ("<script>", "<img>", "<a href=javascript:x>", "<p onclick=x>", "<p style=x>"):
        assert active(html), html
    assert not active('<p>x <a href="https://a.example">y</a></p>')


def test_no_hostile_text_becomes_active() -> None:
    assert len(PAYLOADS) >= 100
    assert {text: active(render(text)) for text in documents() if active(render(text))} == {}


def test_common_markdown_is_shown_as_meant() -> None:
    html = render("# A\n\n**b** *c* `d`\n\n- e\n\n> f\n\n| g |\n|---|\n| h |\n\n~~i~~")
    for part in (
        '<h3 dir="auto">A',
        "<strong>b",
        "<em>c",
        '<code dir="ltr">d',
        "<li>e",
        "<blockquote ",
        "<td>h",
        "<s>i",
    ):
        assert part in html


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("# a\n\n## b\n\n# c", "343"),
        ("## a\n\n#### b\n\n### c\n\n# d", "3443"),
        ("###### a", "3"),
        ("# a\n\n## b\n\n### c\n\n#### d\n\n##### e", "34566"),
        ("> ## a\n\n- # b", "33"),
    ],
)
def test_headings_rank_below_the_pages_own_and_skip_no_rank(text: str, ranks: str) -> None:
    html = render(text)
    assert "".join(re.findall("<h(.)", html)) == "".join(re.findall("</h(.)", html)) == ranks


def test_single_line_feeds_are_kept() -> None:
    assert "one<br>\ntwo" in render("one\ntwo")


def test_every_block_finds_its_own_direction_and_code_runs_from_the_left() -> None:
    html = render("> - `x` مرحبا\n\n```\nx\n```")
    assert '<blockquote dir="auto">\n<ul>\n<li><code dir="ltr">x</code> مرحبا</li>' in html
    assert re.search(r"<pre [^>]*dir=\"ltr\"[^>]*><code dir=\"ltr\">x", html)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("![a cat](https://a.example/c.png)", "a cat, https://a.example/c.png"),
        ('![](/c.png "A cat")', "A cat, /c.png"),
        ("![x](javascript:alert)", "x, javascript:alert"),
        ("![x](data:image/png;base64," + "A" * 5000 + ")", "x, image/png, 5 kB"),
        ("![<b>][r]\n\n[r]: https://a.example/r.png", "&lt;b&gt;, https://a.example/r.png"),
    ],
)
def test_images_are_named_and_never_loaded_or_linked(text: str, named: str) -> None:
    html = render(text)
    assert f'<span class="unseen">Image not shown: {named}</span>' in html
    assert "<img" not in html and "<a" not in html


def test_links_open_elsewhere_and_pass_nothing_on() -> None:
    html = render("[x](https://a.example)")
    assert 'target="_blank"' in html
    assert 'rel="nofollow noopener noreferrer ugc"' in html


@pytest.mark.parametrize("url", ["/accounts/logout/", "//evil.example", "x", "#main", "https:x"])
def test_links_into_this_site_stay_text(url: str) -> None:
    assert "<a" not in render(f"[x]({url})")


def test_code_is_coloured_by_classes() -> None:
    html = render("```python\ndef f(): return 1\n```")
    assert '<span class="k">def</span>' in html
    assert "style" not in html


def test_code_in_an_unknown_language_is_plain() -> None:
    assert "&lt;b&gt;\n</code></pre>" in render("```klingon\n<b>\n```")


@pytest.mark.parametrize(
    "character",
    ["\u202e", "\u2066", "\u2069", "\u200b", "\u200e", "\ufeff", "\u00ad", "\u0007", "\U000e0041"],
)
def test_invisible_characters_are_written_out(character: str) -> None:
    html = render(f"pay{character}pal")
    assert f"pay⟦U+{ord(character):04X}⟧pal" in html
    assert character not in html


@pytest.mark.parametrize("text", ["👩\u200d👧", "می\u200cخواهم", "क्\u200dष", "a\tb\nc", "❤\ufe0f"])
def test_joiners_that_belong_to_a_script_stay(text: str) -> None:
    assert reveal(text) == text


@pytest.mark.parametrize("text", ["pay\u200dpal", "\u200dx", "x\u200c", "é\u200da"])
def test_joiners_between_latin_letters_are_written_out(text: str) -> None:
    assert "⟦U+200" in reveal(text)


def test_lone_surrogates_do_not_break_the_page() -> None:
    assert "⟦U+D800⟧" in render("a\ud800b")
    assert capped("\ud800" * 40_000)[1]


def test_a_long_text_is_cut_and_says_so() -> None:
    html = render("é" * MAX_BYTES)
    assert "Cut here" in html
    assert len(html.encode()) < MAX_BYTES + 200
    assert "Cut here" not in render("é" * (MAX_BYTES // 2))


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 50_000, ">" * 50_000 + "a", "- " * 40_000, "*a " * 30_000, "`" * 90_000),
        *("![[" * 30_000, "<" * 99_000, "~~" * 40_000, "_a" * 40_000, "[a](<" * 19_000),
        *("```python\n" + "(" * 90_000, "```diff\n" + "a" * 90_000, "|a" * 40_000 + "\n|-"),
        *("1. " * 30_000, "# " * 40_000, "\n> " * 30_000, "&" * 90_000, "[a]: x\n" * 14_000),
    ],
)
def test_pathological_texts_are_rendered(text: str) -> None:
    assert active(render(text)) == []


@pytest.mark.parametrize("entity", ["&#x202e;", "&#8203;", "&zwj;", "&ZeroWidthSpace;"])
def test_invisible_characters_written_as_entities_are_written_out(entity: str) -> None:
    assert "pay⟦U+20" in render(f"pay{entity}pal")


def test_empty_text_is_fine() -> None:
    assert render("") == ""
