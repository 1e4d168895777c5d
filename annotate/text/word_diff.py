"""Show word by word in what two replies differ.

The texts are hostile until proven otherwise: every piece is escaped, and the search stops after
a number of steps that is fixed, so that no text can keep a web process busy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import Match, SequenceMatcher
from functools import lru_cache
from html import escape
from itertools import accumulate
from typing import NamedTuple

from django.utils.safestring import SafeString, mark_safe

from annotate.text.markdown import CACHED_CHARACTERS, capped, reveal

MAX_STEPS = 3_000_000
"""Comparisons of two words; what is not found within them counts as different."""
COINCIDENCE = 20
"""Characters that may be the same by accident between two changes."""
# A word with its vowel signs and joiners; one ideograph or kana, for those are written without
# spaces; any other sign with its modifiers; and the text's beginning. Then the space behind it.
TOKENS = re.compile(
    "(^|"
    "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
    "|(?:(?![\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])\\w"
    "|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0e7f\u200c\u200d])+"
    "|[^\\w\\s](?:[\ufe0f\u20e3\U0001f3fb-\U0001f3ff]|\u200d\\S)*"
    ")(\\s*)"
)
LINE_FEED = "\n"


class Text(NamedTuple):
    """A text in words, each with the white space behind it; the first word is empty."""

    words: list[str]
    spaces: list[str]

    @classmethod
    def of(cls, text: str) -> Text:
        tokens = TOKENS.findall(capped(reveal(text))[0])
        return cls([word for word, _ in tokens], [space for _, space in tokens])


class Run(NamedTuple):
    """A stretch of both texts, by the numbers of their words: the same in both, or different."""

    same: bool
    left: slice[int]
    right: slice[int]


class Matcher(SequenceMatcher[str]):
    """difflib's, which would take minutes for some texts, with an end to its patience."""

    # Documented attributes that typeshed does not declare.
    a: list[str]
    b2j: dict[str, list[int]]

    def __init__(self, left: list[str], right: list[str]) -> None:
        super().__init__(a=left, b=right, autojunk=False)
        self._forget_frequent_words()
        self.steps = MAX_STEPS
        # The work of a search in a[i:j] is known beforehand: work[j] - work[i].
        self.work = [0, *accumulate(1 + len(self.b2j.get(word, ())) for word in left)]

    def _forget_frequent_words(self) -> None:
        """Begin no match at the words that cost most, so that there are steps for many searches;
        matches that begin elsewhere still grow over them."""
        seen = Counter(self.a)
        cost = {word: seen[word] * len(places) for word, places in self.b2j.items()}
        rarest = sorted(cost, key=cost.__getitem__)
        totals = accumulate(cost[word] for word in rarest)
        for word, total in zip(rarest, totals, strict=True):
            if total > MAX_STEPS // 50:
                del self.b2j[word]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        high = len(self.a) if ahi is None else ahi
        self.steps -= self.work[high] - self.work[alo]
        if self.steps < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def word_diff(left: str, right: str) -> tuple[SafeString, SafeString]:
    """Each text's source as HTML: what only the left has in <del>, only the right in <ins>.

    Both orders of two texts have the same marks, of which the second person sees the other one.
    """
    if left > right:
        second, first = word_diff(right, left)
        return _other_side(first, "ins", "del"), _other_side(second, "del", "ins")
    if len(left) + len(right) > CACHED_CHARACTERS:
        return _word_diff(left, right)
    return _word_diff_cached(left, right)


def _other_side(html: SafeString, mark: str, other: str) -> SafeString:
    """The HTML of one side with the mark of the other."""
    # Safe as before: the text in it is escaped, so that these are our own tags and no others.
    return mark_safe(html.replace(f"<{mark}>", f"<{other}>").replace(f"</{mark}>", f"</{other}>"))


