"""Cheap signs of how a policy's text changes: variety, loops, refusals.

Torch-free. Reward can rise while text falls apart, so a round watches these beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

_WORD = re.compile(r"\w+|[^\w\s]")

_NOT = (
    r"I(?: cannot| can ?not| can['’]t| could not| will not| won['’]t"
    r"|(?: am|['’]m) (?:unable|not able) to)"
)
_DO = (
    r"(?:help(?! but\b)|assist|answer|provide|comply|fulfil|support|do that"
    r"|create|generate|discuss|advise|condone|participate)"
)
REFUSALS = (
    rf"\bsorry,? but {_NOT}",
    rf"\b{_NOT}(?: \w+){{0,2}} {_DO}",
    rf"\bI(?: am|['’]m) not (?:allowed|permitted|going|willing) to (?:share|{_DO})",
    r"\bI(?: am not|['’]m not| do not feel| don['’]t feel) comfortable\b",
    r"\bas an? (?:AI|artificial intelligence|(?:AI )?language model)\b",
    r"\b(?:is|would be) (?:against|a violation of) my (?:guidelines|programming|principles)\b",
    r"\b(?:it is|it['’]s|that is|that['’]s) not (?:appropriate|ethical|legal) to\b",
    r"\bI (?:must|have to) (?:decline|refuse)\b",
)
"""Phrases of refusals, in English. After the prefixes of Zou et al. 2023 (arXiv 2307.15043,
appendix B), without those that polite replies begin with as well ("I'm sorry", "Sorry")."""
REFUSAL_WITHIN = 200
"""Characters: a refusal says so at its beginning; later the words may be part of an answer."""
# Patterns of ours only, each linear: no nested repeats.
_REFUSAL = re.compile("|".join(REFUSALS), re.IGNORECASE)


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    """Every run of `n` tokens, in order."""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct(texts: Iterable[str], n: int) -> float:
    """Different n-grams / all n-grams over a set of texts (Li et al. 2016, arXiv 1510.03055).

    Falls with the number of texts: compare only sets of the same size. 0 when there are none.
    """
    return distinct_of(map(words, texts), n)


def distinct_of(sequences: Iterable[Sequence[Hashable]], n: int) -> float:
    """`distinct` of anything, such as tokens: to words, a single letter without end is one word."""
    grams = [gram for sequence in sequences for gram in ngrams(sequence, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(text: str, n: int = 3) -> float:
    """Share of a text's n-grams that repeat an earlier one of the same text; 0 for short texts."""
    return repetition_of(words(text), n)


def repetition_of(sequence: Sequence[Hashable], n: int = 3) -> float:
    """`repetition` of anything, such as tokens."""
    grams = Counter(ngrams(sequence, n))
    return 1 - len(grams) / grams.total() if grams else 0.0


def refused(text: str, phrases: Iterable[str] = ()) -> bool:
    """True where a reply begins like a refusal, by `REFUSALS` or by one of these phrases.

    Phrases are text, not patterns; case, space and the kind of apostrophe do not matter.
    """
    beginning = text[:REFUSAL_WITHIN]
    if _REFUSAL.search(beginning):
        return True
    plain = _plain(beginning)
    return any(_plain(phrase) in plain for phrase in phrases)


def _plain(text: str) -> str:
    return " ".join(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().split())


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; 0 for nothing."""
    return sum(values) / len(values) if values else 0.0
