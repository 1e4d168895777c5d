from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from annotate.models import Completion, Pair, Project
from tests.training.completions.conftest import KEY, PROMPTS, asked
from tests.training.fake_endpoint import Server
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion, Run
from training.views import write_completions
from training.worker import tasks

Browser = Callable[[User], Client]
URL = "/projects/desk/completions/"

__all__ = ["asked"]


def wishes(server: Server, **changes: object) -> dict[str, object]:
    """The form as a browser sends it."""
    given = {"source": "endpoint", "url": server.url, "model": "desk", "prompts": "unanswered"}
    how = {"per_prompt": "2", "temperature": "0.9", "top_p": "1", "max_new_tokens": "64"}
    return given | how | {"concurrency": "4", "seed": "0", "price_out": "1000"} | changes


def page(client: Client) -> str:
    return str(client.get(URL).content.decode())


def test_a_page_with_many_prompts_has_them_counted_once_it_is_there(
    asked: Project, zed: User, client_for: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(zed)
    assert f"{URL}sizes/" not in page(client)
    monkeypatch.setattr(write_completions, "COUNTED", PROMPTS - 1)
    shown = page(client)
    assert f'hx-get="{URL}sizes/" hx-trigger="load"' in shown and "being counted" in shown
    counted = client.get(f"{URL}sizes/").content.decode()
    assert f"{PROMPTS} of {PROMPTS} prompts have no completions" in counted
    assert "hx-get" not in counted and "<html" not in counted


@pytest.mark.django_db(transaction=True)
def test_from_the_form_to_pairs_by_way_of_a_preview(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert f"{PROMPTS} of {PROMPTS} prompts have no completions" in page(client)
    assert client.post(URL, wishes(server)).status_code == 302
    assert "Answering three prompts" in page(client) and "make worker" in page(client)
    tasks.take_runs()
    assert len(server.asked) == 6 and not Completion.objects.exists()
    shown = page(client)
    assert shown.count("Where is parcel") == 3 + 6  # with the replies, which repeat the prompt
    assert f"<strong>{PROMPTS * 2} requests</strong>" in shown
    assert f"about <strong>{7 * PROMPTS * 2} tokens in" in shown and "cost about" in shown
    begin = re.search(rf'action="({URL}[-0-9a-f]+/start/)"', shown)
    assert begin and client.post(begin[1]).status_code == 302
    tasks.take_runs()
    shown = page(client)
    assert "Completions are written" in shown and 'href="/projects/desk/label/"' in shown
    assert (Completion.objects.count(), Pair.objects.count()) == (PROMPTS * 2, PROMPTS)
    assert f"0 of {PROMPTS} prompts have no completions" in shown and KEY not in shown
    assert Run.objects.count() == 1  # the preview is gone
    assert client.get(f"{URL}progress/").status_code == 286


@pytest.mark.django_db(transaction=True)
def test_a_server_without_a_models_name_lists_its_models(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    client.post(URL, wishes(server, model=""))
    tasks.take_runs()
    shown = page(client)
    assert "offers <code>desk</code>, <code>old-desk</code>" in shown
    assert '<option value="old-desk">' in shown and "Write all of them" not in shown


@pytest.mark.django_db(transaction=True)
def test_a_server_that_answers_greedily_is_noticed_by_the_preview(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    server.says = lambda body: str(body["messages"][0]["content"])
    client.post(URL, wishes(server))
    tasks.take_runs()
    assert "seems to answer greedily" in page(client)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "https://evil.example.org/v1"}, "PAIRLOOP_ENDPOINT_HOSTS"),
        ({"url": ""}, "Write the whole address"),
        ({"per_prompt": "1"}, "Two replies make a pair"),
        ({"temperature": "0"}, "the same reply every time"),
        ({"other": "endpoint", "other_model": "desk"}, "Choose two different models"),
        ({"prompts": "tag"}, "Name the tag"),
        ({"prompts": "tag", "tag": "none"}, "No prompt has the tag none"),
        ({"source": "99"}, "Select a valid choice"),
        ({"max_new_tokens": "x"}, "Enter a whole number"),
    ],
)
def test_what_cannot_be_written_is_said(
    changes: dict[str, object],
    said: str,
    asked: Project,
    server: Server,
    zed: User,
    client_for: Browser,
) -> None:
    answer = client_for(zed).post(URL, wishes(server, **changes))
    assert answer.status_code in (400, 409) and said in answer.content.decode()
    assert not Run.objects.exists()