def _word_diff(left: str, right: str) -> tuple[SafeString, SafeString]:
    a, b = Text.of(left), Text.of(right)
    html = [_pieces(run, a, b) for run in _smooth(_runs(a.words, b.words), a, b)]
    # Safe: _pieces escapes every word and space, and adds bare <del>, <ins>, <i> and <b> alone.
    return (
        mark_safe("".join(left for left, _ in html)),
        mark_safe("".join(right for _, right in html)),
    )


_word_diff_cached = lru_cache(maxsize=256)(_word_diff)


def _runs(a: list[str], b: list[str]) -> Iterator[Run]:
    """The texts as stretches that are the same and stretches that are not."""
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    middle = Matcher(a[head : len(a) - tail], b[head : len(b) - tail])
    yield Run(True, slice(0, head), slice(0, head))
    for tag, left, left_end, right, right_end in middle.get_opcodes():
        yield Run(
            tag == "equal",
            slice(head + left, head + left_end),
            slice(head + right, head + right_end),
        )
    yield Run(True, slice(len(a) - tail, len(a)), slice(len(b) - tail, len(b)))


def _common(a: list[str], b: list[str]) -> int:
    """Number of words that both begin with."""
    shorter = min(len(a), len(b))
    return next((number for number in range(shorter) if a[number] != b[number]), shorter)


def _smooth(runs: Iterator[Run], a: Text, b: Text) -> Iterator[Run]:
    """Let a word or two that happen to be the same between two larger changes be part of them:
    a sentence crossed out word by word cannot be read."""
    left = [0, *accumulate(map(len, a.words))]
    right = [0, *accumulate(map(len, b.words))]

    def size(run: Run) -> int:
        return max(
            left[run.left.stop] - left[run.left.start],
            right[run.right.stop] - right[run.right.start],
        )

    held: list[Run] = []
    for run in runs:
        held.append(run)
        while len(held) >= 3 and [each.same for each in held[-3:]] == [False, True, False]:
            before, between, after = held[-3:]
            if size(between) > min(size(before), size(after), COINCIDENCE):
                break
            held[-3:] = [_joined(before, after)]
    yield from held


def _joined(first: Run, last: Run) -> Run:
    left = slice(first.left.start, last.left.stop)
    return Run(False, left, slice(first.right.start, last.right.stop))


def _pieces(run: Run, a: Text, b: Text) -> tuple[str, str]:
    """The run as HTML, for the left and for the right."""
    left, right = _part(a, run.left), _part(b, run.right)
    if run.same and left == right:
        return escape(left, quote=False), escape(right, quote=False)
    if run.same:
        return _spaced(a, run.left, b, run.right, "del"), _spaced(b, run.right, a, run.left, "ins")
    # The space behind a change is part of it where the other text has another one there.
    ends = tuple(text[len(text.rstrip()) :] for text in (left, right))
    if ends[0] == ends[1] or not (left and right):
        return (
            _marked(left.rstrip(), "del") + ends[0],
            _marked(right.rstrip(), "ins") + ends[1],
        )
    return _marked(left, "del"), _marked(right, "ins")


def _part(text: Text, part: slice[int]) -> str:
    tokens = zip(text.words[part], text.spaces[part], strict=True)
    return "".join(word + space for word, space in tokens)


def _spaced(text: Text, part: slice[int], other: Text, its_part: slice[int], mark: str) -> str:
    """The same words with other white space between some of them."""
    tokens = zip(text.words[part], text.spaces[part], other.spaces[its_part], strict=True)
    return "".join(
        escape(word, quote=False) + (space if space == there else _marked(space, mark))
        for word, space, there in tokens
    )


def _marked(text: str, mark: str) -> str:
    if not text:
        return ""
    html = escape(text, quote=False)
    if text.isspace():
        # Nobody sees a space too many: the style sheet puts dots and arrows at these.
        html = re.sub("[^\n]+", r"<i>\g<0></i>", html)
    return f"<{mark}>{html.replace(LINE_FEED, '<b></b>' + LINE_FEED)}</{mark}>"
