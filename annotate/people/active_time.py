"""Time that counts as active: as long as a slow reader needs for the text in sight.

static/js/reading-speed.js has the same rule for the page, which knows when somebody gave a sign and
what was in sight; here the whole text of a pair is the bound. A test holds both equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from annotate.models import Assignment, Project
from annotate.models.content import Messages

WORD = re.compile("[^ \\t\\n\\v\\f\\r\\u00a0\\u2000-\\u200a\\u2028\\u2029\\u202f\\u3000]+")
# Scripts that are written without spaces: two characters are about a word.
UNSPACED = re.compile(
    "[\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u9fff]"
)


class ReadingPace(NamedTuple):
    """A project's slow reader: words a minute, and the seconds that count at least and at most."""

    words_a_minute: int
    least: int
    most: int

    @classmethod
    def of(cls, project: Project) -> ReadingPace:
        return cls(project.reading_wpm, project.reading_least, project.reading_most)

    def milliseconds(self, words: int) -> int:
        """The time for which so many words count as being read."""
        seconds = min(max(words * 60 / self.words_a_minute, self.least), self.most)
        return math.floor(seconds * 1000)


def count_words(text: str) -> int:
    """Words between white space, and half the characters of scripts that have none."""
    return len(WORD.findall(text)) + len(UNSPACED.findall(text)) // 2


def words_of(assignment: Assignment) -> int:
    """Words of all that a pair shows."""
    pair = assignment.pair
    replies = (pair.completion_a, pair.completion_b)
    shown = [*_texts(pair.prompt.messages)]
    for reply in replies:
        shown += _texts(reply.messages) if reply.messages else [reply.text]
    return sum(map(count_words, shown))


def _texts(messages: Messages) -> Iterable[str]:
    """The texts of a chat: contents and thinking, and calls as they stand."""
    for message in messages:
        held = (message.get(key) for key in ("content", "thinking", "tool_calls"))
        yield from (str(one) for one in held if one)


def counted(assignment: Assignment, active_ms: int | None) -> int | None:
    """Milliseconds that are kept of those a page or a script reports for a vote."""
    project = assignment.pair.project
    pace = ReadingPace.of(project)
    # Most votes are quicker than that, and the texts need not be read for them.
    if active_ms is None or active_ms <= 1000 * pace.least:
        return active_ms
    return min(active_ms, pace.milliseconds(words_of(assignment)))
