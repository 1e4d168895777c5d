from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Completion, Pair, Project, Prompt
from annotate.models.content import messages_sha256
from tests.annotate.tool_chat import tool_pair
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion
from training.models.trial import Trial
from training.playground import prompt_trials
from training.worker import scheduler

Browser = Callable[[User], Client]
URL = "/projects/desk/playground/"
SAID = [{"role": "user", "content": "Where is it?"}]


@pytest.fixture
def policies(project: Project) -> list[ModelVersion]:
    """The starter, and policy-1 which is in use."""
    starter = add_starter(project)
    ModelVersion.objects.filter(pk=starter.pk).update(state="retired")
    return [starter, add_policy(make_round(project, 1))]


@pytest.fixture
def done(policies: list[ModelVersion], zed: User) -> Trial:
    """A trial of zed's that was answered by both."""
    replies: list[dict[str, Any]] = [
        {
            "text": "On its *way*. <script>alert(1)</script>",
            "tokens": 9,
            "score": 1.25,
            "fault": "",
        },
        {
            "text": "No idea.",
            "tokens": 3,
            "score": -0.5,
            "fault": "truncated",
            "shown": "Ask again.",
        },
    ]
    return Trial.objects.create(
        project=policies[0].project,
        user=zed,
        messages=SAID,
        choices=[str(policies[1].pk), str(policies[0].pk)],
        temperature=0.7,
        max_new_tokens=32,
        seed=5,
        state="done",
        replies=replies,
        scorer="reward-1",
    )


def fields(*versions: ModelVersion, **changes: object) -> dict[str, object]:
    named = dict(zip(("first", "second", "third", "fourth"), versions, strict=False))
    how = {"message": "Where is it?", "temperature": "0.7", "max_new_tokens": "32", "seed": "5"}
    return how | {name: str(version.pk) for name, version in named.items()} | changes


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


def initial(page: str, name: str) -> str:
    """The value that a field of the form begins with."""
    found = re.search(rf'<textarea name="{name}"[^>]*>\s*([^<]*)</textarea>', page)
    found = found or re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1].replace("&quot;", '"')


def test_it_begins_with_the_policy_in_use_and_the_one_before(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    page = text(client_for(olga).get(URL))
    assert re.findall(r'value="(\d+)" selected', page) == [str(p.pk) for p in reversed(policies)]


def test_a_prompt_is_asked_and_waits_for_a_worker_that_is_missed(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    client = client_for(olga)
    page = text(client.post(URL, fields(*policies, system="Be brief."), follow=True))
    trial = Trial.objects.get()
    assert [turn["content"] for turn in trial.messages] == ["Be brief.", "Where is it?"]
    assert trial.choices == [str(policy.pk) for policy in policies]
    assert (trial.temperature, trial.max_new_tokens, trial.seed) == (0.7, 32, 5)
    assert "No training worker has ever reported. Start one with: make worker-gpu" in page
    scheduler.seen("gpu")
    assert "Waiting for the process with the models" in text(client.get(f"{URL}{trial.uuid}/"))


def test_a_busy_process_is_said_to_be_busy(done: Trial, olga: User, client_for: Browser) -> None:
    scheduler.seen("gpu")
    Trial.objects.update(state="running", lease_until=timezone.now() + Trial.LEASE)
    client = client_for(olga)
    page = text(client.post(URL, fields(*ModelVersion.objects.all()), follow=True))
    assert "Busy: 1 prompt is ahead of yours." in page


def test_replies_are_formatted_scored_and_harmless(
    done: Trial, zed: User, client_for: Browser
) -> None:
    page = text(client_for(zed).get(f"{URL}{done.uuid}/"))
    assert "<em>way</em>" in page and "<script>alert" not in page
    assert re.search(r"1\.25</strong></span> <span class=\"chip chip-good\">highest", page)
    assert page.count("highest") == 1 and ">truncated<" in page
    assert "would show a reader: “Ask again.”" in page
    assert "hx-get" not in page.partition('id="replies"')[2].partition(">")[0]


def test_scores_that_read_the_same_have_no_highest(
    done: Trial, zed: User, client_for: Browser
) -> None:
    Trial.objects.update(
        replies=[one | {"score": 10.21 + i / 1000} for i, one in enumerate(done.replies)]
    )
    assert "highest" not in text(client_for(zed).get(f"{URL}{done.uuid}/"))


def test_what_did_not_fit_into_a_context_is_said(
    done: Trial, zed: User, client_for: Browser
) -> None:
    Trial.objects.update(replies=[one | {"cut": 7 * i} for i, one in enumerate(done.replies)])
    page = text(client_for(zed).get(f"{URL}{done.uuid}/"))
    assert page.count("did not fit") == 1 and "The first 7 tokens of the chat" in page


def test_polling_is_quiet_while_nothing_changes_and_ends_with_the_trial(
    done: Trial, zed: User, client_for: Browser
) -> None:
    client, address = client_for(zed), f"{URL}{done.uuid}/progress/"
    Trial.objects.update(state="running", lease_until=timezone.now() + Trial.LEASE)
    first = client.get(address)
    seen = re.search(r"\?seen=(\w+)", text(first))
    assert first.status_code == 200 and seen
    assert client.get(address, {"seen": seen[1]}).status_code == 204
    Trial.objects.update(replies=[{"text": "On its way, soon."}, {}])
    assert "soon" in text(client.get(address, {"seen": seen[1]}))
    Trial.objects.update(state="done")
    assert client.get(address, {"seen": seen[1]}).status_code == 286


def test_a_trial_whose_worker_went_away_says_so(
    done: Trial, zed: User, client_for: Browser
) -> None:
    Trial.objects.update(state="running", lease_until=timezone.now() - Trial.LEASE)
    answer = client_for(zed).get(f"{URL}{done.uuid}/progress/")
    assert answer.status_code == 286 and "went away. Ask again." in text(answer)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"message": " "}, "This field is required"),
        ({"message": "x" * (prompt_trials.MOST_MESSAGE + 1)}, "at most 8000 characters"),
        ({"temperature": "9"}, "less than or equal to 2"),
        ({"temperature": "nan"}, "Enter a number"),
        ({"max_new_tokens": "5000"}, "less than or equal to 1024"),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"first": "999"}, "Select a valid choice"),
        ({"second": ""}, "This field is required"),
        ({"history": "{"}, "Enter a valid JSON"),
        ({"history": "[" * 100_000}, "Enter a valid JSON"),
        ({"history": '[{"role": "tool", "content": "x"}]'}, "not a chat"),
        ({"history": '{"a": 1}'}, "not a chat"),
        ({"history": json.dumps(SAID * 25)}, "too long"),
        ({"history": r'[{"role": "user", "content": "\u0000"}]'}, "not a chat"),
        ({"history": r'[{"role": "user", "content": "\ud800"}]'}, "not a chat"),
    ],
)
def test_bad_input_is_named_and_nothing_is_asked(
    changes: dict[str, str],
    said: str,
    policies: list[ModelVersion],
    olga: User,
    client_for: Browser,
) -> None:
    answer = client_for(olga).post(URL, fields(*policies, **changes))
    assert answer.status_code == 400 and said in text(answer)
    assert not Trial.objects.exists()


