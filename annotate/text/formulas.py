r"""Find the formulas in a model's Markdown: `$…$`, `$$…$$`, `\(…\)` and `\[…\]`.

The rules write each formula's source, escaped, as <code>. Only when the page's own sanitiser
has passed does `typeset` put MathML in the place of those sources, so that no list has to
allow both. What cannot be typeset stays what it was: the source.

Not mdit-py-plugins: its dollarmath misses a formula at the start of a text that ends with a
digit, and its texmath needs time quadratic in the number of brackets.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from annotate.text.mathml import MAX_CHARACTERS, mathml

MAX_CHARACTERS_PER_TEXT = 8_000
"""Of all formulas together, which take 0.4 s at most; what comes behind them stays source."""
WIDE = 15
"""Characters of a formula that fit a reply on the narrowest screen (320 px), however wide."""

CLASS = "latex"
SOURCE = re.compile(f'<code dir="ltr"><span class="{CLASS}">(.*?)</span></code>', re.DOTALL)
CLOSINGS = {"$$": "$$", r"\[": r"\]", r"\(": r"\)", "$": "$"}
DISPLAYED = ("$$", r"\[")


def plug_in(markdown: MarkdownIt) -> None:
    """Plug the rules into `markdown`."""
    interrupts = RuleOptionsType(alt=["paragraph", "reference", "blockquote", "list"])
    markdown.block.ruler.before("fence", "formula_block", _read_block, interrupts)
    markdown.inline.ruler.before("escape", "formula", _read_inline)
    markdown.add_render_rule("formula", _render_source)
    markdown.add_render_rule("formula_block", _render_source_block)


def typeset(html: str) -> str:
    """Sanitised HTML with MathML in the place of the formulas' sources."""
    left = MAX_CHARACTERS_PER_TEXT

    def replace(match: re.Match[str]) -> str:
        nonlocal left
        source = unescape(match[1])
        left -= len(source)
        return (_typeset(source) if left >= 0 else None) or match[0]

    return SOURCE.sub(replace, html)


def _typeset(source: str) -> str | None:
    opening = _opening(source, 0)
    displayed = opening in DISPLAYED
    formula = mathml(source[len(opening) : -len(opening)].strip(), displayed=displayed)
    if formula is None:
        return None
    classes = "formula formula-displayed" if displayed else "formula"
    # What may have to be scrolled must be reachable by keyboard.
    wide = formula.characters > WIDE
    focus = ' tabindex="0" role="group" aria-label="Formula"' if wide else ""
    return f'<span class="{classes}"{focus}>{formula.html}</span>'


def _opening(text: str, start: int) -> str:
    """The delimiter that stands at `start`; the empty text where none does."""
    return next((opening for opening in CLOSINGS if text.startswith(opening, start)), "")


def _end(text: str, start: int, limit: int) -> int:
    """The index behind the formula that begins at `start`; -1 where none does."""
    opening = _opening(text, start)
    if not opening:
        return -1
    closing = CLOSINGS[opening]
    inside = start + len(opening)
    limit = min(limit, inside + MAX_CHARACTERS + len(closing))
    at = text.find(closing, inside, limit)
    while closing[0] == "$" and at > 0 and _escaped(text, at):
        at = text.find(closing, at + 1, limit)
    content = text[inside:at]
    if at < 0 or not content.strip() or "\n\n" in content:
        return -1
    end = at + len(closing)
    if opening == "$" and (content.strip() != content or text[end : end + 1].isdigit()):
        return -1  # "$5 and $10" is money.
    return end


def _escaped(text: str, at: int) -> bool:
    backslashes = 0
    while text[at - backslashes - 1] == "\\":
        backslashes += 1
    return backslashes % 2 == 1


def _read_inline(state: StateInline, silent: bool) -> bool:
    end = _end(state.src, state.pos, state.posMax)
    # A formula never ends within code, nor does code within a formula.
    if end < 0 or "`" in state.src[state.pos : end]:
        return False
    if not silent:
        state.push("formula", "code", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _read_block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    r"""Formulas that begin a line and end one: `-` or `=` in between make no list or heading."""
    start = state.bMarks[first] + state.tShift[first]
    if state.is_code_block(first) or _opening(state.src, start) not in DISPLAYED:
        return False
    end = _end(state.src, start, state.eMarks[last - 1])
    if end < 0:
        return False
    line = next(n for n in range(first, last) if end <= state.eMarks[n])
    inside = range(first + 1, line + 1)
    outdented = any(state.sCount[n] < state.blkIndent for n in inside)
    if outdented or state.src[end : state.eMarks[line]].strip():
        return False
    if silent:
        return True
    # Without the marks of the quotes and lists that it stands in.
    token = state.push("formula_block", "p", 0)
    token.content = state.getLines(first, line + 1, state.blkIndent, False).strip()
    token.map = [first, line + 1]
    state.line = line + 1
    return True


def _render_source(_renderer: Any, tokens: list[Token], index: int, *_: Any) -> str:
    return f'<code><span class="{CLASS}">{escape(tokens[index].content)}</span></code>'


def _render_source_block(renderer: Any, tokens: list[Token], index: int, *rest: Any) -> str:
    return f"<p>{_render_source(renderer, tokens, index, *rest)}</p>\n"
