"""The use of AI annotators' votes: in training and exports where the project wants it, weighed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from annotate import exchange
from annotate.exporting import FORMATS, freezing
from annotate.models import AiAnnotator, AiVote, Membership, Pair, Project, Prompt
from tests.training.ai_annotators.conftest import label
from tests.training.conftest import vote_on

pytestmark = pytest.mark.django_db
MakePairs = Callable[..., list[Pair]]
COMPARED, AGREED = 40, 36


@pytest.fixture
def judge(project: Project) -> AiAnnotator:
    return AiAnnotator.objects.create(
        project=project, name="Judge", kind="chat", model="desk", source={}, constitution="Be kind."
    )


def vote(judge: AiAnnotator, pair: Pair, side: str) -> None:
    told = {"choice": side, "there": side, "back": side}
    AiVote.objects.create(annotator=judge, pair=pair, run=UUID(int=1), **told)


@pytest.fixture
def compared(project: Project, judge: AiAnnotator, make_pairs: MakePairs, ann: User) -> list[Pair]:
    """Pairs with a vote by Ann for A, of which the judge says the same of nine in ten."""
    pairs = make_pairs(COMPARED)
    vote_on(pairs, ann)
    for place, pair in enumerate(pairs):
        label(pair, "a", resolved_at=timezone.now())
        vote(judge, pair, "a" if place < AGREED else "b")
    return pairs


@pytest.fixture
def open_pair(project: Project, judge: AiAnnotator, make_pairs: MakePairs) -> Pair:
    """A pair that nobody but the judge has voted on, of a prompt that is not held out."""
    (pair,) = make_pairs(1)
    Prompt.objects.filter(project=project).update(held_out=False)
    vote(judge, pair, "b")
    return pair


def rows(project: Project) -> list[dict[str, Any]]:
    version = freezing.freeze(project)
    return list(exchange.preferences(project, version, include_simulated=False))


def test_they_teach_only_where_the_project_wants_it(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair
) -> None:
    before = rows(project)
    assert len(before) == COMPARED and not any("ai_votes" in row for row in before)
    project.ai_votes_in_training = True
    project.save()
    after = rows(project)
    assert [{k: v for k, v in row.items() if k != "ai_votes"} for row in after[:-1]] == before
    assert after[-1]["pair_id"] == open_pair.key and after[-1]["votes"] == []
    trust = 2 * AGREED / COMPARED - 1
    expected = {"annotator": f"ai-{judge.pk}", "choice": "b", "weight": round(trust, 4)}
    assert after[-1]["ai_votes"] == [expected]


def test_their_weight_is_that_of_a_person_who_agrees_as_often(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair, ann: User
) -> None:
    Project.objects.filter(pk=project.pk).update(ai_votes_in_training=True)
    project.refresh_from_db()
    Membership.objects.filter(user=ann).update(reliability=AGREED / COMPARED)
    assert rows(project)[-1]["ai_votes"][0]["weight"] == 1.0


def test_they_measure_nothing_and_teach_nothing_where_they_should_not(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair
) -> None:
    Project.objects.filter(pk=project.pk).update(ai_votes_in_training=True)
    project.refresh_from_db()

    def taught() -> set[str]:
        return {row["pair_id"] for row in rows(project) if "ai_votes" in row}

    assert open_pair.key in taught()
    Prompt.objects.filter(pk=open_pair.prompt_id).update(held_out=True)
    assert open_pair.key not in taught()
    Prompt.objects.update(held_out=False)
    for columns in ({"kind": "evaluation"}, {"state": "retired", "open_slots": 0}):
        before = Pair.objects.filter(pk=open_pair.pk).values(*columns).get()
        Pair.objects.filter(pk=open_pair.pk).update(**columns)
        assert open_pair.key not in taught()
        Pair.objects.filter(pk=open_pair.pk).update(**before)
    AiVote.objects.filter(pair__in=compared[: AGREED - 16]).update(choice="b", there="b", back="b")
    assert taught() == set()  # right on half of the pairs: a coin
    AiVote.objects.update(choice="a", there="a", back="a")
    AiAnnotator.objects.update(retired_at=timezone.now())
    assert taught() == set()


def test_nothing_is_learnt_on_a_tag_that_it_is_wrong_on(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair
) -> None:
    Project.objects.filter(pk=project.pk).update(ai_votes_in_training=True)
    project.refresh_from_db()
    wrong = compared[AGREED:] + compared[:3]
    Pair.objects.filter(pk__in=[pair.pk for pair in wrong]).update(tags=["refunds"])
    figures = exchange.ai_figures(judge)
    assert figures.wrong_tags == ["refunds"] and figures.tags[0].share.pairs == len(wrong)
    Pair.objects.filter(pk=open_pair.pk).update(tags=["refunds"])
    assert {row["pair_id"] for row in rows(project) if "ai_votes" in row} == {
        pair.key for pair in compared if pair not in wrong
    }


def test_they_leave_in_a_part_of_their_own_only_where_the_project_lets_them(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair
) -> None:
    def part(name: str) -> list[dict[str, Any]]:
        version = freezing.freeze(Project.objects.get(pk=project.pk))
        version.created_at = timezone.now()
        lines = FORMATS["trl"].lines(version, part=name, include_simulated=False)
        return [json.loads(line) for line in lines]

    people = part("trl")
    assert len(people) == COMPARED and part("ai-votes") == []
    Project.objects.filter(pk=project.pk).update(ai_votes_in_exports=True)
    told = part("ai-votes")
    assert part("trl") == people and len(told) == COMPARED + 1
    last = told[-1]
    assert last["chosen"] == open_pair.completion_b.text and last["chosen_side"] == "b"
    assert (last["annotator"], last["agreement"], last["agreement_pairs"]) == ("Judge", 0.9, 40)
    assert last["weight"] == pytest.approx(0.8)


def test_a_judge_that_is_sure_and_right_sends_people_elsewhere(
    project: Project, judge: AiAnnotator, compared: list[Pair], open_pair: Pair
) -> None:
    assert exchange.surely_judged(project) == set()
    project.ai_votes_in_training = True
    assert exchange.surely_judged(project) == {open_pair.key}
    AiVote.objects.filter(pair=open_pair).update(choice="tie", there="a", back="b")
    assert exchange.surely_judged(project) == set()
    AiVote.objects.filter(pair=open_pair).update(choice="b", there="b", back="b", margin=-1.0)
    assert exchange.surely_judged(project) == set()
    AiVote.objects.filter(pair=open_pair).update(margin=-2.0)
    assert exchange.surely_judged(project) == {open_pair.key}
    AiVote.objects.filter(pair__in=compared[:8]).update(choice="b", there="b", back="b")
    assert exchange.surely_judged(project) == set()  # right on 28 of 40, the lower end below .7


def test_a_version_gives_the_same_rows_whatever_is_voted_later(
    project: Project,
    judge: AiAnnotator,
    compared: list[Pair],
    open_pair: Pair,
    make_pairs: MakePairs,
) -> None:
    project.ai_votes_in_training = True
    project.save()
    version = freezing.freeze(project)
    before = list(exchange.preferences(project, version, include_simulated=False))
    for pair in make_pairs(2):
        Prompt.objects.filter(pk=pair.prompt_id).update(held_out=False)
        vote(judge, pair, "a")
    assert list(exchange.preferences(project, version, include_simulated=False)) == before
