"""The data page in a browser: filters act at once, and the address can be shared."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Pair

pytestmark = pytest.mark.django_db(transaction=True)

ABORTED = re.compile(r"htmx:(afterRequest|sendAbort), ")
"""What htmx writes when a search is overtaken by the next one, as it is on a slow machine."""


def test_filters_act_at_once_and_the_back_button_takes_them_back(
    browse: Callable[..., Page],
    olga: User,
    make_pairs: Callable[..., list[Pair]],
    console: list[str],
) -> None:
    make_pairs(3)
    make_pairs(1, kind="gold")
    page = browse(olga)
    page.goto("/projects/desk/data/")
    expect(page.get_by_role("status")).to_contain_text("3 pairs and 1 gold pair")
    page.get_by_label("Text in the prompt").press_sequentially("order 2")
    expect(page.get_by_role("status")).to_contain_text("1 pair,")
    expect(page).to_have_url(re.compile(r"/data/\?q=order\+2&in=pairs$"))
    page.get_by_label("Text in the prompt").fill("order")
    expect(page.get_by_role("status")).to_contain_text("3 pairs and 1 gold pair")
    page.get_by_text("Filters").click()
    page.get_by_label("Kind").select_option("gold")
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^1 gold pair,"))
    page.get_by_role("link", name="Prompts").click()
    expect(page.get_by_role("status")).to_contain_text("1 prompt,")
    expect(page.get_by_label("Kind")).to_have_value("gold")
    page.go_back()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^1 gold pair,"))
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("status")).to_contain_text("3 pairs and 1 gold pair")
    console[:] = [line for line in console if not ABORTED.match(line)]


def test_the_page_finds_without_scripts(
    browse: Callable[..., Page], olga: User, make_pairs: Callable[..., list[Pair]]
) -> None:
    make_pairs(3)
    page = browse(olga, java_script_enabled=False)
    page.goto("/projects/desk/data/")
    page.get_by_label("Text in the prompt").fill("order 2")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("status")).to_contain_text("1 pair,")
    expect(page.get_by_label("Text in the prompt")).to_have_value("order 2")