def test_a_prompt_with_tools_is_shown_as_it_is_and_can_be_asked(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    pair = tool_pair(policies[0].project)
    browser = client_for(olga)
    page = text(browser.get(URL, {"prompt": pair.prompt_id}))
    for said in ("Developer’s instructions", "Calls <b>get_weather</b>", "Tool: get_weather"):
        assert said in page
    history = json.dumps(pair.prompt.messages[1:])
    answer = browser.post(URL, fields(*policies, history=history, message="Take a coat?"))
    assert answer.status_code == 302
    asked = Trial.objects.get().messages
    assert [turn["role"] for turn in asked][:3] == ["developer", "user", "assistant"]
    assert asked[4]["content"].startswith("get_weather(") and asked[5]["role"] == "tool"


def test_the_same_model_twice_is_refused(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    answer = client_for(olga).post(URL, fields(policies[0], policies[0]))
    assert answer.status_code == 400 and "Choose different models." in text(answer)


def test_one_prompt_at_a_time_and_not_too_many_a_minute(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    client = client_for(olga)
    client.post(URL, fields(*policies))
    answer = client.post(URL, fields(*policies, message="Keep these words."))
    assert answer.status_code == 429 and "still being answered" in text(answer)
    assert "Keep these words." in text(answer)
    assert f'href="{URL}{Trial.objects.get().uuid}/">Go to it</a>' in text(answer)
    for _ in range(prompt_trials.PER_MINUTE - 1):
        client.post(f"{URL}{Trial.objects.latest('pk').uuid}/stop/")
        client.post(URL, fields(*policies))
    client.post(f"{URL}{Trial.objects.latest('pk').uuid}/stop/")
    answer = client.post(URL, fields(*policies))
    assert answer.status_code == 429 and "a minute" in text(answer)
    assert Trial.objects.count() == prompt_trials.PER_MINUTE


def test_a_chat_goes_on_from_the_reply_that_was_chosen(
    done: Trial, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    page = text(client.get(URL, {"after": done.uuid, "reply": 1}))
    history = json.loads(initial(page, "history"))
    assert history == [*SAID, {"role": "assistant", "content": "No idea."}]
    assert initial(page, "message") == ""
    asked = fields(
        *ModelVersion.objects.all(), message="Ask somebody.", history=json.dumps(history)
    )
    client.post(URL, asked)
    turns = Trial.objects.latest("pk").messages
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]


@pytest.mark.parametrize("reply", ["9", "x", "", "²"])
def test_a_reply_that_there_is_not_begins_an_empty_chat(
    reply: str, done: Trial, zed: User, client_for: Browser
) -> None:
    for after in (str(done.uuid), "nonsense"):
        page = text(client_for(zed).get(URL, {"after": after, "reply": reply}))
        assert initial(page, "message") == ""


def test_a_prompt_of_the_project_is_picked_or_drawn(
    policies: list[ModelVersion], project: Project, olga: User, client_for: Browser
) -> None:
    chat = [{"role": "system", "content": "Be kind."}, *SAID]
    sha = messages_sha256(chat)
    prompt = Prompt.objects.create(project=project, messages=chat, sha256=sha, held_out=False)
    other = Project.objects.create(slug="other", name="Other")
    foreign = Prompt.objects.create(project=other, messages=SAID, sha256="f" * 64, held_out=False)
    client = client_for(olga)
    for name in (prompt.pk, "any"):
        page = text(client.get(URL, {"prompt": name}))
        assert (initial(page, "message"), initial(page, "system")) == ("Where is it?", "Be kind.")
    for name in (foreign.pk, "9" * 30, "x", "²"):
        assert initial(text(client.get(URL, {"prompt": name})), "message") == ""


def test_a_model_behind_a_server_can_be_asked(
    policies: list[ModelVersion], olga: User, client_for: Browser, settings: Settings
) -> None:
    settings.ENDPOINT, settings.ENDPOINT_MODEL = "http://gpu:8000/v1", "desk-8b"
    client = client_for(olga)
    assert "desk-8b (server)" in text(client.get(URL))
    client.post(URL, fields(policies[0], second="desk-8b"))
    assert Trial.objects.get().choices == [str(policies[0].pk), "desk-8b"]


def test_versions_without_weights_cannot_be_asked(
    policies: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    ModelVersion.objects.filter(pk=policies[0].pk).update(pruned_at=timezone.now())
    assert "policy-0" not in text(client_for(olga).get(URL))


def test_a_project_without_a_policy_says_what_will_be_here(
    project: Project, olga: User, client_for: Browser
) -> None:
    assert "Nobody to ask yet" in text(client_for(olga).get(URL))


def test_an_admin_without_a_model_is_led_to_adding_one(
    project: Project, zed: User, client_for: Browser
) -> None:
    page = text(client_for(zed).get(URL)).split("<main")[1]
    assert 'href="/projects/desk/models/add/">Add a model</a>' in page and ">Rounds<" not in page


@pytest.mark.parametrize("part", ["", "progress/", "stop/"])
def test_what_others_try_is_their_own(
    part: str, done: Trial, olga: User, client_for: Browser
) -> None:
    client = client_for(olga)
    ask = client.post if part == "stop/" else client.get
    assert ask(f"{URL}{done.uuid}/{part}").status_code == 404


def test_two_replies_become_a_pair_outside_the_random_stream(
    done: Trial, zed: User, client_for: Browser
) -> None:
    client, address = client_for(zed), f"{URL}{done.uuid}/queue/"
    page = text(client.post(address, {"a": 0, "b": 1}, follow=True))
    assert "The pair is in the queue." in page
    pair = Pair.objects.get()
    assert pair.prompt.messages == SAID and pair.open_slots > 0
    assert (pair.stream, pair.source) == ("active", "playground")
    signed = set(Completion.objects.values_list("text", "policy", "source"))
    assert signed == {
        (done.replies[0]["text"], "policy-1", "playground"),
        ("No idea.", "starter", "playground"),
    }
    assert "was queued before" in text(client.post(address, {"a": 0, "b": 1}, follow=True))
    assert Pair.objects.count() == 1


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"a": 0, "b": 0}, "nothing to choose"),
        ({"a": 0, "b": 7}, "needs two replies"),
        ({"a": -1, "b": 1}, "needs two replies"),
        ({"a": "x"}, "Choose two replies"),
    ],
)
def test_what_is_no_pair_is_refused(
    chosen: dict[str, object], said: str, done: Trial, zed: User, client_for: Browser
) -> None:
    answer = client_for(zed).post(f"{URL}{done.uuid}/queue/", chosen, follow=True)
    assert said in text(answer)
    assert not Pair.objects.exists()


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])
def test_replies_that_were_cut_off_are_no_pair(
    state: str, done: Trial, zed: User, client_for: Browser
) -> None:
    Trial.objects.update(state=state, lease_until=timezone.now() + Trial.LEASE)
    address = f"{URL}{done.uuid}/queue/"
    page = text(client_for(zed).post(address, {"a": 0, "b": 1}, follow=True))
    assert "written to their end" in page
    assert not Pair.objects.exists()
