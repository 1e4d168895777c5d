from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotate.models import Project
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion

Browser = Callable[[User], Client]
URL = "/projects/desk/models/"


@pytest.fixture
def candidate(project: Project) -> ModelVersion:
    """policy-1, outside its KL gate, beside the starter in use."""
    add_starter(project)
    return add_policy(make_round(project, 1), state="candidate", kl=52.4)


def press(client: Client, version: ModelVersion, button: str) -> str:
    answer = client.post(f"{URL}{version.pk}/{button}/", follow=True)
    assert answer.redirect_chain == [(URL, 302)]
    version.refresh_from_db()
    return str(answer.content.decode())


def test_it_shows_versions_with_lineage_figures_and_gates(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode()
    assert "policy-1" in text and "from policy-0" in text and "dataset v1" in text
    assert "/rounds/1/" in text and candidate.path in text
    assert "6 of 7 passed" in text
    assert "Not promoted. KL to the starter (nats): 52.4" in text
    assert "66.0\N{NO-BREAK SPACE}%" in text


def test_it_shows_what_people_think_of_a_policy(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    candidate.metrics |= {"human": {"win_rate": 0.625, "win_rate_low": 0.47, "win_rate_high": 0.76}}
    candidate.save()
    text = client_for(zed).get(URL).content.decode()
    assert "people 62.5\N{NO-BREAK SPACE}%" in text


def test_an_empty_list_says_what_will_be_here(
    project: Project, zed: User, client_for: Browser
) -> None:
    assert b"No model yet" in client_for(zed).get(URL).content


def test_the_number_of_queries_does_not_grow_with_the_models(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(URL).status_code == 200
        return len(seen)

    few = queries()
    for number in range(2, 9):
        add_policy(make_round(candidate.project, number), state="candidate")
    assert queries() == few
    assert few <= 10


def test_a_reviewer_sees_it_without_buttons(
    candidate: ModelVersion, olga: User, client_for: Browser
) -> None:
    page = client_for(olga).get(URL)
    assert page.status_code == 200
    assert b"<form" not in page.content.partition(b"<main")[2]


def test_annotators_and_strangers_do_not_see_it(
    project: Project, ann: User, eve: User, client_for: Browser
) -> None:
    assert client_for(ann).get(URL).status_code == 403
    assert client_for(eve).get(URL).status_code == 404


def test_it_rejects_post(project: Project, zed: User, client_for: Browser) -> None:
    assert client_for(zed).post(URL).status_code == 405


def test_an_admin_promotes_what_failed_a_gate(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    assert "policy-1 is in use now." in press(client_for(zed), candidate, "promote")
    assert candidate.state == "promoted" and "zed" in candidate.note
    assert ModelVersion.objects.get(number=0).state == "retired"


def test_promoting_twice_changes_nothing(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    press(client, candidate, "promote")
    first = candidate.promoted_at
    assert "promoted already" in press(client, candidate, "promote")
    assert candidate.state == "promoted" and candidate.promoted_at == first


def test_an_admin_retires_a_candidate_and_twice_is_harmless(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    for _ in range(2):
        assert "policy-1 is retired." in press(client, candidate, "retire")
        assert candidate.state == "retired"
    assert ModelVersion.objects.get(number=0).state == "promoted"


def test_demoting_restores_the_version_before(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    press(client, candidate, "promote")
    assert "policy-0 is in use again." in press(client, candidate, "retire")
    assert candidate.state == "retired"
    assert ModelVersion.objects.get(number=0).state == "promoted"


def test_the_starter_has_nothing_to_go_back_to(
    project: Project, zed: User, client_for: Browser
) -> None:
    starter = add_starter(project)
    assert "has no version before it" in press(client_for(zed), starter, "retire")
    assert starter.state == "promoted"


@pytest.mark.parametrize("button", ["promote", "retire"])
def test_only_admins_press_buttons_and_only_by_post(
    button: str,
    candidate: ModelVersion,
    zed: User,
    olga: User,
    eve: User,
    client_for: Browser,
) -> None:
    url = f"{URL}{candidate.pk}/{button}/"
    assert client_for(olga).post(url).status_code == 403
    assert client_for(eve).post(url).status_code == 404
    assert client_for(zed).get(url).status_code == 405
    candidate.refresh_from_db()
    assert candidate.state == "candidate"


@pytest.mark.parametrize("button", ["promote", "retire"])
def test_versions_of_other_projects_and_reward_models_are_404(
    button: str, candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    foreign = add_starter(other)
    reward = ModelVersion.objects.create(
        project=candidate.project, kind="reward", number=1, path="runs/x/model"
    )
    for version in (foreign, reward):
        assert client_for(zed).post(f"{URL}{version.pk}/{button}/").status_code == 404
