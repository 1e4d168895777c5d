"""The labelling page and its votes, skips and undo, with and without htmx."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import queue
from annotate.models import Assignment, Membership, Pair, Project
from annotate.models.roles import Role

ROOT = Path(__file__).parents[4]
LABEL = "/projects/desk/label/"
UNDO = f"{LABEL}undo/"
HTMX = {"HX-Request": "true"}
ClientFor = Callable[[User], Client]
MakePairs = Callable[..., list[Pair]]


def lease(project: Project, user: User) -> Assignment:
    found = queue.next_pair(project, user)
    assert found
    return found


def address(assignment: Assignment, act: str = "vote") -> str:
    return f"{LABEL}{assignment.token}/{act}/"


def imports_of(script: str) -> set[str]:
    source = (ROOT / "static/js" / script).read_text()
    return set(re.findall(r'from "\./([\w-]+\.js)"', source))


def test_every_module_that_label_js_imports_is_fetched_at_once_and_no_other() -> None:
    needed, new = set[str](), {"label.js"}
    while new:
        needed |= new
        new = set().union(*map(imports_of, new)) - needed
    template = (ROOT / "templates/annotate/label.html").read_text()
    preloaded = re.findall(r"modulepreload\" href=\"{% static 'js/([\w-]+\.js)' %}", template)
    assert len(needed) > 1
    assert sorted(preloaded) == sorted(needed - {"label.js"})


def test_it_shows_one_pair(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    response = client_for(ann).get(LABEL)
    html = response.content.decode()
    assert response.status_code == 200
    assert html.count("<article") == 2
    shown = queue.shown(lease(project, ann))
    assert html.index(shown["prompt"][0]["content"]) < html.index(shown["left"])
    assert html.index(shown["left"]) < html.index(shown["right"])


def test_it_says_nothing_about_where_the_replies_come_from(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    pair = make_pairs(1, source="round-7", priority=0.8125)[0]
    pair.completion_a.policy = "policy-seven"
    pair.completion_a.save()
    html = client_for(ann).get(LABEL).content.decode()
    for secret in (
        "policy",
        "round-7",
        "0.8125",
        "starter",
        "random",
        str(pair.completion_a.sha256),
    ):
        assert secret not in html


def test_a_reload_shows_the_same_pair(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(5)
    client = client_for(ann)
    tokens = [re.findall('data-token="(.+?)"', client.get(LABEL).content.decode()) for _ in "12"]
    assert tokens[0] == tokens[1]


def test_the_label_page_asks_few_questions(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    client = client_for(ann)
    client.get(LABEL)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(LABEL)
    assert len(queries) <= 13, "\n".join(query["sql"] for query in queries)


def test_a_vote_with_the_pair_that_follows_asks_few_questions(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    # One lease in twenty looks for a check first, by another statement.
    Project.objects.update(gold_share=0)
    client, assignment = client_for(ann), lease(project, ann)
    client.get(LABEL)
    with CaptureQueriesContext(connection) as queries:
        assert client.post(address(assignment), {"vote": "1"}, headers=HTMX).status_code == 200
    most = 8 if connection.vendor == "postgresql" else 11
    assert len(queries) <= most, "\n".join(query["sql"] for query in queries)


@pytest.mark.parametrize(
    ("key", "choice", "strength"),
    [
        *(("1", "left", 3), ("2", "left", 2), ("3", "left", 1), ("4", "tie", 0)),
        *(("5", "right", 1), ("6", "right", 2), ("7", "right", 3), ("8", "both_bad", 0)),
    ],
)
def test_a_key_is_stored_about_the_completion_not_the_side(
    client_for: ClientFor,
    ann: User,
    project: Project,
    make_pairs: MakePairs,
    key: str,
    choice: str,
    strength: int,
) -> None:
    make_pairs(1)
    assignment = lease(project, ann)
    client_for(ann).post(address(assignment), {"vote": key, "active_ms": "4200"})
    assignment.refresh_from_db()
    other = "b" if assignment.left == "a" else "a"
    expected = {"left": assignment.left, "right": other}.get(choice, choice)
    assert (assignment.choice, assignment.strength) == (expected, strength)
    assert assignment.active_ms == 4200


def test_the_answer_to_a_vote_holds_the_next_pair(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    assignment = lease(project, ann)
    response = client_for(ann).post(address(assignment), {"vote": "1"}, headers=HTMX)
    html = response.content.decode()
    following = lease(project, ann)
    assert response.status_code == 200
    assert following != assignment
    assert f'data-token="{following.token}"' in html
    assert "A much better" in html
    assert "<html" not in html


def test_a_vote_without_javascript_redirects_to_the_next_pair(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    client = client_for(ann)
    assignment = lease(project, ann)
    response = client.post(address(assignment), {"vote": "4"}, follow=True)
    assert response.redirect_chain == [(LABEL, 302)]
    assert "About the same" in response.content.decode()
    assert str(lease(project, ann).token) in response.content.decode()


def test_the_same_vote_twice_is_stored_once(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = make_pairs(1)[0]
    assignment = lease(project, ann)
    answers = [client_for(ann).post(address(assignment), {"vote": "1"}, headers=HTMX) for _ in "12"]
    assert [answer.status_code for answer in answers] == [200, 200]
    pair.refresh_from_db()
    assert pair.votes == 1


def test_another_choice_for_the_same_pair_is_refused(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    assignment = lease(project, ann)
    client = client_for(ann)
    client.post(address(assignment), {"vote": "1"})
    response = client.post(address(assignment), {"vote": "7"}, headers=HTMX)
    assert response.status_code == 409
    assert "already voted differently" in response.content.decode()
    assignment.refresh_from_db()
    assert assignment.strength == 3
    assert assignment.choice == assignment.left


@pytest.mark.parametrize(
    "data",
    [{}, {"vote": ""}, {"vote": "9"}, {"vote": "1", "active_ms": "-1"}, {"vote": "1\x00"}],
)
def test_a_vote_that_makes_no_sense_is_refused(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs, data: dict[str, str]
) -> None:
    make_pairs(1)
    assignment = lease(project, ann)
    assert client_for(ann).post(address(assignment), data).status_code == 400
    assignment.refresh_from_db()
    assert assignment.state == "reserved"


@pytest.mark.parametrize("act", ["vote", "skip"])
def test_unknown_and_foreign_tokens_are_not_found(
    client_for: ClientFor, ann: User, ben: User, project: Project, make_pairs: MakePairs, act: str
) -> None:
    make_pairs(1)
    foreign = lease(project, ben)
    client = client_for(ann)
    assert client.post(address(foreign, act), {"vote": "1"}).status_code == 404
    assert client.post(f"{LABEL}{uuid4()}/{act}/", {"vote": "1"}).status_code == 404
    foreign.refresh_from_db()
    assert foreign.state == "reserved"


@pytest.mark.parametrize("act", ["vote", "skip", "undo"])
def test_acts_have_to_be_posted(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs, act: str
) -> None:
    make_pairs(1)
    target = UNDO if act == "undo" else address(lease(project, ann), act)
    assert client_for(ann).get(target).status_code == 405


def test_the_page_cannot_be_posted(client_for: ClientFor, ann: User) -> None:
    assert client_for(ann).post(LABEL).status_code == 405


def test_strangers_and_former_members_see_nothing(
    client_for: ClientFor, eve: User, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    assignment = lease(project, ann)
    assert client_for(eve).get(LABEL).status_code == 404
    assert client_for(eve).post(address(assignment), {"vote": "1"}).status_code == 404
    assert client_for(eve).post(UNDO).status_code == 404
    Membership.objects.filter(user=ann).update(active=False)
    assert client_for(ann).get(LABEL).status_code == 404
    assert client_for(ann).post(address(assignment), {"vote": "1"}).status_code == 404


def test_a_visitor_is_sent_to_sign_in(client: Client, project: Project) -> None:
    response = client.get(LABEL)
    assert response.headers["Location"] == f"/accounts/login/?next={LABEL}"


def test_undo_gives_the_last_vote_back(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = make_pairs(2)[0]
    client = client_for(ann)
    assignment = lease(project, ann)
    client.post(address(assignment), {"vote": "1"}, headers=HTMX)
    response = client.post(UNDO, headers=HTMX)
    assert f'data-token="{assignment.token}"' in response.content.decode()
    pair.refresh_from_db()
    assert pair.votes == 0


def test_undo_without_javascript_comes_back_to_the_pair(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    client = client_for(ann)
    assignment = lease(project, ann)
    client.post(address(assignment), {"vote": "1"}, follow=True)
    response = client.post(UNDO, follow=True)
    assert f'data-token="{assignment.token}"' in response.content.decode()


def test_an_undo_that_is_sent_twice_takes_one_vote_back(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    client = client_for(ann)
    first, second = lease(project, ann), None
    client.post(address(first), {"vote": "1"})
    second = lease(project, ann)
    client.post(address(second), {"vote": "1"})
    for _ in "12":
        response = client.post(UNDO, {"last": str(second.token)}, headers=HTMX)
        assert response.status_code == 200
    assert list(Assignment.objects.filter(state="voted")) == [first]


def test_undo_with_nothing_to_take_back_says_so(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    response = client_for(ann).post(UNDO, headers=HTMX)
    assert "Nothing to take back" in response.content.decode()


@pytest.mark.parametrize(
    ("last", "status"), [("x", 400), ("00000000-0000-4000-8000-000000000000", 404)]
)
def test_undo_of_something_else_is_refused(
    client_for: ClientFor, ann: User, last: str, status: int
) -> None:
    assert client_for(ann).post(UNDO, {"last": last}).status_code == status


def test_a_skipped_pair_is_not_offered_again(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client = client_for(ann)
    assignment = lease(project, ann)
    answers = [client.post(address(assignment, "skip"), headers=HTMX) for _ in "12"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "Nothing to compare just now" in answers[0].content.decode()
    assert client.post(address(assignment), {"vote": "1"}, headers=HTMX).status_code == 409


def test_undo_is_offered_where_there_is_something_to_undo(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    client = client_for(ann)
    assert 'data-key="u"' not in client.get(LABEL).content.decode()
    make_pairs(1)
    skipped = client.post(address(lease(project, ann), "skip"), headers=HTMX)
    assert "Nothing to compare just now" in skipped.content.decode()
    for answer in (skipped, client.get(LABEL)):
        assert 'data-key="u"' in answer.content.decode()


def test_the_waiting_page_is_sent_again_only_when_something_changed(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    client = client_for(ann)
    html = client.get(LABEL).content.decode()
    poll = re.findall(r'hx-get="(.+?)"', html)[0]
    assert 'hx-trigger="every 5s"' in html
    assert client.get(poll, headers=HTMX).status_code == 204
    make_pairs(1)
    answer = client.get(poll, headers=HTMX)
    assert answer.content.decode().count("<article") == 2


def test_an_archived_project_hands_nothing_out(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    project.archived = True
    project.save()
    html = client_for(ann).get(LABEL).content.decode()
    assert "archived" in html
    assert not Assignment.objects.exists()


def test_raw_text_stays_raw_from_vote_to_vote(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = make_pairs(2)[0]
    for completion in (pair.completion_a, pair.completion_b):
        completion.text += " **bold** <b>\u202e"
        completion.save()
    client = client_for(ann)
    html = client.get(f"{LABEL}?raw=1").content.decode()
    assert "**bold** &lt;b&gt;⟦U+202E⟧" in html
    assignment = lease(project, ann)
    answer = client.post(address(assignment), {"vote": "1", "raw": "1"}, headers=HTMX)
    assert answer.content.decode().count('<pre class="raw"') == 2
    client.post(UNDO)
    response = client.post(address(assignment), {"vote": "1", "raw": "1"})
    assert response.headers["Location"] == f"{LABEL}?view=raw"


def test_the_diff_marks_in_each_reply_what_the_other_has_not(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = make_pairs(1)[0]
    for completion, animal in ((pair.completion_a, "<cat>"), (pair.completion_b, "<dog>")):
        completion.text = f"I have a {animal}."
        completion.save()
    html = client_for(ann).get(f"{LABEL}?view=diff").content.decode()
    assert html.count('<pre class="raw diff" dir="auto" data-view="source">') == 2
    words = {
        mark: re.search(f"&lt;<{mark}>(cat|dog)</{mark}>&gt;", html) for mark in ("del", "ins")
    }
    assert all(words.values())
    assert html.index("<del>") < html.index("<ins>")


def test_an_unknown_view_shows_the_formatted_replies(
    client_for: ClientFor, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    html = client_for(ann).get(f"{LABEL}?view=%3Cscript%3E").content.decode()
    assert html.count('data-view="formatted">') == 2
    assert html.count('data-view="source" hidden>') == 2


def test_simulated_votes_are_announced_where_they_are_used(
    client_for: ClientFor, ann: User, project: Project
) -> None:
    client = client_for(ann)
    assert "Simulated votes" not in client.get(LABEL).content.decode()
    project.train_on_simulated = True
    project.save()
    assert "Simulated votes" in client.get(LABEL).content.decode()


def test_hostile_replies_stay_text(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = make_pairs(1)[0]
    pair.completion_a.text = '<script>alert(1)</script></article><form action="//evil">'
    pair.completion_a.save()
    pair.prompt.messages = [{"role": "<b>", "content": "</section><img src=//evil/x.png>"}]
    pair.prompt.save()
    html = client_for(ann).get(LABEL).content.decode()
    assert "<script>alert" not in html
    assert "<img" not in html
    assert html.count("<article") == html.count("</article>") == 2
    assert "&lt;b&gt;" in html


def test_tabs_follow_the_role(
    client_for: ClientFor, ann: User, zed: User, project: Project
) -> None:
    assert "/projects/desk/people/" not in client_for(ann).get(LABEL).content.decode()
    assert "/projects/desk/people/" in client_for(zed).get(LABEL).content.decode()


def test_a_superuser_labels_in_every_project(
    client_for: ClientFor, root: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client = client_for(root)
    client.get(LABEL)
    client.post(address(lease(project, root)), {"vote": "1"})
    assert Assignment.objects.get().state == "voted"
    assert Membership.objects.get(user=root).role == Role.ADMIN


def test_a_vote_without_the_csrf_token_is_refused(
    ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    response = client.post(address(lease(project, ann)), {"vote": "1"})
    assert response.status_code == 403
    assert "too old" in response.content.decode()
    assert Assignment.objects.get().state == "reserved"


def test_pages_hold_no_inline_script_or_style(
    client_for: ClientFor, root: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client = client_for(root)
    for page in ("label/", "guidelines/", "settings/", "people/"):
        html = client.get(f"/projects/desk/{page}").content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html), page


def test_a_vote_that_came_too_late_is_kept_and_says_so(
    client_for: ClientFor, ann: User, ben: User, cleo: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    late = lease(project, ann)
    Assignment.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    for other in (ben, cleo):
        queue.vote(other, lease(project, other).token, choice="a")
    response = client_for(ann).post(address(late), {"vote": "1"}, headers=HTMX)
    assert "extra vote" in response.content.decode()
    late.refresh_from_db()
    assert (late.state, late.surplus) == ("voted", True)


def tokens(html: str) -> list[str]:
    return re.findall('data-token="(.*?)"', html)


def test_a_page_can_fetch_the_pair_that_comes_after_its_own(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    client = client_for(ann)
    shown = str(lease(project, ann).token)
    ahead = tokens(client.get(LABEL, {"after": shown}, headers=HTMX).content.decode())
    assert ahead not in ([shown], [])
    assert tokens(client.get(LABEL, {"after": shown}, headers=HTMX).content.decode()) == ahead
    assert tokens(client.get(LABEL, {"after": "x"}, headers=HTMX).content.decode()) == [shown]


def test_with_nothing_after_the_pair_the_answer_is_empty(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    shown = str(lease(project, ann).token)
    assert client_for(ann).get(LABEL, {"after": shown}, headers=HTMX).status_code == 204


@pytest.mark.parametrize("act", ["vote", "skip"])
def test_the_answer_to_an_act_goes_beyond_the_pair_that_is_shown_already(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs, act: str
) -> None:
    make_pairs(3)
    first = lease(project, ann)
    second = queue.next_pair(project, ann, after=first.token)
    assert second
    data = {"vote": "1", "after": str(second.token)}
    html = client_for(ann).post(address(first, act), data, headers=HTMX).content.decode()
    third = Assignment.objects.exclude(pk__in=[first.pk, second.pk]).get()
    assert tokens(html) == [str(third.token)]
