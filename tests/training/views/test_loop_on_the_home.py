"""Training on a project's home: what comes next, and figures that say how sure they are."""

from __future__ import annotations

import re

import pytest

from annotate.models import Pair, Project
from tests.training.conftest import vote_on
from tests.training.history import add_curve, add_policy, make_round
from training.models import ModelVersion, Round
from training.rounds import loop_state

URL = "/projects/desk/"


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture
def starter(project: Project) -> ModelVersion:
    return ModelVersion.objects.create(
        project=project, kind="policy", number=0, path="m", state="promoted"
    )


def test_a_project_without_a_model_says_so(client_for, project, olga):
    page = client_for(olga).get(URL).text
    assert "Rounds need a model to improve" in page and "Choose a model" in page


def test_it_says_how_many_pairs_are_missing(
    client_for, project, starter, olga, ann, ben, make_pairs
):
    browser = client_for(olga)
    assert "12 more pairs with a vote until a round can start" in browser.get(URL).text
    make_round(project, 1)
    Project.objects.update(round_after=4)
    for n, title in (
        (0, "4 more resolved pairs until the next round"),
        (3, "1 more resolved pair until the next round"),
        (1, "The next round is due"),
    ):
        vote_on(make_pairs(n), ann, ben)
        assert title in browser.get(URL).text
        # Where the page of the rounds says how many are missing, it says the same.
        now = loop_state.state(Project.objects.get())
        assert now.round_after - now.resolved_since == 4 - Pair.objects.count()
    Project.objects.update(round_after=0)
    assert "Rounds start only by hand" in browser.get(URL).text
    Project.objects.update(round_schedule="0 3 * * *")
    assert "On schedule: <time" in browser.get(URL).text


def test_figures_stand_with_their_interval_number_and_who_judged(
    client_for, project, starter, olga
):
    ModelVersion.objects.update(state="retired")
    round_ = make_round(project, 1)
    policy = add_policy(round_)
    add_curve(round_.runs.get(), [0.0, 0.5, 1.0])
    policy.metrics |= {
        "human": {"wins": 14, "losses": 5, "ties": 1, "win_rate": 0.725, "win_rate_low": 0.5,
                  "win_rate_high": 0.87},
    }  # fmt: skip
    policy.save()
    page = client_for(olga).get(URL).text
    shown = words(page)
    assert re.search(r"81\.0.% 71\.1.% to 88\.1.%, 80 held-out pairs, round 1", shown)
    assert re.search(r"72\.5.% 50\.0.% to 87\.0.%, 20 blind pairs, policy-1", shown)
    assert "Win rate, judged by a model" in shown and "Win rate, judged by people" in shown
    assert "Reward against KL, round 1" in shown and "Win rate by round" in shown
    assert "5 min 00 s" in shown or "Training time" in shown


def test_a_live_round_is_what_comes_next(client_for, project, starter, olga):
    make_round(project, 1, "running", done=2)
    page = client_for(olga).get(URL).text
    assert "Round 1 is running" in page and 'href="/projects/desk/rounds/1/">Watch it' in page
    Round.objects.update(state="failed")
    assert "Round 1 was failed" not in client_for(olga).get(URL).text


def test_queries_do_not_grow_with_the_rounds(
    client_for, project, starter, olga, django_assert_max_num_queries
):
    browser = client_for(olga)
    add_policy(make_round(project, 1), state="retired")
    browser.get(URL)
    # Three of them count what wants a reviewer: each kind by its own index.
    with django_assert_max_num_queries(24) as with_one:
        browser.get(URL)
    for number in range(2, 6):
        add_policy(make_round(project, number), state="retired")
    with django_assert_max_num_queries(len(with_one)):
        browser.get(URL)
