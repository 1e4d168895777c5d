from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate.models import Assignment, Pair, Project
from tests.training.conftest import queries, vote_on
from tests.training.history import add_policy, add_starter, make_round
from training.models import Round, Run, WorkerBeat
from training.plans.optimiser_advice import advise

Browser = Callable[[User], Client]
URL = "/projects/desk/rounds/"
PROGRESS = URL + "progress/"
START = URL + "start/"
ASK = URL + "ask-colleagues/"


@pytest.fixture
def ready(voted: Project, home: Path) -> Project:
    """Enough votes and a starter: a round can start."""
    add_starter(voted)
    return voted


@pytest.fixture
def sample(project: Project) -> Project:
    """The project as the sample project is: simulated votes enter training."""
    project.train_on_simulated = True
    project.save(update_fields=["train_on_simulated"])
    return project


# The page


def test_it_shows_where_the_loop_stands(ready: Project, zed: User, client_for: Browser) -> None:
    page = client_for(zed).get(URL)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Ready for a round" in text and "policy-0" in text
    assert "Start a round" in text and "disabled" not in text


@pytest.mark.parametrize(
    ("pairs", "advised", "said"),
    [
        (0, "dpo", "(there are 0)"),
        (399, "dpo", "Below about 400 resolved pairs"),
        (400, "ppo", "ppo.kl_coef 0.3"),
        (1000, "ppo", "1,000 resolved pairs of training prompts make"),
    ],
)
def test_the_advice_follows_the_number_of_pairs(pairs: int, advised: str, said: str) -> None:
    found = advise(pairs)
    assert found.optimiser == advised and said in found.why
    assert ("kl_coef" in found.why) == (400 <= pairs < 1000)


def test_it_says_why_no_round_can_start(project: Project, zed: User, client_for: Browser) -> None:
    add_starter(project)
    text = client_for(zed).get(URL).content.decode()
    assert "No round can start yet" in text and "at least 12 pairs" in text
    assert "Start a round" not in text and "Settings of rounds" in text
    assert "What a round does" in text and "Vote on pairs" not in text


def test_refusal_and_advice_leave_pairs_of_held_out_prompts_out(
    project: Project,
    zed: User,
    ann: User,
    ben: User,
    make_pairs: Callable[..., list[Pair]],
    client_for: Browser,
) -> None:
    add_starter(project)
    pairs = make_pairs(6)
    held_out = pairs[0].prompt
    type(held_out).objects.filter(pk=held_out.pk).update(held_out=True)
    vote_on(pairs, ann, ben)
    said = "at least 12 pairs of training prompts. So far: 5."
    assert said in client_for(zed).get(URL).content.decode()
    form = client_for(zed).get(URL + "new/").content.decode()
    assert said in form and "resolved pairs of training prompts (there are 5)" in form


def test_every_cell_of_a_row_names_its_column_for_a_phone(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1)
    page = client_for(zed).get(URL).content.decode()
    labels = re.findall(r'<td[^>]* data-label="([^"]+)"', page)
    assert labels == ["State", "Dataset", "Reward accuracy", "Win rate", "Outcome"]
    table = page[page.index("table-stack") :].split("</table>")[0]
    assert table.count("<td") == len(labels)


def test_it_lists_rounds_with_figures_and_outcomes(
    project: Project, zed: User, client_for: Browser
) -> None:
    add_starter(project)
    add_policy(make_round(project, 1), state="retired")
    add_policy(make_round(project, 2), state="candidate")
    add_policy(make_round(project, 3), state="candidate", kl=52.4)
    make_round(project, 4, "failed", done=1, error="Improve policy: loss is not finite")
    text = client_for(zed).get(URL).content.decode()
    assert "81.0\N{NO-BREAK SPACE}%" in text
    assert "59.0\N{NO-BREAK SPACE}% to 72.0\N{NO-BREAK SPACE}%" in text
    assert "Not promoted. KL to the starter (nats): 52.4" in text
    assert "loss is not finite" in text
    assert text.count("<svg viewBox=") >= 2


def test_the_number_of_queries_does_not_grow_with_the_rounds(
    project: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)

    add_starter(project)
    add_policy(make_round(project, 1), state="candidate")
    few = queries(client, URL)
    for number in range(2, 10):
        add_policy(make_round(project, number), state="candidate")
    assert queries(client, URL) == few
    assert few <= 23


def test_old_rounds_are_on_further_pages(project: Project, zed: User, client_for: Browser) -> None:
    for number in range(1, 28):
        make_round(project, number, done=0)
    client = client_for(zed)
    assert "/rounds/27/" in client.get(URL).content.decode()
    second = client.get(URL, {"page": 2}).content.decode()
    assert "/rounds/2/" in second and "/rounds/27/" not in second
    assert client.get(URL, {"page": "nonsense"}).status_code == 200


