"""The same hostile texts, parsed by the browser that would run them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from annotate.text import mathml
from annotate.text.markdown import ATTRIBUTES, TAGS, render
from tests.annotate.api.hostile_json import documents

pytestmark = pytest.mark.django_db(transaction=True)

FOREIGN = """([documents, tags, attributes]) => documents.flatMap((html) => {
  const body = new DOMParser().parseFromString(html, "text/html").body;
  return [...body.querySelectorAll("*")].filter((element) =>
    !tags.includes(element.localName)
    || [...element.attributes].some((attribute) => !attributes.includes(attribute.name))
    || (element.href && !/^(https?|mailto):/.test(element.href))
  ).map((element) => element.outerHTML.slice(0, 200));
})"""


def test_no_hostile_text_becomes_active_in_a_browser(browse: Callable[..., Page]) -> None:
    page = browse()
    page.goto("/accounts/login/")
    attributes = {*set().union(*ATTRIBUTES.values(), *mathml.ATTRIBUTES.values())}
    attributes |= {"class", "target", "rel", "tabindex", "role", "aria-label", "dir"}
    rendered = [str(render(text)) for text in documents()]
    tags = TAGS | mathml.TAGS
    assert page.evaluate(FOREIGN, [rendered, sorted(tags), sorted(attributes)]) == []
