"""Every page of the labelling side: accessible in both schemes, and no wider than a phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import resolve, reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotate import queue
from annotate.exporting import freezing
from annotate.models import (
    AiAnnotator,
    AiVote,
    ApiToken,
    Batch,
    Invitation,
    Label,
    Membership,
    Pair,
    Project,
    Webhook,
    WebhookDelivery,
)
from annotate.people.joining.invitation_links import invite
from annotate.templatetags import navigation
from annotate.webhooks import outbox
from tests.annotate.views.joining import test_second_factor
from tests.annotate.webhooks.receiver import hook_of
from tests.browser import test_rounds
from tests.browser.accessibility import (
    problems,
    problems_in_every_form,
    violations,
    violations_in_both_schemes,
    with_all_unfolded,
)
from tests.conftest import PASSWORD
from training.active.arm_comparison import Comparison
from training.active.learning_forecast import Forecast
from training.models import ActiveState

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]
MakePairs = Callable[..., list[Pair]]

PAGES = [
    "/projects/",
    "/projects/new/",
    "/projects/desk/",
    "/projects/empty/",
    "/projects/desk/label/",
    "/projects/desk/label/?raw=1",
    "/projects/empty/label/",
    "/projects/desk/guidelines/",
    "/projects/desk/settings/",
    "/projects/desk/people/",
    "/projects/desk/batches/",
    "/projects/desk/batches/{batch}/",
    "/projects/empty/batches/",
    "/projects/desk/quality/",
    "/projects/desk/quality/?section=bias",
    "/projects/desk/quality/pairs/",
    "/projects/desk/leaderboard/",
    "/projects/desk/leaderboard/?pairs=training",
    "/projects/desk/annotators/",
    "/projects/desk/annotators/{ann}/",
    "/projects/desk/annotators/?state=flagged",
    "/projects/desk/data/?q=nothing+has+this",
    "/projects/desk/adjudicate/?after=1",
    "/projects/desk/me/",
    "/projects/desk/votes/",
    "/projects/desk/checks/",
    "/projects/desk/adjudicate/",
    "/projects/desk/pairs/{pair}/",
    "/projects/desk/data/",
    "/projects/desk/data/?state=open&flagged=on",
    "/projects/desk/data/?in=prompts",
    "/projects/desk/data/?in=votes",
    "/projects/empty/data/",
    "/projects/desk/import/",
    "/projects/desk/rounds/schedule/",
    "/projects/desk/ai-annotators/",
    "/projects/desk/ai-annotators/{ai}/",
    "/projects/empty/ai-annotators/",
    "/projects/desk/active/",
    "/projects/empty/active/",
    "/projects/desk/export/",
    "/projects/desk/versions/1/",
    "/projects/desk/audit/",
    "/projects/desk/webhooks/",
    "/projects/desk/webhooks/{hook}/",
    "/accounts/tokens/",
    "/accounts/password/",
    "/accounts/second-factor/",
    "/operators/",
]
TEXT = "# Title\n\n```python\nx = 1  # one\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[link](https://a.example)"


@pytest.fixture
def furnished(project: Project, make_pairs: MakePairs, ann: User, zed: User, root: User) -> Project:
    """A project in which every part of every page has something to show."""
    pair = make_pairs(2)[0]
    for completion, mark in ((pair.completion_a, "1"), (pair.completion_b, "2")):
        completion.text = f"{TEXT}\n\n{mark}" + "A long answer. " * 200
        completion.save()
    Pair.objects.exclude(pk=pair.pk).update(open_slots=0, state="resolved")
    pair.prompt.messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello " * 200},
        {"role": "user", "content": "Where is my order? " * 40},
    ]
    pair.prompt.save()
    project.train_on_simulated = True
    project.save()
    Project.objects.create(slug="empty", name="Empty")
    Project.objects.create(slug="old", name="Old", archived=True)
    hook = hook_of(project)
    for answer in ({"state": "given_up", "error": "No answer."}, {"status": 200, "answer": "ok"}):
        outbox.tell_test(hook)
        given = {"state": "delivered", "due_at": None, **answer}
        WebhookDelivery.objects.filter(state="waiting").update(**given)
    for user in (ann, root):
        ApiToken.issue(user, name="script")
    invite(project, Invitation(role="reviewer", note="Olga"), by=zed)
    judged = make_pairs(3)
    for user, choices in ((ann, "aab"), (zed, "aba")):
        for one, choice in zip(judged, choices, strict=True):
            Pair.objects.filter(pk=one.pk).update(shuffle=-one.pk)
            lease = queue.next_pair(project, user)
            assert lease is not None
            queue.vote(user, lease.token, choice=choice)
    wrote = {"policy_a": "policy-1", "policy_b": "starter"}
    Pair.objects.filter(pk__in=[one.pk for one in judged]).update(open_slots=0, **wrote)
    freezing.freeze(project)
    measured(project)
    batch = Batch.objects.create(project=project, name="Long ones")
    batch.people.add(Membership.objects.get(user=ann))
    Pair.objects.filter(pk=pair.pk).update(batch=batch)
    with_ai_annotator(project)
    return project


def with_ai_annotator(project: Project) -> None:
    """An annotator with a vote on each pair, wrong on one tag of two."""
    judge = AiAnnotator.objects.create(
        project=project,
        name="Judge",
        kind="chat",
        model="desk",
        source={"url": "https://api.example.org/v1", "model": "desk", "longest": 16},
        constitution="A reply that names a step is better.\n\nLength does not matter.",
        most_requests=4000,
        most_tokens=2_000_000,
    )
    for place, pair in enumerate(project.pairs.order_by("pk")):
        Pair.objects.filter(pk=pair.pk).update(stream="random", tags=[f"tag {place % 2}"])
        told = {"outcome": "a", "vote_fraction": 1.0, "n_votes": 1}
        Label.objects.get_or_create(pair=pair, defaults=told)
        side = {"choice": "a", "there": "a", "back": "a"}
        AiVote.objects.create(annotator=judge, pair=pair, run=UUID(int=place), **side)


def measured(project: Project) -> None:
    """A state of active learning in which every part of its page has something to show."""
    rng = np.random.default_rng(0)
    dots = {kind: rng.normal(size=(n, 2)).tolist()
            for kind, n in (("voted", 90), ("open", 200), ("next", 25))}  # fmt: skip
    comparison = Comparison(120, 640, -0.031, -0.055, -0.007, 0.71, 0.74, False, 0.05)
    forecast = Forecast(
        [50, 110, 240, 530], [0.58, 0.63, 0.67, 0.69], [0.52, 0.58, 0.62, 0.64],
        [0.64, 0.68, 0.72, 0.74], 290, 0.016, 0.004, 0.024, 450, 310, 1200, False,
    )  # fmt: skip
    row = {"all": 640, "voted": 312, "random": 101, "active": 240}
    tags = [{"tag": tag, **row} for tag in ("delivery", "a tag that goes on and on" * 2)]
    report = {"active_votes": 480, "forecast": asdict(forecast), "map": dots}
    report |= {"coverage": {"prompts": row, "tags": tags}}
    ActiveState.objects.create(
        project=project, cause="loss", since=timezone.now(), acquisition="i-optimal", votes=712,
        comparison=asdict(comparison), counted_at=timezone.now(), report=report,
    )  # fmt: skip


def addresses() -> list[str]:
    ann = Membership.objects.get(user__username="ann", project__slug="desk").pk
    pair = Pair.objects.filter(project__slug="desk").latest("pk").pk
    hook = Webhook.objects.get(project__slug="desk").pk
    batch, ai = Batch.objects.get().pk, AiAnnotator.objects.get().pk
    return [address.format(ann=ann, pair=pair, hook=hook, batch=batch, ai=ai) for address in PAGES]


def wrong_with(page: Page, look: Callable[[Page], list[str]]) -> dict[str, list[str]]:
    """The problems of all pages, by their addresses, with all that is folded in sight."""
    problems_of: dict[str, list[str]] = {}
    for address in addresses():
        page.goto(address)
        with_all_unfolded(page)
        problems_of[address] = look(page)
    return {address: found for address, found in problems_of.items() if found}


def test_every_page_passes_axe_and_none_scrolls_sideways(
    browse: Browse, root: User, furnished: Project
) -> None:
    assert wrong_with(browse(root), problems) == {}


@pytest.mark.long
def test_every_page_passes_axe_in_every_form(
    browse: Browse, root: User, furnished: Project
) -> None:
    assert wrong_with(browse(root), problems_in_every_form) == {}


def test_every_page_of_the_navigation_is_looked_at() -> None:
    looked_at = [*PAGES, *test_rounds.PAGES]
    shown = {
        str(
            resolve(address.partition("?")[0].format(ann=1, pair=1, hook=1, batch=1, ai=1)).url_name
        )
        for address in looked_at
    }
    assert {name for name, *_ in navigation.PAGES} - shown == set()


def test_pages_without_an_account_pass_axe(
    browse: Browse, zed: User, project: Project, console: list[str]
) -> None:
    token = invite(project, Invitation(role="annotator"), by=zed)
    confirmed = invite(project, Invitation(role="annotator", domain="example.org"), by=zed)
    page = browse()
    for address in (
        "/",
        *("/accounts/login/", "/accounts/forgotten/", "/accounts/forgotten/x/y/"),
        *(reverse("invitation", args=[one]) for one in (token, confirmed)),
        "/invitations/x/",
    ):
        page.goto(address)
        assert violations_in_both_schemes(page) == [], address
    console.clear()  # the browser notes the 404 of the last one


def test_a_second_factor_is_set_up_and_used_by_keyboard_without_scripts(
    browse: Browse, ann: User, console: list[str]
) -> None:
    page = browse(ann, java_script_enabled=False)
    page.goto("/accounts/second-factor/")
    page.get_by_label("Current password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="QR code of the secret below")).to_be_visible()
    app = test_second_factor.App(page.content())
    page.get_by_label("Code", exact=True).fill(app.code())
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Your recovery codes.")
    test_second_factor.forget_last_code()
    anew = browse(java_script_enabled=False)
    anew.goto("/accounts/login/")
    anew.get_by_label("Username").fill("ann")
    anew.get_by_label("Password", exact=True).fill(PASSWORD)
    anew.keyboard.press("Enter")
    expect(anew.get_by_label("Code", exact=True)).to_be_focused()
    anew.keyboard.type(app.code())
    anew.keyboard.press("Enter")
    expect(anew.locator("summary", has_text="ann")).to_be_visible()


def test_states_of_the_second_factor_pass_axe(browse: Browse, ann: User, project: Project) -> None:
    page = browse(ann)
    page.goto("/accounts/second-factor/")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("heading", name="Add it to your app")).to_be_visible()
    assert problems(page) == []
    app = test_second_factor.App(page.content())
    page.get_by_label("Code", exact=True).fill(app.code())
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_role("heading", name="Turn it off")).to_be_visible()
    assert problems(page) == []
    anew = browse()
    anew.goto("/accounts/login/")
    anew.get_by_label("Username").fill("ann")
    anew.get_by_label("Password", exact=True).fill(PASSWORD)
    anew.get_by_role("button", name="Sign in").click()
    expect(anew.get_by_role("heading", name="Your code")).to_be_visible()
    assert problems(anew) == []


def test_states_of_the_labelling_screen_pass_axe(
    browse: Browse, root: User, furnished: Project
) -> None:
    page = browse(root, reduced_motion="reduce")
    page.goto("/projects/desk/label/")
    page.keyboard.press("e")
    assert violations(page) == []
    for opener, dialog in (("Guidelines", "#guidelines"), ("Keys", "#help")):
        page.locator(".screen-tools").get_by_text(opener).click()
        expect(page.locator(dialog)).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Both bad").click()
    expect(page.locator("#state")).to_contain_text("Both bad")
    assert violations(page) == []


def test_the_header_is_one_row_at_every_width(
    browse: Browse, root: User, furnished: Project
) -> None:
    Project.objects.filter(slug="desk").update(name="A project with quite a long name")
    page = browse(root)
    page.goto("/projects/desk/quality/")
    for width in (2560, 1440, 1280, 1024, 768, 360):
        page.set_viewport_size({"width": width, "height": 720})
        box = page.locator(".header").bounding_box()
        row = page.locator(".tabs").bounding_box()
        assert box and box["height"] <= 52, width
        # Below 64rem the row gives way to the menu.
        assert (row is None) is (width < 1024), width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_menu_of_a_phone_holds_every_page_and_closes_by_escape(
    browse: Browse, root: User, project: Project
) -> None:
    page = browse(root, viewport={"width": 360, "height": 720})
    page.goto("/projects/desk/export/")
    menu = page.locator("summary", has_text="Menu")
    menu.press("Enter")
    pages = page.get_by_role("navigation", name="All pages")
    expect(pages.get_by_role("link", name="Export")).to_have_attribute("aria-current", "page")
    assert violations(page) == []
    page.keyboard.press("Tab")
    expect(pages.get_by_role("link", name="Home")).to_be_focused()
    page.keyboard.press("Escape")
    expect(pages).to_be_hidden()
    expect(menu).to_be_focused()
    menu.click()
    pages.get_by_role("link", name="Playground").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Playground")


def test_words_explain_themselves_and_times_are_in_the_readers_zone(
    browse: Browse, root: User, furnished: Project
) -> None:
    page = browse(root, timezone_id="Asia/Kolkata")
    page.goto("/projects/desk/quality/")
    word = page.get_by_role("button", name="Resolved")
    tip = page.get_by_role("tooltip").filter(has_text="One vote of two")
    expect(tip).to_be_hidden()
    word.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.mouse.move(0, 0)
    word.hover()
    expect(tip).to_be_visible()
    assert violations(page) == []
    frozen = furnished.dataset_versions.get().created_at
    page.goto("/projects/desk/export/")
    here = frozen.astimezone(ZoneInfo("Asia/Kolkata"))
    expect(page.locator("time").first).to_have_text(f"{here:%-d %b %Y, %H:%M}")


def test_forms_with_errors_say_so_beside_the_field(
    browse: Browse, root: User, furnished: Project, console: list[str]
) -> None:
    page = browse(root)
    page.goto("/projects/desk/settings/")
    criteria = page.locator("#id_criteria")
    criteria.fill("A criterion that takes more than a short line to write")
    page.get_by_role("button", name="Save settings").click()
    described = criteria.get_attribute("aria-describedby") or ""
    error = page.locator(f"#{described.split()[-1]}")
    expect(error).to_contain_text("longer than 40 characters")
    page.get_by_role("alert").get_by_role("link", name="Criteria").click()
    expect(criteria).to_be_in_viewport()
    # The button covers nothing of what the link leads to.
    expect(page.get_by_role("button", name="Save settings")).to_be_in_viewport()
    assert violations(page) == []
    # The preview that was asked for when the page was left.
    console[:] = [line for line in console if not line.startswith("htmx:")]


def test_the_colour_switch_is_remembered(browse: Browse, root: User) -> None:
    page = browse(root)
    page.goto("/projects/")
    page.get_by_role("button", name="Colours").click()
    page.get_by_role("button", name="Colours").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_an_invited_person_comes_in_by_the_link_an_admin_made(
    browse: Browse, zed: User, project: Project, live_server: Any
) -> None:
    admin = browse(zed)
    admin.goto("/projects/desk/people/")
    admin.get_by_label("For whom").first.fill("Nora")
    admin.get_by_role("button", name="Make links").click()
    link = admin.locator(".notice code").first.inner_text()
    admin.get_by_role("button", name="Copy the link for Nora").click()
    expect(admin.locator("[data-copy]").first).to_have_text("Copied")
    guest = browse()
    guest.goto(link)
    guest.get_by_label("Your name here").fill("nora")
    password = guest.get_by_label("Password", exact=True)
    password.fill("a long enough sentence")
    expect(password).to_have_attribute("type", "password")
    guest.get_by_role("button", name="Show the password").click()
    expect(password).to_have_attribute("type", "text")
    guest.get_by_role("button", name="Make an account and join").click()
    expect(guest).to_have_url(f"{live_server.url}/projects/desk/label/")
    assert (
        Client().get(reverse("invitation", args=[link.rstrip("/").split("/")[-1]])).status_code
        == 404
    )
