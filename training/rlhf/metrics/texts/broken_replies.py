"""Replies that nobody should have to read, told by their text alone, and what is shown instead.

Torch-free and pure: evaluation counts with it, sampling keeps completions from people with it, and
whatever shows a reply to a person can put a safe text in its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from training.rlhf.metrics.texts.diversity_and_refusals import repetition

Fault = Literal["", "empty", "truncated", "looping", "gibberish"]

FAULTS: tuple[Fault, ...] = ("empty", "looping", "gibberish", "truncated")
"""Faults of replies, in the order in which they are named: one that was cut off because
it never left a loop is looping."""
FALLBACK = "I could not write a useful answer to this. Please ask again, perhaps in other words."

LOOP = 0.5
"""A reply with more than this share of repeated three-word runs is looping."""
LOOP_LENGTH = 48
"""So many characters of one unit over and over are a loop too: not all scripts have spaces."""
LEAST_VISIBLE = 20
"""Shorter texts are not judged by their kinds of characters: "OK :-)" and "42%" are replies."""
LEAST_WORDLIKE = 0.3
"""Share of letters and digits among visible characters; source code, tables and regular expressions
stay above."""
LONGEST_WORD = 60
"""Unbroken Latin letters; the longest words of German and Finnish stay below."""

# At most 24 characters per unit: time grows with the length of the text, not with its square.
_UNIT = re.compile(r"(.{1,24}?)\1{4,}", re.DOTALL)
_ORNAMENT = re.compile(r"([^\w\s])\1+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
_LATIN = re.compile(r"[A-Za-z]+")
_VOWEL = re.compile(r"[aeiouy]")


@dataclass(frozen=True)
class Filtered:
    """A text to show, and the fault of the reply ("" for none)."""

    text: str
    fault: Fault


def fault(text: str, *, finished: bool) -> Fault:
    """The fault of a reply, "" for none.

    Args:
        finished: whether it ended by itself and not at the limit of its length.
    """
    wrong = {
        "empty": not text.strip(),
        "looping": _is_looping(text),
        "gibberish": _is_gibberish(text),
        "truncated": not finished,
    }
    return next((name for name in FAULTS if wrong[name]), "")


def filtered(
    text: str,
    *,
    finished: bool = True,
    fallback: str = FALLBACK,
    allowed: Collection[Fault] = (),
) -> Filtered:
    """The reply, or `fallback` where it has a fault that is not among `allowed`."""
    wrong = fault(text, finished=finished)
    return Filtered(text if wrong in ("", *allowed) else fallback, wrong)


def _is_looping(text: str) -> bool:
    if repetition(_unadorned(text)) > LOOP:
        return True
    return any(
        len(match[0]) >= LOOP_LENGTH and any(c.isalnum() for c in match[1])
        for match in _UNIT.finditer(text)
    )


def _unadorned(text: str) -> str:
    """A ruled line or a row of equal emoji is an ornament, and counts as one character."""
    return _ORNAMENT.sub(r"\1", text)


def _is_gibberish(text: str) -> bool:
    """Broken characters, hardly a letter, endless words, or words that no one can pronounce."""
    if _CONTROL.search(text):
        return True
    visible = "".join(_unadorned(text).split())
    wordlike = sum(c.isalnum() for c in visible)
    if len(visible) >= LEAST_VISIBLE and wordlike < LEAST_WORDLIKE * len(visible):
        # Outside ASCII these may be emoji, mathematics, or the vowel signs of Indic scripts.
        return visible.isascii()
    words = _LATIN.findall(text)
    if any(len(word) > LONGEST_WORD for word in words):
        return True
    # Capitals only are abbreviations.
    spoken = [word.lower() for word in words if len(word) >= 4 and not word.isupper()]
    mute = sum(not _VOWEL.search(word) for word in spoken)
    return len(spoken) >= 5 and mute > len(spoken) / 2
