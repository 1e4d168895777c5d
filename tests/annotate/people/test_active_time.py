"""What counts as active time: one rule for the server and the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.models import Assignment, Completion, Pair, Project
from annotate.people.active_time import ReadingPace, count_words, counted

PACE = ReadingPace(words_a_minute=120, least=60, most=300)


@pytest.mark.parametrize(
    ("words", "seconds"), [(0, 60), (120, 60), (121, 60.5), (300, 150), (600, 300), (9000, 300)]
)
def test_a_slow_reader_has_a_minute_at_least_and_five_at_most(words: int, seconds: float) -> None:
    assert PACE.milliseconds(words) == seconds * 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("two  words\n", 2),
        ("a\u00a0b\u3000c", 3),
        ("print(1)", 1),
        ("日本語の文章です", 1 + 4),
        ("مرحبا بكم", 2),
    ],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert count_words(text) == words


@given(st.text(), st.text())
def test_more_text_never_takes_less_time(one: str, other: str) -> None:
    together = count_words(f"{one} {other}")
    assert together >= max(count_words(one), count_words(other))
    assert PACE.milliseconds(together) >= PACE.milliseconds(count_words(one))


def test_the_bound_is_that_of_the_pairs_own_text_and_of_the_project(
    project: Project, make_pairs, ann
) -> None:
    pair: Pair = make_pairs(1)[0]
    lease = Assignment(pair=pair, annotator=ann)
    Completion.objects.filter(pk=pair.completion_a_id).update(text="word " * 200)
    lease.pair = Pair.objects.get(pk=pair.pk)
    within = counted(lease, 742_947)
    assert within is not None and 100_000 < within < 120_000
    lease.pair.project.reading_wpm = 60
    assert counted(lease, 742_947) == pytest.approx(2 * within, abs=1)
    lease.pair.project.reading_most = 90
    assert counted(lease, 742_947) == 90_000
