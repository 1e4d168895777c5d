"""The annotation calls as scripts see them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Assignment, Pair, Project
from tests.annotate.tool_chat import PROMPT, REPLY, TOOLS, TRANSCRIPT, tool_pair

MakePairs = Callable[..., list[Pair]]
ApiFor = Callable[[User], APIClient]
NEXT = "/api/v1/projects/desk/next/"


@pytest.fixture
def api(ann: User, api_for: ApiFor) -> APIClient:
    return api_for(ann)


def url(body: dict[str, str] | str, call: str) -> str:
    token = body if isinstance(body, str) else body["assignment"]
    return f"/api/v1/assignments/{token}/{call}/"


def post(api: APIClient, address: str, body: object = None) -> tuple[int, dict]:
    response = api.post(address, body or {}, format="json")
    return response.status_code, response.json() if response.content else {}


def test_next_answers_a_pair_and_nothing_that_tells_where_it_came_from(
    api: APIClient, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    status, body = post(api, NEXT)
    assert status == 200
    assert set(body) == {"assignment", "expires_at", "pair", "prompt", "left", "right"}
    assert body["prompt"] == pair.prompt.messages and body["pair"] == pair.pk
    texts = {pair.completion_a.text, pair.completion_b.text}
    assert {body["left"]["text"], body["right"]["text"]} == texts
    assert set(body["left"]) == set(body["right"]) == {"text"}
    assert "starter" not in json.dumps(body)


def test_next_gives_the_turns_and_tools_of_a_chat_and_never_who_wrote_them(
    api: APIClient, project: Project
) -> None:
    pair = tool_pair(project)
    _, body = post(api, NEXT)
    assert body["tools"] == TOOLS
    assert [turn["role"] for turn in body["prompt"]] == [turn["role"] for turn in PROMPT]
    assert body["prompt"][4]["parts"] == PROMPT[4]["parts"]
    assert body["prompt"][5]["thinking"] and body["prompt"][6]["tool_call_id"] == "call_1"
    replies = {body[side]["text"]: body[side].get("messages") for side in ("left", "right")}
    assert [turn["content"] for turn in replies[TRANSCRIPT]] == [turn["content"] for turn in REPLY]
    assert replies["No idea."] is None and pair.completion_b.text == "No idea."
    said = json.dumps(body)
    for secret in ("secret-model", "score", "travel desk", "metadata"):
        assert secret not in said


def test_next_answers_204_with_retry_after_when_there_is_nothing(api: APIClient) -> None:
    response = api.post(NEXT)
    assert response.status_code == 204 and int(response["Retry-After"]) > 0


def test_next_after_a_lease_gives_one_more(api: APIClient, make_pairs: MakePairs) -> None:
    make_pairs(3)
    _, first = post(api, NEXT)
    _, second = post(api, NEXT, {"after": first["assignment"]})
    assert first["assignment"] != second["assignment"]
    assert post(api, NEXT)[1]["assignment"] == first["assignment"]


def test_a_vote_is_stored_and_replayed_and_another_choice_is_a_conflict(
    api: APIClient, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    _, body = post(api, NEXT)
    ballot = {"choice": "left", "strength": 3, "reasons": ["polite"], "comment": "ok"}
    assert post(api, url(body, "vote"), ballot) == (200, {"status": "stored", "next": None})
    assert post(api, url(body, "vote"), ballot)[1]["status"] == "replayed"
    status, said = post(api, url(body, "vote"), {"choice": "right"})
    assert status == 409 and "Undo" in said["detail"]
    stored = Assignment.objects.get(token=body["assignment"])
    assert stored.choice == stored.left and stored.strength == 3


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
@pytest.mark.parametrize("strength", [0, 9, None, "none"])
def test_strength_is_ignored_where_nothing_is_stronger(
    api: APIClient, make_pairs: MakePairs, choice: str, strength: object
) -> None:
    make_pairs(1)
    _, body = post(api, NEXT)
    ballot = {"choice": choice, "strength": strength}
    assert post(api, url(body, "vote"), ballot)[0] == 200


def test_a_vote_can_fetch_the_next_pair(api: APIClient, make_pairs: MakePairs) -> None:
    make_pairs(2)
    _, first = post(api, NEXT)
    _, answer = post(api, url(first, "vote") + "?next=1", {"choice": "tie"})
    assert answer["next"]["assignment"] == post(api, NEXT)[1]["assignment"]
    _, last = post(api, url(answer["next"], "vote") + "?next=1", {"choice": "tie"})
    assert last == {"status": "stored", "next": None}


def test_a_vote_after_the_lease_expired_and_the_pair_filled_is_surplus(
    project: Project,
    ben: User,
    cleo: User,
    api: APIClient,
    api_for: ApiFor,
    make_pairs: MakePairs,
) -> None:
    make_pairs(1)
    _, late = post(api, NEXT)
    queue.release_expired(now=timezone.now() + timedelta(hours=1))
    for user in (ben, cleo):
        client = api_for(user)
        post(client, url(post(client, NEXT)[1], "vote"), {"choice": "tie"})
    assert post(api, url(late, "vote"), {"choice": "left"})[1]["status"] == "surplus"
    assert Pair.objects.get().votes == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choice": "a"},
        {"choice": None},
        {"choice": ["left"]},
        {"choice": "left", "strength": -1},
        {"choice": "left", "strength": 4},
        {"choice": "left", "strength": "2"},
        {"choice": "left", "strength": True},
        {"choice": "left", "strength": 1.5},
        {"choice": "left", "reasons": "rude"},
        {"choice": "left", "reasons": [1]},
        {"choice": "left", "comment": 7},
        {"choice": "left", "comment": "x" * 4001},
        {"choice": "left", "active_ms": -1},
        {"choice": "left", "wall_ms": "long"},
        {"choice": "left", "input": "mind"},
        {"choice": "left", "criteria": {"Helpful": "both_bad"}},
        {"choice": "left", "criteria": {"Unheard of": "left"}},
        {"choice": "left", "strenght": 2},
    ],
)
def test_a_bad_vote_is_400_names_the_field_and_stores_nothing(
    api: APIClient, make_pairs: MakePairs, body: dict[str, object]
) -> None:
    make_pairs(1)
    _, lease = post(api, NEXT)
    status, said = post(api, url(lease, "vote"), body)
    fields = {name.partition(".")[0] for name in said["errors"]}
    assert status == 400 and fields <= {*body, "choice"}
    assert not Assignment.objects.filter(state="voted").exists()


@pytest.mark.parametrize("call", ["vote", "skip", "undo"])
def test_unknown_and_foreign_tokens_are_404(
    project: Project, api: APIClient, ben: User, make_pairs: MakePairs, call: str
) -> None:
    make_pairs(1)
    foreign = queue.next_pair(project, ben)
    assert foreign is not None
    for token in (str(uuid.uuid4()), str(foreign.token), "not-a-token"):
        body = {"choice": "left"} if call == "vote" else {}
        assert api.post(url(token, call), body, format="json").status_code == 404


def test_skip_and_undo(api: APIClient, make_pairs: MakePairs) -> None:
    make_pairs(2)
    _, first = post(api, NEXT)
    status, said = post(api, url(first, "skip") + "?next=1", {"reason": "unclear"})
    assert (status, said["status"]) == (200, "skipped")
    assert said["next"]["assignment"] != first["assignment"]
    assert post(api, url(first, "vote"), {"choice": "left"})[0] == 409
    status, back = post(api, url(first, "undo"))
    assert (status, back["assignment"]) == (200, first["assignment"])
    assert post(api, url(first, "vote"), {"choice": "left"})[1]["status"] == "stored"
    assert post(api, url(first, "skip"))[0] == 409


def test_an_older_vote_cannot_be_undone_past_a_newer_one(
    api: APIClient, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    tokens = []
    for _ in range(2):
        _, body = post(api, NEXT)
        post(api, url(body, "vote"), {"choice": "left"})
        tokens.append(body["assignment"])
    assert post(api, url(tokens[0], "undo"))[0] == 409
    assert post(api, url(tokens[1], "undo"))[0] == 200
    assert post(api, url(tokens[0], "undo"))[0] == 200


@pytest.mark.parametrize("call", ["vote", "skip", "undo"])
def test_only_post_is_allowed(api: APIClient, call: str) -> None:
    assert api.get(NEXT).status_code == 405
    assert api.get(url(str(uuid.uuid4()), call)).status_code == 405


def test_a_session_needs_the_csrf_token(ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ann)
    assert browser.post(NEXT, {}, content_type="application/json").status_code == 403


def test_a_form_body_is_not_understood(api: APIClient, make_pairs: MakePairs) -> None:
    make_pairs(1)
    _, lease = post(api, NEXT)
    assert api.post(url(lease, "vote"), {"choice": "left"}, format="multipart").status_code == 415


def test_a_vote_on_the_api_asks_the_database_a_bounded_number_of_times(
    api: APIClient, make_pairs: MakePairs, django_assert_max_num_queries: Callable[..., object]
) -> None:
    make_pairs(3)
    _, lease = post(api, NEXT)
    with django_assert_max_num_queries(11):
        post(api, url(lease, "vote") + "?next=1", {"choice": "left"})


def test_votes_can_be_throttled(
    api: APIClient, make_pairs: MakePairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotate.api.rate_limits import VoteThrottle

    monkeypatch.setattr(VoteThrottle, "rate", "1/hour", raising=False)
    make_pairs(2)
    _, lease = post(api, NEXT)
    assert post(api, url(lease, "vote"), {"choice": "left"})[0] == 200
    caches["default"].clear()  # The memory of one process: another one counts, too.
    refused = api.post(url(lease, "vote"), {"choice": "left"}, format="json")
    assert refused.status_code == 429
    assert 3000 < int(refused.headers["Retry-After"]) <= 3600


def test_the_schema_is_valid_and_complete(db: None) -> None:
    out = StringIO()
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=out)
    for call in ("{slug}/next/", "{token}/vote/", "{token}/skip/", "{token}/undo/"):
        assert call in out.getvalue()


def test_the_reference_page_shows_every_operation_without_scripts(client: Client, db: None) -> None:
    page = client.get("/api/v1/docs/").content.decode()
    schema = client.get("/api/v1/schema/", headers={"accept": "application/json"}).json()
    for path, methods in schema["paths"].items():
        assert path in page and all(f">{method.upper()}<" in page for method in methods)
    assert "both_bad" in page and "<style" not in page and "style=" not in page
    assert all("src=" in script for script in page.split("<script")[1:])


def test_a_vote_keeps_the_criteria_and_how_it_came_about(
    api: APIClient, project: Project, make_pairs: MakePairs
) -> None:
    project.criteria, project.scale = ["Helpful", "Harmless"], "four"
    project.save()
    make_pairs(1)
    _, body = post(api, NEXT)
    measured = {"active_ms": 900, "first_key_ms": 800, "wall_ms": 1200, "input": "touch"}
    ballot = {"choice": "left", "strength": 0, "criteria": {"Helpful": "right"}, **measured}
    assert post(api, url(body, "vote"), ballot)[0] == 200
    stored = Assignment.objects.get(token=body["assignment"])
    assert stored.criteria == {"Helpful": {"a": "b", "b": "a"}[stored.left]}
    assert stored.criteria_asked == "with_pair"
    assert {name: getattr(stored, name) for name in measured} == measured
    assert stored.strength == 0


def test_reasons_and_criteria_can_follow_the_vote(
    api: APIClient, project: Project, make_pairs: MakePairs
) -> None:
    project.criteria = ["Helpful", "Harmless"]
    project.save()
    make_pairs(1)
    _, body = post(api, NEXT)
    assert post(api, url(body, "remark"), {"comment": "early"})[0] == 409
    post(api, url(body, "vote"), {"choice": "tie"})
    assert Assignment.objects.get(token=body["assignment"]).criteria_asked == "unasked"
    for said in ({"reasons": ["Style"]}, {"criteria": {"Helpful": "tie"}}, {"comment": "Both."}):
        assert post(api, url(body, "remark"), said) == (200, {"status": "stored"})
    assert post(api, url(body, "remark"), {"criteria": {"Charming": "tie"}})[0] == 400
    stored = Assignment.objects.get(token=body["assignment"])
    assert (stored.reasons, stored.comment) == (["Style"], "Both.")
    assert (stored.criteria, stored.criteria_asked) == ({"Helpful": "tie"}, "after_pair")


@pytest.mark.parametrize(("reported", "kept"), [(742_947, 60_000), (59_000, 59_000), (None, None)])
def test_a_vote_counts_no_longer_than_a_slow_reader_needs_for_its_text(
    api: APIClient, make_pairs: MakePairs, reported: int | None, kept: int | None
) -> None:
    make_pairs(1)
    _, body = post(api, NEXT)
    post(api, url(body, "vote"), {"choice": "tie", "active_ms": reported, "wall_ms": 742_947})
    stored = Assignment.objects.get(token=body["assignment"])
    assert (stored.active_ms, stored.wall_ms) == (kept, 742_947)


def test_a_flag_is_filed_once(api: APIClient, make_pairs: MakePairs) -> None:
    make_pairs(1)
    _, body = post(api, NEXT)
    assert post(api, url(body, "flag"), {"kind": "pii"}) == (200, {"new": True})
    assert post(api, url(body, "flag"), {"kind": "pii"}) == (200, {"new": False})
    assert post(api, url(body, "flag"), {"kind": "boring"})[0] == 400
