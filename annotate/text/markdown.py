"""Turn a model's text into HTML that is safe to show.

The text is hostile until proven otherwise. CommonMark with raw HTML switched off, then an
allow-list sanitiser behind it, then the Content-Security-Policy: each alone would do. Formulas
are put in behind the sanitiser and pass through another one (mathml.py).
Nothing but this and the diff calls mark_safe.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, image
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

from annotate.text import formulas

MAX_BYTES = 100_000
CACHED_CHARACTERS = 20_000
MAX_BRACKETS = 4_000
"""Beyond this many, the search for links takes seconds; such a text is shown as it is."""
CUT = f"<p><em>Cut here: the text is longer than {MAX_BYTES // 1000} kB.</em></p>"
LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)

TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li"),
    *("em", "strong", "s", "code", "pre", "span", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
BLOCKS = ("p", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "table")
UNSEEN = "unseen"
CODE_CLASSES = {name for name in STANDARD_TYPES.values() if name}

# Characters that change what is seen without being seen: C0 controls but tab and line feed, C1,
# soft hyphen, joiners and fillers, bidirectional controls, byte-order mark, interlinear
# annotation, supplementary variation selectors and the invisible "tag" alphabet.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
    # Joiners belong to emoji and to Arabic and Indic words, and nowhere else.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def render(text: str) -> SafeString:
    """Return `text`, read as Markdown, as HTML without any active content."""
    if len(text) > CACHED_CHARACTERS:
        return _render(text)
    return _render_cached(text)


def code(text: str, language: str = "") -> SafeString:
    """Return `text` as a block of code, as it is, with the colours of its language."""
    text, cut = capped(text)
    coloured = _highlight(reveal(text), language, "")
    block = f'<pre dir="ltr" tabindex="0"><code>{coloured}</code></pre>'
    if cut:
        block += CUT
    # Escaped by _highlight, whichever way it takes.
    return mark_safe(block)


def reveal(text: str) -> str:
    """Write invisible and direction-changing characters out: U+202E becomes ⟦U+202E⟧."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return INVISIBLE.sub(lambda match: f"⟦U+{ord(match[0]):04X}⟧", text)


def capped(text: str) -> tuple[str, bool]:
    """Cut `text` at 100 kB of UTF-8; the second value says whether anything was cut."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= MAX_BYTES:
        return text, False
    return data[:MAX_BYTES].decode("utf-8", "ignore"), True


def _render(text: str) -> SafeString:
    text, cut = capped(text)
    text = reveal(text)
    plain = text.count("[") > MAX_BRACKETS
    html = nh3.clean(
        f"<pre>{escape(text)}</pre>" if plain else MARKDOWN.render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        allowed_classes={"span": CODE_CLASSES | {formulas.CLASS, UNSEEN}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer ugc",
        tag_attribute_values={block: {"dir": {"auto"}} for block in BLOCKS},
        # A link must not lose the lease; what scrolls must be reachable by keyboard. Code
        # runs from left to right, and does not decide how the text around it runs.
        set_tag_attribute_values={
            "a": {"target": "_blank"},
            "table": {"tabindex": "0"},
            "pre": {"dir": "ltr", "tabindex": "0"},
            "code": {"dir": "ltr"},
        },
        strip_comments=True,
    )
    # Markdown has made characters of entities, which can be invisible ones as well.
    html = formulas.typeset(reveal(html))
    if cut:
        html += CUT
    # Sanitised above, the formulas by an allow-list of their own; what is added is ours.
    return mark_safe(html)


_render_cached = lru_cache(maxsize=512)(_render)


def _highlight(code: str, language: str, _attributes: str) -> str:
    """Pygments spans for a fenced block; classes only, colours are in prose.css."""
    if not language or len(code) > CACHED_CHARACTERS:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language.lower())
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _markdown() -> MarkdownIt:
    # breaks: a chat's single line feeds are meant.
    options = {"html": False, "breaks": True, "maxNesting": 30, "highlight": _highlight}
    markdown = MarkdownIt("commonmark", options)
    markdown.enable(["table", "strikethrough"])
    markdown.use(formulas.plug_in)
    # An image is named and never loaded: no tracking pixel.
    markdown.add_render_rule("image", _name_image)
    markdown.inline.ruler.at("image", _image_of_any_address)
    # A relative link would lead into this very site.
    # Documented as the way to set it.
    markdown.validateLink = lambda url: _names_image() or LINK.match(url) is not None  # type: ignore[method-assign]
    markdown.core.ruler.push("directions", _find_directions)
    markdown.core.ruler.push("headings", _rank_headings)
    return markdown


_naming = threading.local()


def _names_image() -> bool:
    return getattr(_naming, "image", False)


def _image_of_any_address(state: StateInline, silent: bool) -> bool:
    """An image is named whatever its address is, since nothing leads there."""
    _naming.image = True
    try:
        return image(state, silent)
    finally:
        _naming.image = False


def _name_image(
    self: RendererProtocol, tokens: Sequence[Token], place: int, options: Any, env: Any
) -> str:
    """The name of an image, and the address that it would come from, as text."""
    token = tokens[place]
    address = str(token.attrGet("src") or "")
    if address.startswith("data:"):
        address = f"{address[5:].partition(',')[0].partition(';')[0]}, {len(address) // 1000} kB"
    said = [part for part in (token.content, str(token.attrGet("title") or ""), address) if part]
    return f'<span class="{UNSEEN}">Image not shown: {escape(", ".join(said))}</span>'


def _find_directions(state: StateCore) -> None:
    """Every block by itself finds out whether it runs from the left or from the right. Not the
    blocks within it: a list whose items each had a direction would itself have none to find."""
    for token in state.tokens:
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")


def _rank_headings(state: StateCore) -> None:
    """Headings rank below the page's own, from h3 on, and skip no rank, whatever the text does."""
    above: list[str] = []
    for opening, closing in _headings(state.tokens):
        while above and above[-1] >= opening.tag:
            above.pop()
        above.append(opening.tag)
        opening.tag = closing.tag = f"h{min(len(above) + 2, 6)}"


def _headings(tokens: list[Token]) -> Iterator[tuple[Token, Token]]:
    """The opening and closing token of each; its text stands between them as one token."""
    for opening, _, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type == "heading_open":
            yield opening, closing


MARKDOWN = _markdown()