def test_a_second_preview_waits_for_the_first(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    client.post(URL, wishes(server))
    answer = client.post(URL, wishes(server))
    assert answer.status_code == 409 and "being answered already" in answer.content.decode()
    [run] = Run.objects.all()
    client.post(f"{URL}{run.uuid}/cancel/")
    assert "The preview was cancelled" in page(client)
    assert client.post(URL, wishes(server)).status_code == 302


def test_a_model_of_the_project_writes_where_there_is_one(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    starter = add_starter(asked)
    ModelVersion.objects.filter(pk=starter.pk).update(state="retired")
    policy = add_policy(make_round(asked, 1))
    client = client_for(zed)
    assert f'<option value="{policy.pk}">policy-1 (in use)</option>' in page(client)
    other = {"other": str(policy.pk), "per_prompt": "1"}
    assert client.post(URL, wishes(server, **other)).status_code == 302
    run = Run.objects.get(kind="preview")
    assert run.worker == "gpu"
    assert [source["name"] for source in run.options["sources"]] == ["desk", "policy-1"]


def test_the_model_in_use_is_chosen_before_a_newer_one_that_failed_its_gates(
    asked: Project, settings: Settings, zed: User, client_for: Browser
) -> None:
    settings.ENDPOINT_HOSTS, settings.ENDPOINT = [], ""
    starter = add_starter(asked)
    failed = add_policy(make_round(asked, 1), state="candidate")
    shown = page(client_for(zed))
    assert f'<option value="{starter.pk}" selected>policy-0 (in use)</option>' in shown
    assert f'<option value="{failed.pk}">policy-1 (candidate)</option>' in shown


def test_an_endpoints_model_is_not_taken_for_one_of_the_project(
    asked: Project, server: Server, zed: User, client_for: Browser
) -> None:
    client_for(zed).post(URL, wishes(server, model="starter"))
    [source] = Run.objects.get().options["sources"]
    assert source["name"].startswith("starter (127.0.0.1:") and source["model"] == "starter"


def test_it_is_an_admins_page(
    asked: Project, server: Server, olga: User, eve: User, client_for: Browser
) -> None:
    assert client_for(olga).get(URL).status_code == 403
    assert client_for(eve).get(URL).status_code == 404
    assert client_for(olga).post(URL, wishes(server)).status_code == 403


def test_without_servers_and_models_it_says_who_can_name_some(
    asked: Project, settings: Settings, zed: User, client_for: Browser
) -> None:
    settings.ENDPOINT_HOSTS = []
    assert "PAIRLOOP_ENDPOINT_HOSTS" in page(client_for(zed))
    settings.ENDPOINT_HOSTS = ["not a host"]
    shown = page(client_for(zed))
    assert "not a host is no address of a server" in shown


def test_the_data_page_leads_there(asked: Project, zed: User, client_for: Browser) -> None:
    assert f'href="{URL}"' in client_for(zed).get("/projects/desk/data/").content.decode()


def test_a_failed_run_shows_why_and_what_it_wrote(
    asked: Project, zed: User, client_for: Browser
) -> None:
    taken: dict[str, Any] = {
        "offset": 1,
        "counts": {"prompts": 9, "replies": 12, "completions": 11, "pairs": 4, "equal": 8},
        "refused": {"http://x refuses the request (400): too long": 2},
    }
    taken["counts"] |= {"left_out_looping": 1, "truncated": 3, "refused": 2}
    options = {"sources": [{"name": "desk", "url": "http://x", "model": "desk"}], "taken": taken}
    options |= {"prompts": "all", "tag": "", "most": 0, "per_prompt": 2, "temperature": 0.9}
    options |= {"top_p": 1.0, "max_new_tokens": 64, "concurrency": 4, "seed": 0}
    run = Run.objects.create(
        project=asked, kind="completions", state="failed", error="It broke.", options=options
    )
    shown = page(client_for(zed))
    for said in (
        "It broke. What was written stays",
        "8 replies read like another one",
        "1 looping reply left out",
        "3 end at the longest length",
        "2 requests failed: http://x refuses the request (400): too long",
        "answer greedily",
        f'action="{URL}{run.uuid}/go-on/"',
    ):
        assert said in shown
