"""Adjudication with the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Adjudication, Flag, Pair
from tests.browser.labelling.screen import press

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_pair_is_decided_categorised_explained_and_taken_back_by_keys(
    browse: Callable[..., Page], olga: User, ann: User, make_pairs: Callable[..., list[Pair]]
) -> None:
    for pair in make_pairs(2):
        Flag.objects.create(pair=pair, annotator=ann, kind="pii")
    page = browse(olga)
    page.goto("/projects/desk/adjudicate/")
    press(page, "g")
    expect(page.get_by_label("Guideline gap")).to_be_checked()
    press(page, "n")
    expect(page.get_by_label("Rationale")).to_be_focused()
    page.keyboard.type("2 readings")
    press(page, "Tab")
    press(page, "6")
    expect(page.get_by_text("Decided: B better (guideline gap).")).to_be_visible()
    decision = Adjudication.objects.get()
    assert (decision.choice, decision.category, decision.rationale) == (
        "b",
        "guideline_gap",
        "2 readings",
    )
    press(page, "s")
    expect(page).to_have_url(re.compile(r"\?after="))
    page.go_back()
    press(page, "u")
    expect(page.get_by_text("taken back")).to_be_visible()
    assert not Adjudication.objects.exists()
