"""Signing in by the button of an identity provider, on another site than ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.annotate.views.joining import identity_provider
from tests.annotate.views.joining.identity_provider import IdentityProvider
from tests.browser.accessibility import problems, problems_in_every_form
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]


@pytest.fixture
def provider(settings: Settings, live_server: LiveServer) -> Iterator[IdentityProvider]:
    # On another site than localhost, where cookies that are too strict do not come back.
    assert "localhost" in live_server.url
    with identity_provider.named_by(settings) as here:
        yield here


def connect(page: Page) -> None:
    page.goto("/accounts/password/")
    card = page.get_by_role("form", name="Sign in with Acme")
    card.get_by_label("Current password").fill(PASSWORD)
    card.get_by_role("button", name="Connect").click()
    page.get_by_role("link", name="I am Ada").click()
    expect(card).to_contain_text("Acme signs you in as ada@example.org")


@pytest.mark.parametrize("scripts", [True, False])
def test_an_account_is_connected_and_signs_in_by_the_button(
    browse: Browse, provider: IdentityProvider, ann: User, scripts: bool
) -> None:
    connect(browse(ann, java_script_enabled=scripts))
    page = browse(java_script_enabled=scripts)
    page.goto("/projects/desk/")
    page.get_by_role("button", name="Sign in with Acme").click()
    page.get_by_role("link", name="I am Ada").click()
    expect(page.locator("summary", has_text="ann")).to_be_visible()
    assert page.url.endswith("/projects/desk/")


def test_pages_of_a_provider_pass_axe_in_every_form(
    browse: Browse, provider: IdentityProvider, ann: User, settings: Settings, console: list[str]
) -> None:
    page = browse(ann)
    connect(page)
    assert problems_in_every_form(page) == []
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_contain_text("Acme no longer signs you in.")
    assert problems(page) == []
    stranger = browse()
    stranger.goto("/accounts/login/")
    assert problems_in_every_form(stranger) == []
    stranger.get_by_role("button", name="Sign in with Acme").click()
    stranger.get_by_role("link", name="I am Ada").click()
    expect(stranger.get_by_role("alert")).to_contain_text("nobody here is connected")
    assert problems(stranger) == []
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org"]
    stranger.get_by_role("button", name="Sign in with Acme").click()
    stranger.get_by_role("link", name="I am Ada").click()
    expect(stranger.locator("summary", has_text="ada")).to_be_visible()
    stranger.goto("/accounts/password/")
    expect(stranger.get_by_role("heading", name="Choose a password")).to_be_visible()
    assert problems_in_every_form(stranger) == []
    console.clear()  # the browser notes the 400 of the refusal
