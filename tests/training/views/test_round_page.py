from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import Project
from tests.training.conftest import queries
from tests.training.history import (
    SAMPLE,
    add_curve,
    add_policy,
    add_starter,
    make_round,
    write_samples,
)
from training.models import Metric, Round, Run

Browser = Callable[[User], Client]
URL = "/projects/desk/rounds/1/"
PROGRESS = URL + "progress/"
CURVES = URL + "curves/"
CANCEL = URL + "cancel/"
RETRY = URL + "retry/"


@pytest.fixture
def finished(project: Project, home: Path) -> Run:
    """The run of round 1: all stages done, the policy promoted, samples on disk."""
    add_starter(project)
    round_ = make_round(project, 1)
    run = Run.objects.get(round=round_)
    add_policy(round_, state="candidate")
    add_curve(run, [0.1, 0.4, None, 0.9])
    write_samples(run, SAMPLE)
    return run


def test_it_shows_stages_gates_curves_samples_and_lineage(
    finished: Run, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode()
    for title in ("Train reward model", "Improve policy", "Evaluate", "Propose pairs"):
        assert title in text
    assert "1\N{NO-BREAK SPACE}min 00\N{NO-BREAK SPACE}s" in text
    assert "KL to the starter (nats)" in text and "at most 12" in text
    for chart in ("chart-reward", "chart-kl", "chart-entropy", "chart-length", "chart-accuracy"):
        assert f'id="{chart}-title"' in text
    assert "It arrives\ntomorrow." in text
    assert str(finished.uuid) in text and "from policy-0" in text
    assert "ppo.kl_coef" in text


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({}, "The policy learnt what the reward model likes"),
        ({"reward_gain_low": -0.2}, "Nothing was learnt that"),
        ({"kl": 0.05}, "Nothing was learnt that"),
        ({"reward_gain_low": None}, ""),
    ],
)
def test_it_says_whether_anything_was_learnt(
    measured: dict[str, float | None], said: str, finished: Run, zed: User, client_for: Browser
) -> None:
    result = finished.stages.get(stage="evaluate")
    result.metrics |= measured
    result.save()
    text = client_for(zed).get(URL).content.decode()
    assert ("The policy learnt" in text) == said.startswith("The policy")
    assert ("Nothing was learnt" in text) == said.startswith("Nothing")
    assert (said in text) and ("its replies score 1.40 against" in text) == bool(said)


def test_it_says_that_the_server_of_its_replies_repeats_itself(
    finished: Run, zed: User, client_for: Browser
) -> None:
    assert "answer greedily" not in client_for(zed).get(URL).content.decode()
    result = finished.stages.get(stage="sample")
    result.metrics |= {"repeats_itself": 1.0}
    result.save()
    assert "answer greedily" in client_for(zed).get(URL).content.decode()


