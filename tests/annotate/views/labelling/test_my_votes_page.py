"""A person's own votes: found, read as they were shown, and changed, without JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate import queue
from annotate.models import Adjudication, Assignment, Pair, Project
from annotate.views import tables
from tests.annotate.queue.test_queue import lease

MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]
PAGE = "/projects/desk/votes/"


@pytest.fixture
def browser(ann: User, client_for: ClientFor) -> Client:
    return client_for(ann)


def cast(project: Project, user: User, side: str, **rest: object) -> Assignment:
    return queue.vote_side(user, lease(project, user).token, side, **rest).assignment


def change(browser: Client, own: Assignment, data: dict[str, object]) -> str:
    """What the page says after the form was sent."""
    answer = browser.post(reverse("my-vote", args=["desk", own.token]), data, follow=True)
    assert answer.status_code == 200
    own.refresh_from_db()
    return answer.content.decode()


def test_votes_and_skips_stand_newest_first_with_the_texts_as_they_were_shown(
    browser: Client, project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    own = cast(project, ann, "left", strength=3, comment="So kind.", reasons=["Style"])
    queue.skip(ann, lease(project, ann).token, reason="hard")
    cast(project, ben, "right", comment="Not mine.")
    entries = browser.get(PAGE).context["entries"]
    assert [entry.said for entry in entries] == ["Skipped", "A much better"]
    shown = queue.shown(own)
    texts = {letter: reply["text"] for letter, reply in entries[1].replies.items()}
    assert texts == {"A": shown["left"], "B": shown["right"]}
    page = browser.get(PAGE).content.decode()
    assert "So kind." in page and "Style" in page and "Not mine." not in page


@pytest.mark.parametrize(("side", "lit"), [("left", ["A"]), ("right", ["B"]), ("tie", [])])
def test_the_reply_that_a_vote_was_for_is_marked(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs, side: str, lit: list[str]
) -> None:
    make_pairs(1)
    cast(project, ann, side)
    page = browser.get(PAGE)
    (entry,) = page.context["entries"]
    assert [letter for letter, reply in entry.replies.items() if reply["chosen"]] == lit
    assert page.content.decode().count("vote-reply chosen") == len(lit)


def test_nothing_on_the_page_tells_where_a_pair_came_from(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1, kind="gold", arms="both", policy="starter-7", margin=1.25)
    cast(project, ann, "left")
    page = browser.get(PAGE).content.decode()
    assert not [word for word in ("starter", "gold", "1.25", "margin") if word in page]


def test_a_vote_is_changed_with_what_was_said_beside_it(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    project.criteria = ["Helpful"]
    project.save()
    make_pairs(1)
    own = cast(project, ann, "left")
    data = {"vote": "6", "reasons": ["Clarity"], "comment": "On reflection.", "criterion-0": "tie"}
    assert "Your change is saved." in change(browser, own, data)
    assert own.choice != own.left and own.strength == 2
    assert (own.reasons, own.comment) == (["Clarity"], "On reflection.")
    assert (own.criteria, own.criteria_asked) == ({"Helpful": "tie"}, "with_pair")
    assert "Helpful: About the same" in browser.get(PAGE).content.decode()
    change(browser, own, data | {"criterion-0": ""})
    assert own.criteria == {}


def test_a_vote_of_another_scale_is_shown_and_stays_unless_it_is_changed(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    own = cast(project, ann, "left", strength=3)
    Project.objects.update(scale="binary")
    assert browser.get(PAGE).context["entries"][0].said == "A much better"
    change(browser, own, {"vote": "", "comment": "As it is."})
    assert (own.choice, own.strength, own.comment) == (own.left, 3, "As it is.")
    change(browser, own, {"vote": "2"})
    assert own.choice != own.left and own.strength == 2


def test_the_reason_of_a_skip_can_be_given_later(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    own = lease(project, ann)
    queue.skip(ann, own.token)
    change(browser, own, {"reason": "broken"})
    assert own.skip_reason == "broken"


def test_what_cannot_be_changed_is_said_in_a_sentence(
    browser: Client, project: Project, ann: User, olga: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    own = cast(project, ann, "left")
    assert "Nothing was changed." in change(browser, own, {"vote": "9"})
    Adjudication.objects.create(pair=pair, reviewer=olga, choice="b", category="ambiguous")
    assert "A reviewer has decided this pair" in change(browser, own, {"vote": "7"})
    assert own.choice == own.left


def test_somebody_elses_vote_is_not_there(
    browser: Client, project: Project, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    own = cast(project, ben, "left")
    answer = browser.post(reverse("my-vote", args=["desk", own.token]), {"vote": "7"})
    assert answer.status_code == 404


def test_votes_are_found_by_their_texts_and_come_ten_at_a_time(
    browser: Client, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(12)
    for i in range(12):
        cast(project, ann, "left", comment="Wörter mit Ümlaut" if i == 3 else "")
    first, second = browser.get(PAGE), browser.get(PAGE, {"page": 2})
    assert [len(page.context["entries"]) for page in (first, second)] == [10, 2]
    found = browser.get(PAGE, {"q": "Wörter mit"})
    assert len(found.context["entries"]) == 1
    assert len(browser.get(PAGE, {"q": "order 7 is"}).context["entries"]) == 1
    assert b"None of your votes matches" in browser.get(PAGE, {"q": "\x00zebra"}).content
    back = browser.post(
        reverse("my-vote", args=["desk", second.context["entries"][0].own.token]),
        {"vote": "1", "page": "2", "q": "order"},
    )
    assert back["Location"].startswith(f"{PAGE}?q=order&page=2#vote-")


def test_a_long_list_is_counted_no_further_than_some_pages_ahead(
    browser: Client,
    project: Project,
    ann: User,
    make_pairs: MakePairs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_pairs(32)
    for _ in range(32):
        cast(project, ann, "left")
    assert "32 in all" in browser.get(PAGE).content.decode()
    monkeypatch.setattr(tables, "AHEAD", 10)
    first = browser.get(PAGE).content.decode()
    assert "more than 20 in all" in first and "Page 1</span>" in first and "?page=2" in first
    last = browser.get(PAGE, {"page": "4"})
    assert len(last.context["entries"]) == 2 and "32 in all" in last.content.decode()
    assert "Page 4 of 4" in last.content.decode()
    for nowhere in ("99", "-1", "x", "9" * 400):
        assert browser.get(PAGE, {"page": nowhere}).status_code == 200
