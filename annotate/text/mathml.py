"""One formula: LaTeX to MathML that is safe to show, or nothing where that cannot be done well.

latex2mathml reads the LaTeX. Around it: bounds, because the LaTeX is hostile until proven
otherwise; corrections, where browsers would show its MathML otherwise than TeX does (they follow
MathML Core, which lays out far less than MathML 3); and an allow-list sanitiser.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

import nh3
from latex2mathml.commands import DIACRITICS, FUNCTIONS, LIMIT
from latex2mathml.converter import MOVABLE_LIMIT_TEXTS, Converter

MAX_CHARACTERS = 2_000
"""latex2mathml takes up to 20 µs for each."""
MAX_DEPTH = 40
"""Elements within each other. Formulas that people write reach about fifteen."""

# Definitions can grow without bounds. The others would hide text, bring in characters that
# markup.reveal has not seen, or need attributes that the allow-list does not have.
REFUSED = re.compile(
    r"&\#|\\(?:def|newcommand|newenvironment|DeclareMathOperator|unicode|href|class|style|rule)"
    r"(?![a-zA-Z])"
)
ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([a-zA-Z]+\*?)\}")
# Several that latex2mathml would write as one single row have a twin that it lays out.
ENVIRONMENTS = {
    **{name: name for name in ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix")},
    **{name: name for name in ("smallmatrix", "array", "cases", "split")},
    **dict.fromkeys(("align", "align*", "aligned", "eqnarray", "eqnarray*"), "align*"),
    **dict.fromkeys(("equation", "equation*", "gather", "gather*", "gathered"), "displaylines"),
    **dict.fromkeys(("multline", "multline*"), "displaylines"),
    "dcases": "cases",
}
# What has no meaning without a whole document, what latex2mathml lacks, and the percent sign,
# which would hide the rest of its line; a backslash and its sign are passed over.
REWRITE = re.compile(r"\\(?:nonumber|notag|arg)(?![a-zA-Z])|\\label\{[^{}]*\}|\\[\\%]|%")
REWRITTEN = {r"\arg": r"\operatorname{arg}", r"\\": r"\\", r"\%": r"\%", "%": r"\%"}

ENTITY = re.compile("&#x([0-9a-fA-F]+);")
UPRIGHT_LETTER = re.compile("&#x000(?:4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A]);")
UNKNOWN_COMMAND = re.compile(r"\\[a-zA-Z]|^&$")
CHILDREN = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
WITH_LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
SCRIPTED = {*WITH_LIMITS, *WITH_LIMITS.values()}


def _decoded(text: str) -> str:
    return ENTITY.sub(lambda match: chr(int(match[1], 16)), text)


# Signs that latex2mathml takes for letters, and letters that it takes for operators.
OPERATORS = {"~": "∼", **{sign: sign for sign in "±∓⟂⟵⟶⟷⟸⟹⟺⟼⨿◯△▽⊲⊳"}}
LETTERS = set("∞∅∎")
BARS = ("|", "‖", "")
LARGE = set("∏∐∑⋀⋁⋂⋃⨀⨁⨂⨄⨆")
ACCENTS = {_decoded(text) for text, _ in DIACRITICS.values()} - set("⏞⏟⎴⎵⏜⏝")
NAMES_WITH_LIMITS = {name[1:] for name in LIMIT} | {"argmax", "argmin"}
NAMES_WITH_LIMITS |= {_decoded(text) for text in MOVABLE_LIMIT_TEXTS.values() if text[0] != "&"}
NAMES = NAMES_WITH_LIMITS | {name[1:] for name in FUNCTIONS}
TAKING_LIMITS = LARGE | NAMES_WITH_LIMITS

KEYWORD = re.compile("[a-z-]{1,20}|[0-2]")
LENGTH = re.compile(r"[+-]?(?:\d?(?:\.\d+)?(?:em|ex)|\d{0,2}(?:\.\d+)?(?:pt|px)|0)|-0\.5width")
LENGTHS = {
    "mo": {"lspace", "rspace", "minsize", "maxsize"},
    "mspace": {"width"},
    "mpadded": {"width", "height", "depth", "lspace", "voffset"},
    "mfrac": {"linethickness"},
}
KEYWORDS = {
    "mo": {"mathvariant", "stretchy", "fence", "form", "separator", "movablelimits", "largeop"},
    **{tag: {"mathvariant"} for tag in ("mi", "mn", "mtext")},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"displaystyle"},
    "mtd": {"columnalign"},
    "mover": {"accent"},
    "munder": {"accentunder"},
    "math": {"display"},
}
ATTRIBUTES = {tag: LENGTHS.get(tag, set()) | KEYWORDS.get(tag, set()) for tag in LENGTHS | KEYWORDS}
ATTRIBUTES["math"].add("alttext")
TAGS = {*ATTRIBUTES, *CHILDREN, "mrow", "msqrt", "mphantom", "mtr"}
ENCLOSURES = {"box", "updiagonalstrike", "downdiagonalstrike", "horizontalstrike"}


class Formula(NamedTuple):
    """A <math> element with its source in alttext, and how many characters it shows."""

    html: str
    characters: int


def mathml(latex: str, *, displayed: bool) -> Formula | None:
    """None where `latex` is too long, too deep, defines commands or is not understood in full."""
    if len(latex) > MAX_CHARACTERS or REFUSED.search(latex):
        return None
    display = "block" if displayed else "inline"
    try:
        tree = Converter(display=display).convert_to_element(_rewritten(latex))
        corrected = _depth(tree) <= MAX_DEPTH and _corrected(tree)
    except Exception:  # noqa: BLE001 - malformed LaTeX ends in whatever the parser stumbles over
        return None
    if not corrected:
        return None
    tree.set("alttext", latex)
    html = nh3.clean(
        tostring(tree, encoding="unicode"),
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_harmless,
        allowed_classes={"mrow": ENCLOSURES},
        clean_content_tags=set(),
        link_rel=None,
    )
    return Formula(html, sum(len(element.text or "") for element in tree.iter()))


def _harmless(tag: str, attribute: str, value: str) -> str | None:
    """Lengths that stay near the formula, keywords, and the source."""
    if attribute in ("alttext", "class"):
        return value
    pattern = LENGTH if attribute in LENGTHS.get(tag, set()) else KEYWORD
    return value if pattern.fullmatch(value) else None


def _rewritten(latex: str) -> str:
    """The LaTeX in the words that latex2mathml understands.

    Raises KeyError for an unknown environment, which it would write as its bare content.
    """
    latex = REWRITE.sub(lambda match: REWRITTEN.get(match[0], ""), latex)

    def braced(match: re.Match[str]) -> str:
        # In braces a matrix with its brackets is one thing, which can have an exponent.
        begins = match[1] == "begin"
        command = f"\\{match[1]}{{{ENVIRONMENTS[match[2]]}}}"
        return "{" + command if begins else command + "}"

    return ENVIRONMENT.sub(braced, latex)


def _depth(element: Element) -> int:
    return 1 + max(map(_depth, element), default=0)


def _corrected(tree: Element) -> bool:
    """Bring the tree into the shape that browsers lay out; False where it cannot be right."""
    for element in tree.iter():
        raw = element.text or ""
        if element.tag == "mi" and UPRIGHT_LETTER.fullmatch(raw):
            element.set("mathvariant", "normal")
        element.text = _decoded(raw)
        unknown = element.tag != "mtext" and UNKNOWN_COMMAND.search(element.text)
        # A line feed outside a table has no place, nor has a second operand too many.
        if unknown or "linebreak" in element.attrib:
            return False
        if len(element) != CHILDREN.get(element.tag, len(element)):
            return False
    for element in tree.iter():
        _correct(element)
    for element in tree.iter():
        _space_names(element)
    return True


def _correct(element: Element) -> None:
    core = _core(element)
    if element.tag == "mi" and element.text in OPERATORS:
        element.tag, element.text = "mo", OPERATORS[element.text]
    elif element.tag == "mo" and element.text in LETTERS:
        element.tag = "mi"
    elif element.tag == "mo" and element.text in BARS:
        element.attrib.update(lspace="0em", rspace="0em")
    elif element.tag == "menclose":
        element.tag = "mrow"
        element.set("class", element.attrib.pop("notation"))
    elif element.tag in WITH_LIMITS and core.tag == "mo" and core.text in TAKING_LIMITS:
        element.tag = WITH_LIMITS[element.tag]
        core.set("movablelimits", "true")
    elif element.tag in ("mover", "munder") and element[1].text in ACCENTS:
        element.set("accent" if element.tag == "mover" else "accentunder", "true")


def _core(element: Element) -> Element:
    """The operator or name that the scripts stand at."""
    while element.tag in SCRIPTED and len(element):
        element = element[0]
    return element


def _space_names(row: Element) -> None:
    """Thin spaces around log, sin and max, as TeX sets them; none before a parenthesis."""
    if row.tag in CHILDREN:
        return  # Neighbours there stand above each other.
    children = list(row)
    for before, child, after in zip(
        [None, *children], children, [*children[1:], None], strict=False
    ):
        core = _core(child)
        named = core.tag == "mo" and core.text != "mod" and (core.text or "").isalpha()
        if not named and (core.tag == "mtext" or core.text not in NAMES):
            continue
        core.tag = "mo"
        operand = before is not None and before.tag != "mo"
        bare = after is not None and not (after.text or "").startswith(("(", "["))
        core.set("lspace", "0.167em" if operand else "0em")
        core.set("rspace", "0.167em" if bare else "0em")