def test_samples_are_shown_as_text_and_never_as_markup(
    finished: Run, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode()
    assert "Where is my &lt;b&gt;order&lt;/b&gt;?" in text
    assert "<b>order" not in text


@pytest.mark.parametrize(
    "content",
    ["not json\n", '{"before": "x"}\n', "[1, 2]\n", '{"messages": "x", "before": 1, "after": 2}\n'],
)
def test_a_broken_samples_file_does_not_break_the_page(
    content: str, finished: Run, zed: User, client_for: Browser
) -> None:
    (finished.directory / "evaluate/samples.jsonl").write_text(content)
    page = client_for(zed).get(URL)
    assert page.status_code == 200
    assert b"not on this machine" in page.content


def test_nothing_inline_that_the_security_policy_would_block(
    finished: Run, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode()
    assert " style=" not in text and "<style" not in text and " onclick=" not in text


def test_a_failed_round_shows_the_error_and_the_log(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(
        project, 1, "failed", done=1, stage="train_policy", step=5, total=24,
        error="Improve policy: loss is <not> finite", log_tail="update 5 reward nan",
    )  # fmt: skip
    text = client_for(zed).get(URL).content.decode()
    assert "loss is &lt;not&gt; finite" in text and "update 5 reward nan" in text
    assert "Failed at step 5 of 24" in text
    assert "Try again" in text and "Cancel round" not in text


def test_a_live_round_polls_its_stages_and_curves(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1, "running", done=1)
    text = client_for(zed).get(URL).content.decode()
    assert 'hx-trigger="every 2s"' in text and 'hx-trigger="every 5s"' in text
    assert "Cancel round" in text and "Try again" not in text
    assert "The curves begin with the policy's first update" in text


def test_a_round_by_votes_alone_shows_the_margin_of_the_preferred_replies(
    project: Project, zed: User, client_for: Browser
) -> None:
    add_starter(project)
    run = Run.objects.get(round=make_round(project, 1, "failed", done=1))
    Metric.objects.bulk_create(
        Metric(run=run, stage="train_policy", step=step, values={"loss": 0.6, "margin": step / 9})
        for step in (1, 2, 3)
    )
    text = client_for(zed).get(URL).content.decode()
    assert "Margin of the preferred replies" in text and "KL to the starter" not in text


def test_a_finished_round_does_not_poll(finished: Run, zed: User, client_for: Browser) -> None:
    assert b"hx-trigger" not in client_for(zed).get(URL).content


@pytest.mark.parametrize("url", [PROGRESS, CURVES])
def test_fragments_stop_asking_when_the_round_has_ended(
    url: str, finished: Run, zed: User, client_for: Browser
) -> None:
    answer = client_for(zed).get(url)
    assert answer.status_code == 286
    assert b"hx-trigger" not in answer.content and b"<html" not in answer.content


def test_stages_are_sent_again_only_when_they_changed(
    project: Project, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "running", done=1)
    client = client_for(zed)
    stamp = client.get(PROGRESS).context["stamp"]
    assert client.get(PROGRESS, {"seen": stamp}).status_code == 204
    Run.objects.filter(round=round_).update(cancel_requested=True)
    answer = client.get(PROGRESS, {"seen": stamp})
    assert answer.status_code == 200
    assert b"stops at the end of the current step" in answer.content


def test_curves_are_sent_again_only_when_there_are_new_numbers(
    project: Project, zed: User, client_for: Browser
) -> None:
    run = Run.objects.get(round=make_round(project, 1, "running", done=1))
    client = client_for(zed)
    stamp = client.get(CURVES).context["curves_stamp"]
    assert client.get(CURVES, {"seen": stamp}).status_code == 204
    add_curve(run, [0.1, 0.2])
    answer = client.get(CURVES, {"seen": stamp})
    assert answer.status_code == 200 and b"chart-reward" in answer.content


def test_the_number_of_queries_does_not_grow_with_history(
    finished: Run, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)

    few = queries(client, URL)
    for number in range(2, 8):
        make_round(finished.project, number)
    assert queries(client, URL) == few
    assert few <= 20


@pytest.mark.parametrize("url", [URL, PROGRESS, CURVES])
def test_it_rejects_post(url: str, finished: Run, zed: User, client_for: Browser) -> None:
    assert client_for(zed).post(url).status_code == 405


@pytest.mark.parametrize("url", [URL, PROGRESS, CURVES])
def test_reviewers_see_it_annotators_and_strangers_do_not(
    url: str, finished: Run, olga: User, ann: User, eve: User, client_for: Browser
) -> None:
    assert client_for(olga).get(url).status_code in (200, 286)
    assert client_for(ann).get(url).status_code == 403
    assert client_for(eve).get(url).status_code == 404


@pytest.mark.parametrize("url", [URL, PROGRESS, CURVES, CANCEL, RETRY])
def test_an_unknown_round_is_404(
    url: str, project: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    ask = client.post if url in (CANCEL, RETRY) else client.get
    assert ask(url).status_code == 404


def test_a_round_of_another_project_is_404(finished: Run, zed: User, client_for: Browser) -> None:
    other = Project.objects.create(slug="other", name="Other")
    make_round(other, 2)
    assert client_for(zed).get("/projects/desk/rounds/2/").status_code == 404


@pytest.mark.parametrize("url", [CANCEL, RETRY])
def test_only_admins_press_buttons_and_only_by_post(
    url: str, project: Project, zed: User, olga: User, eve: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "running", done=1)
    assert client_for(olga).post(url).status_code == 403
    assert client_for(eve).post(url).status_code == 404
    assert client_for(zed).get(url).status_code == 405
    assert not Run.objects.get(round=round_).cancel_requested


def test_cancelling_asks_the_run_to_stop_and_twice_is_harmless(
    project: Project, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "running", done=1)
    client = client_for(zed)
    for _ in range(2):
        answer = client.post(CANCEL, follow=True)
        assert answer.redirect_chain == [(URL, 302)]
        assert b"stops at the end of its current step" in answer.content
    assert Run.objects.get(round=round_).cancel_requested


def test_a_waiting_round_is_cancelled_at_once(
    project: Project, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "queued", done=0)
    client_for(zed).post(CANCEL)
    round_.refresh_from_db()
    assert round_.state == "cancelled"


def test_a_finished_round_cannot_be_cancelled_or_retried(
    finished: Run, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert b"has ended already" in client.post(CANCEL, follow=True).content
    assert b"nothing to try again" in client.post(RETRY, follow=True).content
    assert Round.objects.get().state == "done"


def test_a_failed_round_is_queued_again_once(
    project: Project, home: Path, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "failed", done=1)
    client = client_for(zed)
    assert b"goes on from its last checkpoint" in client.post(RETRY, follow=True).content
    round_.refresh_from_db()
    assert round_.state == "queued"
    assert b"nothing to try again" in client.post(RETRY, follow=True).content


def test_a_failed_round_waits_while_another_is_live(
    project: Project, home: Path, zed: User, client_for: Browser
) -> None:
    round_ = make_round(project, 1, "failed", done=1)
    make_round(project, 2, "running", done=1)
    assert b"Another round of this project" in client_for(zed).post(RETRY, follow=True).content
    round_.refresh_from_db()
    assert round_.state == "failed"


def test_a_round_of_an_archived_project_is_not_tried_again_and_the_page_says_why(
    project: Project, zed: User, client_for: Browser
) -> None:
    make_round(project, 1, "failed", done=1, error="It broke.")
    Project.objects.update(archived=True)
    page = client_for(zed).post(RETRY, follow=True).content.decode()
    assert f"{project.name} is archived: reopen it on Projects first." in page
    assert Round.objects.get().state == "failed"
