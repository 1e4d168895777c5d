from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import Project
from tests.training.conftest import queries
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion

Browser = Callable[[User], Client]
URL = "/projects/desk/models/"


@pytest.fixture
def candidate(project: Project) -> ModelVersion:
    """policy-1, outside its KL gate, beside the starter in use."""
    add_starter(project)
    return add_policy(make_round(project, 1), state="candidate", kl=52.4)


def test_it_shows_versions_with_lineage_figures_and_gates(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode()
    assert "policy-1" in text and "from policy-0" in text and "dataset v1" in text
    assert "/rounds/1/" in text and candidate.path in text
    assert "10 of 11 passed" in text
    assert "Not promoted. KL to the starter (nats): 52.4" in text
    assert "66.0\N{NO-BREAK SPACE}%" in text


def test_it_shows_what_people_think_of_a_policy(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    candidate.metrics |= {"human": {"win_rate": 0.625, "win_rate_low": 0.47, "win_rate_high": 0.76}}
    candidate.save()
    text = client_for(zed).get(URL).content.decode()
    assert "people, against the starter 62.5\N{NO-BREAK SPACE}%" in text


def test_it_names_the_model_in_use_and_repeats_no_navigation(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    page = client_for(zed).get(URL).content.decode().split("<main")[1]
    assert ">In use</span>" in page and ">Promoted<" not in page
    assert "Add a model" in page and "Make room" in page
    assert "Which people prefer" not in page and "Playground" not in page


def test_an_empty_list_says_what_will_be_here(
    project: Project, zed: User, client_for: Browser
) -> None:
    assert b"No model yet" in client_for(zed).get(URL).content


def test_the_number_of_queries_does_not_grow_with_the_models(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)

    few = queries(client, URL)
    for number in range(2, 9):
        add_policy(make_round(candidate.project, number), state="candidate")
    assert queries(client, URL) == few
    assert few <= 10


def test_each_version_has_a_page(candidate: ModelVersion, olga: User, client_for: Browser) -> None:
    page = client_for(olga).get(URL)
    assert f'href="{URL}{candidate.pk}/"' in page.content.decode()
    assert b"Make room" not in page.content


def test_annotators_and_strangers_do_not_see_it(
    project: Project, ann: User, eve: User, client_for: Browser
) -> None:
    assert client_for(ann).get(URL).status_code == 403
    assert client_for(eve).get(URL).status_code == 404


def test_it_rejects_post(project: Project, zed: User, client_for: Browser) -> None:
    assert client_for(zed).post(URL).status_code == 405
