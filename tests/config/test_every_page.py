"""Each page with rows in all of it, so that both databases understand its statements."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import Project
from tests.browser import test_pages, test_rounds
from tests.browser.test_pages import furnished
from tests.browser.test_rounds import trained

__all__ = ["furnished", "trained"]
pytestmark = pytest.mark.database
ClientFor = Callable[[User], Client]


def closed(client: Client, addresses: list[str]) -> list[str]:
    """Those that do not show a page."""
    return [address for address in addresses if client.get(address).status_code != 200]


def test_the_pages_of_labelling_and_review_are_shown(
    client_for: ClientFor, root: User, furnished: Project
) -> None:
    assert closed(client_for(root), test_pages.addresses()) == []


def test_the_pages_of_training_are_shown(
    client_for: ClientFor, root: User, trained: Project
) -> None:
    assert closed(client_for(root), [*test_rounds.PAGES, test_rounds.newest()]) == []
