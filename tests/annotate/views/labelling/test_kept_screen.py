"""The screen made of kept pieces is the screen that the template renders."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from annotate.models import Pair, Project
from annotate.text.kept_html import Kept
from annotate.views.labelling import kept_screen
from annotate.views.labelling.criteria import Row, answers
from annotate.votes import scales

LABEL = "/projects/desk/label/"
CHANGING = re.compile('csrfmiddlewaretoken" value="[^"]*"|data-lease="[^"]*"')
HTMX = {"HX-Request": "true"}
ROWS = st.lists(
    st.sampled_from([Row("Tone & tact", "left", True, False), Row("B", "", False, True)])
)


@given(
    scale=st.sampled_from(sorted(scales.SCALES)),
    flags=st.tuples(*[st.booleans()] * 4),
    rows=ROWS,
    view=st.sampled_from(["", "raw", "diff"]),
    level=st.sampled_from(["", "success", "info", "error"]),
    text=st.text("<&\"' aé", max_size=12),
    path=st.sampled_from([LABEL, f"{LABEL}x/vote/"]),
)
def test_a_frame_with_its_values_put_in_is_the_template_rendered_at_once(
    scale: str,
    flags: tuple[bool, ...],
    rows: list[Row],
    view: str,
    level: str,
    text: str,
    path: str,
) -> None:
    simulated, required, short, undoable = flags
    project = Project(slug="desk", scale=scale, train_on_simulated=simulated)
    project.criteria_required = required
    token, last = (f"{n * 8}-0000-4000-8000-000000000000" for n in "1f")
    note = {"text": text, "level": level, "last": last if undoable else None} if level else None
    values: dict[str, Any] = {
        "token": token,
        "lease_seconds": 600,
        "words": 31,
        "person": 7,
        "path": path,
        "tally": "1 < 2",
        "pair": "<b>",
        "csrf_token": "abc",
        "note_text": text,
        "note_last": last,
    }
    whole = render_to_string(
        kept_screen.TEMPLATE,
        {
            "project": project,
            "assignment": {"token": token},
            "note": note,
            "view": view,
            "lease_seconds": 600,
            "words": 31,
            "tally": "1 < 2",
            "pair_html": "<b>",
            "request": {"path": path, "user": {"pk": 7}},
            "csrf_token": "abc",
            "short": short,
            "criteria": rows,
            "answers": answers(scale),
            "both_bad": scales.both_bad(scale),
            "scale_buttons": kept_screen.scale_buttons(scale),
        },
    )
    key = kept_screen.FrameKey.of(
        project,
        criteria=tuple(rows),
        view=view,
        short=short,
        note_level=level,
        has_last=bool(level) and undoable,
    )
    assert kept_screen.frame(key).around(values) == whole


@pytest.mark.django_db
def test_a_fragment_is_what_the_whole_page_has_in_that_place(
    client_for: Callable[[User], Client], ann: User, make_pairs: Callable[..., list[Pair]]
) -> None:
    make_pairs(1)
    client = client_for(ann)
    page, fragment = (
        re.sub(
            'csrfmiddlewaretoken" value="[^"]*"', "", client.get(LABEL, headers=h).content.decode()
        )
        for h in ({}, HTMX)
    )
    assert fragment.strip() in page


@pytest.mark.django_db
def test_a_changed_text_is_shown_as_it_is_now(
    client_for: Callable[[User], Client], ann: User, make_pairs: Callable[..., list[Pair]]
) -> None:
    (pair,) = make_pairs(1)
    client = client_for(ann)
    assert "is on its way" in client.get(LABEL, headers=HTMX).content.decode()
    pair.completion_a.text = "It left us <b>yesterday</b>."
    pair.completion_a.save()
    html = client.get(LABEL, headers=HTMX).content.decode()
    assert "It left us &lt;b&gt;yesterday" in html
    assert "is on its way" not in html


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.integers(0, 400))))
def test_what_is_kept_stays_within_its_bound_and_is_never_anothers(asked: list[Any]) -> None:
    kept: Kept[str] = Kept(20_000)
    for key, length in asked:
        text = key.hex() * (length // 2)
        shown = kept.get(key, lambda text=text: text)  # type: ignore[misc]  # Bound now, not later.
        assert set(shown) <= set(key.hex())
        assert kept.held <= kept.bound


def test_of_too_many_the_one_that_was_not_asked_for_longest_is_made_again() -> None:
    kept: Kept[str] = Kept(200)
    made: list[str] = []

    def ask(name: str) -> None:
        kept.get(name.encode(), lambda: made.append(name) or "x" * 2)

    for i in range(100):
        ask(str(i))
    ask("0")
    ask("new")
    ask("0")
    ask("1")
    assert made[100:] == ["new", "1"]
