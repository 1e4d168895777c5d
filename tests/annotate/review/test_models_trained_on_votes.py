"""What a person is told about the use of their votes: only what training said it did."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from annotate import exchange, queue
from annotate.exporting import freezing
from annotate.models import Assignment, Membership, Pair, Project, Prompt
from annotate.review import models_trained_on_votes
from annotate.review.models_trained_on_votes import effect

ME = "/projects/desk/me/"


def vote(project, user, choice="a"):
    return queue.vote(user, queue.next_pair(project, user).token, choice=choice)


def publish(project, number, **metrics):
    """What training pushes after it trained a reward model on all votes there are."""
    version = freezing.freeze(project)
    exchange.publish_model_version(
        project,
        name=f"reward-{number}",
        kind="reward",
        state="candidate",
        dataset_version=version.number,
        metrics=metrics,
    )
    return version


def text(client, url=ME):
    return " ".join(re.sub(r"<[^>]*>", " ", client.get(url).text).split())


@pytest.fixture
def voted(project, make_pairs, ann):
    make_pairs(8)
    Prompt.objects.update(held_out=False)
    Prompt.objects.filter(pk=Pair.objects.first().prompt_id).update(held_out=True)
    for _ in range(5):
        vote(project, ann)


def test_before_the_first_model_it_says_what_happens_next(client_for, project, voted, ann, ben):
    page = text(client_for(ann))
    assert "No model has learnt from your votes yet." in page
    assert "5 votes will be part of the next reward model" in page
    assert "learnt from" not in text(client_for(ben))
    # No round starts by itself where there is no policy, or where there are too few pairs.
    assert "when an admin starts a round of training" in page
    starter = {"kind": "policy", "state": "promoted", "dataset_version": None, "metrics": {}}
    exchange.publish_model_version(project, name="policy-0", **starter)
    assert "when an admin starts a round" in text(client_for(ann))
    Project.objects.update(round_after=4)
    assert "by itself after every 4 resolved pairs" in text(client_for(ann))


def test_very_many_votes_are_not_counted_while_somebody_waits(
    client_for, project, voted, ann, monkeypatch
):
    monkeypatch.setattr(models_trained_on_votes, "MOST", 3)
    assert "More than 3 votes will be part of the next" in text(client_for(ann))
    publish(project, 1, accuracy=0.7)
    for _ in range(3):
        vote(project, ann)
    page = text(client_for(ann))
    assert "More than 3 of your votes were part of reward model 1 ." in page
    assert "3 more votes will be part of the next one." in page


def test_a_model_names_the_votes_it_had_and_what_they_changed(client_for, project, voted, ann):
    publish(project, 6, accuracy=0.684)
    assert "Its accuracy on votes it had not seen: 68.4 %." in text(client_for(ann))
    vote(project, ann)
    vote(project, ann)
    publish(project, 7, accuracy=0.701, pairs_held_out=100)
    vote(project, ann)
    page = text(client_for(ann))
    assert "70.1 % now (60.5 to 78.2 %, 100 pairs)" in page
    assert "7 of your votes were part of reward model 7" in page
    assert "68.4 % before, 70.1 % now" in page
    assert "1 more vote will be part of the next one" in page


@pytest.mark.parametrize("metrics", [{}, {"accuracy": None}, {"accuracy": "good"}])
def test_an_accuracy_nobody_measured_is_not_shown(client_for, project, voted, ann, metrics):
    publish(project, 7, **metrics)
    page = text(client_for(ann))
    assert "part of reward model 7" in page and "accuracy" not in page


def test_policies_and_models_without_a_version_are_not_taken_for_one(project, voted, ann):
    for name, kind, version in (("policy-1", "policy", 1), ("reward-0", "reward", None)):
        exchange.publish_model_version(
            project, name=name, kind=kind, state="promoted", dataset_version=version, metrics={}
        )
    assert effect(project, ann).model == ""


def test_the_count_is_what_training_read(project, voted, ann, ben):
    first = Assignment.objects.filter(annotator=ann).order_by("pk")
    Pair.objects.filter(pk=first[0].pair_id).update(kind="gold", stream="check")
    Assignment.objects.filter(pk=first[1].pk).update(surplus=True)
    vote(project, ben)
    version = publish(project, 1)
    # Changed and taken back after the version was made: it still holds what it held.
    queue.undo(ann, project, now=timezone.now())
    queue.revise(ann, first[2].token, side="tie")
    found = effect(project, ann)
    rows = list(exchange.preferences(project, version, include_simulated=False))
    read = [row["held_out"] for row in rows for v in row["votes"] if v["annotator"] == "ann-ann"]
    assert (found.taught, found.measured) == (read.count(False), read.count(True))
    assert found.votes == 3 and found.waiting == 1


def test_votes_that_are_left_out_of_training_are_not_claimed(project, voted, ann):
    publish(project, 1)
    Membership.objects.filter(user=ann).update(weight=0)
    assert effect(project, ann) is None


def test_it_stands_on_the_screen_while_there_is_nothing_to_compare(client_for, project, voted, ann):
    publish(project, 7)
    for _ in range(3):
        vote(project, ann)
    assert "part of reward model 7" in text(client_for(ann), "/projects/desk/label/")
