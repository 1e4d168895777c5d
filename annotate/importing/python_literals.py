"""Lists and objects as Python and numpy print them, which pandas leaves in the cells of a CSV."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

TOKEN = re.compile(r"""('[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")|[^'"]++""")
"""A text or what stands between; with steps back it would take a hundred bytes for each letter."""
ARRAY = re.compile(r"\barray\(|, *dtype=object\)")
NAMES = {"None": "null", "True": "true", "False": "false", "nan": "null"}
NAME = re.compile(r"\b(?:None|True|False|nan)\b")
APART = re.compile(r"([}\]])\s+(?=[{\[])")
"""A gap in which numpy prints no comma."""
LONGEST = 2_000_000
"""Characters that are read: of short texts each costs as much memory as thirty."""


def parsed(text: str) -> Any:
    """The value that a text prints. Raises ValueError; it is read in one pass and never run."""
    if len(text) > LONGEST:
        raise ValueError("too long")
    parts, place, after_text = list[str](), 0, False
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError("a quote is opened and never closed")
        if match[1]:
            parts.append(json.dumps(_text(match[1])))
        else:
            parts.append("," if after_text and _is_between_texts(text, match) else _json(match[0]))
        place, after_text = match.end(), bool(match[1])
    return json.loads("".join(parts))


def _text(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        return str(ast.literal_eval(token))
    except SyntaxError as error:
        raise ValueError(str(error)) from error


def _is_between_texts(text: str, match: re.Match[str]) -> bool:
    return match[0].isspace() and match.end() < len(text)


def _json(outside: str) -> str:
    """A piece between texts, as JSON has it."""
    outside = ARRAY.sub("", outside)
    return NAME.sub(lambda name: NAMES[name[0]], APART.sub(r"\1,", outside))
