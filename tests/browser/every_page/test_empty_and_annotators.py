"""Pages with nothing in them yet, and pages as an annotator sees them, pass axe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page

from annotate.models import Invitation, Membership, Project
from annotate.models.roles import Role
from annotate.people.joining.invitation_links import invite
from annotate.templatetags import navigation
from tests.browser.accessibility import problems_in_every_form, violations, with_all_unfolded

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]


@pytest.fixture
def empty(project: Project, ann: User) -> Project:
    """A project without prompts, pairs, models and rounds, in which ann labels."""
    new = Project.objects.create(slug="empty", name="Empty")
    Membership.objects.create(project=new, user=ann, role=Role.ANNOTATOR)
    return new


def pages_of(project: Project, role: Role) -> list[str]:
    """Addresses of the navigation that this role may open."""
    open_to = [name for name, _, needed, _ in navigation.PAGES if role in Role.at_least(needed)]
    return [reverse(name, args=[project.slug]) for name in open_to]


def wrong_with(
    page: Page, addresses: list[str], look: Callable[[Page], list[str]]
) -> dict[str, list[str]]:
    """The problems of all pages, by their addresses, with all that is folded in sight."""
    problems_of = {}
    for address in addresses:
        page.goto(address)
        with_all_unfolded(page)
        problems_of[address] = look(page)
    return {address: wrong for address, wrong in problems_of.items() if wrong}


def test_pages_of_an_empty_project_pass_axe(browse: Browse, root: User, empty: Project) -> None:
    page = browse(root, reduced_motion="reduce")
    assert wrong_with(page, pages_of(empty, Role.ADMIN), violations) == {}


def test_pages_of_an_annotator_pass_axe_on_a_phone(
    browse: Browse, ann: User, project: Project, empty: Project
) -> None:
    page = browse(ann, reduced_motion="reduce", viewport={"width": 360, "height": 720})
    addresses = [*pages_of(project, Role.ANNOTATOR), *pages_of(empty, Role.ANNOTATOR), "/projects/"]
    assert wrong_with(page, addresses, violations) == {}


@pytest.mark.long
def test_pages_of_an_empty_project_pass_axe_in_every_form(
    browse: Browse, root: User, empty: Project
) -> None:
    addresses = [*pages_of(empty, Role.ADMIN), "/projects/", "/projects/new/"]
    assert wrong_with(browse(root), addresses, problems_in_every_form) == {}


@pytest.mark.long
def test_pages_of_an_annotator_pass_axe_in_every_form(
    browse: Browse, ann: User, project: Project, empty: Project
) -> None:
    addresses = [*pages_of(project, Role.ANNOTATOR), *pages_of(empty, Role.ANNOTATOR), "/projects/"]
    assert wrong_with(browse(ann), addresses, problems_in_every_form) == {}


@pytest.mark.long
def test_pages_without_an_account_pass_axe_in_every_form(
    browse: Browse, zed: User, project: Project, console: list[str]
) -> None:
    link = reverse("invitation", args=[invite(project, Invitation(role="annotator"), by=zed)])
    forgotten = ["/accounts/forgotten/", "/accounts/forgotten/x/y/"]
    addresses = ["/", "/accounts/login/", *forgotten, link, "/invitations/x/"]
    assert wrong_with(browse(), addresses, problems_in_every_form) == {}
    console.clear()  # the browser notes the 404 of the last one