def test_it_offers_colleagues_only_in_the_sample_project(
    sample: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert "simulated colleagues for" in client.get(URL).content.decode()
    Project.objects.filter(pk=sample.pk).update(train_on_simulated=False)
    assert "simulated colleagues for" not in client.get(URL).content.decode()


def test_a_reviewer_sees_it_without_buttons(
    sample: Project, olga: User, client_for: Browser
) -> None:
    make_round(sample, 1, "running", done=1)
    page = client_for(olga).get(URL)
    assert page.status_code == 200
    assert b"<form" not in page.content.partition(b"<main")[2]


@pytest.mark.parametrize("url", [URL, PROGRESS])
def test_it_rejects_post(url: str, project: Project, zed: User, client_for: Browser) -> None:
    assert client_for(zed).post(url).status_code == 405


@pytest.mark.parametrize("url", [URL, PROGRESS])
def test_an_annotator_gets_403_and_a_stranger_404(
    url: str, project: Project, ann: User, eve: User, client_for: Browser
) -> None:
    assert client_for(ann).get(url).status_code == 403
    assert client_for(eve).get(url).status_code == 404
    assert Client().get(url).status_code == 302


# Progress


def test_progress_asks_again_while_a_round_runs(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1, "running", done=1, stage="train_policy", step=3, total=24)
    answer = client_for(zed).get(PROGRESS, HTTP_HX_REQUEST="true")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert 'hx-trigger="every 2s"' in text and "Step 3 of 24" in text
    assert "<html" not in text


def test_progress_answers_204_until_something_changes(
    project: Project, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "running", done=1, stage="train_policy", step=3, total=24)
    client = client_for(zed)
    stamp = client.get(PROGRESS).context["stamp"]
    assert client.get(PROGRESS, {"seen": stamp}).status_code == 204
    Run.objects.filter(round=round_).update(step=4)
    assert client.get(PROGRESS, {"seen": stamp}).status_code == 200


def test_progress_stops_asking_when_no_round_is_live(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1)
    answer = client_for(zed).get(PROGRESS, {"seen": "anything"})
    assert answer.status_code == 286
    assert b"hx-trigger" not in answer.content
    assert answer["HX-Refresh"] == "true"


def test_a_waiting_round_says_that_no_worker_is_there(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1, "queued", done=0)
    client = client_for(zed)
    assert b"No training worker has ever reported" in client.get(PROGRESS).content
    beat = WorkerBeat(kind="gpu", host="gpu-1", pid=1, seen_at=timezone.now())
    beat.save()
    assert b"Waiting for a training worker" in client.get(PROGRESS).content
    beat.seen_at -= timedelta(minutes=10)
    beat.save()
    assert b"has reported for 10 min" in client.get(PROGRESS).content


def test_a_round_that_somebody_works_on_needs_no_worker(
    project: Project, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "running", done=1)
    client = client_for(zed)
    assert b"No training worker" not in client.get(PROGRESS).content
    Run.objects.filter(round=round_).update(lease_until=timezone.now() - timedelta(minutes=5))
    assert b"No training worker" in client.get(PROGRESS).content


# Buttons


@pytest.mark.parametrize("url", [START, ASK])
def test_buttons_reject_get(url: str, sample: Project, zed: User, client_for: Browser) -> None:
    assert client_for(zed).get(url).status_code == 405


@pytest.mark.parametrize("url", [START, ASK])
def test_only_admins_press_buttons(
    url: str, sample: Project, olga: User, eve: User, client_for: Browser
) -> None:
    assert client_for(olga).post(url).status_code == 403
    assert client_for(eve).post(url).status_code == 404
    assert not Round.objects.exists()


# Colleagues


def test_colleagues_cast_marked_votes(
    sample: Project, zed: User, make_pairs: Callable[..., object], client_for: Browser
) -> None:
    make_pairs(6)
    answer = client_for(zed).post(ASK, {"annotators": 3, "votes": 8}, follow=True)
    assert b"Simulated colleagues cast 8 votes." in answer.content
    cast = Assignment.objects.filter(state="voted")
    assert cast.count() == 8 and all(vote.simulated for vote in cast)


def test_colleagues_asked_again_vote_until_the_queue_is_empty(
    sample: Project, zed: User, make_pairs: Callable[..., object], client_for: Browser
) -> None:
    make_pairs(2)
    client = client_for(zed)
    client.post(ASK, {"annotators": 4, "votes": 100})
    answer = client.post(ASK, {"annotators": 4, "votes": 100}, follow=True)
    assert b"the colleagues cast none" in answer.content


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"annotators": "0", "votes": "5"},
        {"annotators": "3", "votes": "1001"},
        {"annotators": "51", "votes": "5"},
        {"annotators": "three", "votes": "5"},
    ],
)
def test_colleagues_refuse_numbers_out_of_bounds(
    form: dict[str, str],
    sample: Project,
    zed: User,
    make_pairs: Callable[..., object],
    client_for: Browser,
) -> None:
    make_pairs(2)
    answer = client_for(zed).post(ASK, form)
    assert answer.status_code == 400
    assert b'role="alert"' in answer.content
    assert not Assignment.objects.exists()


def test_other_projects_have_no_colleagues(
    project: Project, zed: User, make_pairs: Callable[..., object], client_for: Browser
) -> None:
    make_pairs(2)
    assert client_for(zed).post(ASK, {"annotators": 3, "votes": 5}).status_code == 404
    assert not Assignment.objects.exists()
