"""Cheap signs that a policy's text is going wrong: less variety, loops, broken replies.

Torch-free. Reward can rise while text falls apart, so a round watches these beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\w+|[^\w\s]")
LOOP = 0.5
"""A reply with more than this share of repeated three-word runs counts as broken."""


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct(texts: Iterable[str], n: int) -> float:
    """Different n-grams / all n-grams over a set of texts (Li et al. 2016, arXiv 1510.03055).

    Falls with the number of texts: compare only sets of the same size. 0 when there are none.
    """
    grams = [gram for text in texts for gram in _ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(text: str, n: int = 3) -> float:
    """Share of a text's n-grams that repeat an earlier one of the same text; 0 for short texts."""
    grams = Counter(_ngrams(words(text), n))
    return 1 - len(grams) / grams.total() if grams else 0.0


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; 0 for nothing."""
    return sum(values) / len(values) if values else 0.0


def broken(text: str, *, finished: bool) -> bool:
    """Whether nobody should have to read a reply: empty, cut off, or stuck in a loop."""
    return not text.strip() or not finished or repetition(text) > LOOP or "\ufffd" in text
