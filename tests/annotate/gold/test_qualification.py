"""The qualification: known pairs with feedback, before somebody may vote; never any data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate import exchange, queue
from annotate.gold import gold_pairs, qualification
from annotate.models import (
    Assignment,
    Gold,
    Label,
    Membership,
    Pair,
    Project,
    QualificationAnswer,
)
from annotate.people import annotator_figures
from annotate.quality import agreement_counts
from annotate.sample import simulated_votes

MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]
HERE = "/projects/desk/qualification/"
LABEL = "/projects/desk/label/"
QUESTIONS = 3


@pytest.fixture
def gated(project: Project, make_pairs: MakePairs) -> Project:
    """Three questions, A is right in each, 60 % pass; five pairs to label."""
    project.qualification, project.qualification_share = True, 0.6
    project.save()
    for pair in make_pairs(QUESTIONS, state="resolved", open_slots=0):
        gold_pairs.make_gold(pair, "a", "It says where the order is.", qualification=True)
    make_pairs(5)
    return project


def member(user: User) -> Membership:
    return Membership.objects.select_related("project").get(user=user)


def take(user: User, right: int, *, of: int = QUESTIONS) -> None:
    """Answer the open attempt's next `of` questions, the first `right` of them rightly."""
    for n in range(of):
        me = member(user)
        gold = qualification.following(me)
        assert gold is not None
        left = qualification.left_side(me, gold)
        side = "left" if (left == "a") == (n < right) else "right"
        qualification.answer(me, gold, side)


def test_a_project_asks_for_none_unless_it_is_set(
    project: Project, ann: User, client_for: ClientFor
) -> None:
    assert queue.blocked_by(project, ann) == ""
    assert client_for(ann).get(HERE).status_code == 404


@pytest.mark.parametrize(("right", "blocked_by"), [(3, ""), (2, ""), (1, "qualification")])
def test_the_share_of_right_answers_decides_and_only_at_the_end(
    gated: Project, ann: User, right: int, blocked_by: str
) -> None:
    take(ann, right, of=QUESTIONS - 1)
    assert queue.blocked_by(gated, ann) == "qualification"
    assert queue.next_pair(gated, ann) is None
    take(ann, max(0, right - 2), of=1)
    assert queue.blocked_by(gated, ann) == blocked_by
    assert (queue.next_pair(gated, ann) is None) == bool(blocked_by)


def test_a_share_that_is_reached_exactly_passes(gated: Project, ann: User) -> None:
    Project.objects.update(qualification_share=2 / 3)
    take(ann, 2)
    assert member(ann).qualified_at is not None


def test_a_person_answers_reads_the_feedback_and_labels(
    gated: Project, ann: User, client_for: ClientFor
) -> None:
    client = client_for(ann)
    assert HERE in client.get(LABEL).content.decode()
    assert "3 questions before you start" in client.get(HERE).content.decode()
    for n in range(QUESTIONS):
        gold = client.get(HERE).context["following"]
        question = client.get(f"{HERE}{gold.pk}/")
        page = question.content.decode()
        assert page.count("<article") == 2 and "It says where" not in page
        assert "starter" not in page
        a_left = question.context["replies"][0]["text"] == gold.pair.completion_a.text
        wrong = n == 0
        key = "1" if a_left != wrong else "7"
        page = client.post(f"{HERE}{gold.pk}/", {"vote": key}, follow=True).content.decode()
        assert "It says where the order is." in page
        right_letter = "A" if a_left else "B"
        said = "The right answer" if wrong else "Right"
        assert f"{said}: {right_letter} is better" in page
    end = client.get(HERE).content.decode()
    assert "You have passed" in end and "2 of 3 answers were right" in end
    assert client.get(LABEL).content.decode().count("<article") == 2


def test_sides_are_the_same_on_every_look_and_differ_between_questions_and_attempts(
    gated: Project, ann: User, make_pairs: MakePairs
) -> None:
    for pair in make_pairs(17, state="resolved", open_slots=0):
        gold_pairs.make_gold(pair, "a", qualification=True)
    me = member(ann)
    sides = [qualification.left_side(me, gold) for gold in qualification.questions(gated)]
    assert sides == [qualification.left_side(me, gold) for gold in qualification.questions(gated)]
    assert {"a", "b"} == set(sides)
    me.qualification_attempt = 2
    assert sides != [qualification.left_side(me, gold) for gold in qualification.questions(gated)]


def test_the_first_answer_stands(gated: Project, ann: User, client_for: ClientFor) -> None:
    client = client_for(ann)
    gold = qualification.questions(gated)[0]
    for key in ("1", "7", "1"):
        client.post(f"{HERE}{gold.pk}/", {"vote": key})
    given = QualificationAnswer.objects.get()
    assert given.choice == given.left


def test_a_tie_and_both_bad_are_the_same_answer(gated: Project, ann: User) -> None:
    gold = qualification.questions(gated)[0]
    Gold.objects.filter(pk=gold.pk).update(expected="tie")
    gold.refresh_from_db()
    assert qualification.answer(member(ann), gold, "both_bad").correct


def test_who_fails_needs_an_admin_and_may_then_try_again(
    gated: Project, ann: User, zed: User, client_for: ClientFor
) -> None:
    take(ann, 1)
    client = client_for(ann)
    page = client.get(HERE).content.decode()
    assert "Not passed" in page and "1 of 3 answers were right" in page
    admin = client_for(zed)
    person = f"/projects/desk/annotators/{member(ann).pk}/"
    assert "Allow another attempt" in admin.get(person).content.decode()
    for _ in range(2):  # a double click
        admin.post(person + "change/", {"retry": "yes"})
    assert member(ann).qualification_attempt == 2
    assert "This is attempt 2" in client.get(HERE).content.decode()
    take(ann, 3)
    assert queue.blocked_by(gated, ann) == ""
    page = admin.get(person).content.decode()
    assert "Qualification: passed" in page and "Allow another attempt" not in page
    assert [(one.attempt, one.right) for one in qualification.results(member(ann))] == [
        (1, 1),
        (2, 3),
    ]
    assert "Qualification: passed" in client.get("/projects/desk/me/").content.decode()


def test_an_admin_may_let_somebody_vote_without_it(
    gated: Project, ann: User, olga: User, zed: User, client_for: ClientFor
) -> None:
    change = f"/projects/desk/annotators/{member(ann).pk}/change/"
    for who in (ann, olga):
        for act in ("qualify", "retry"):
            assert client_for(who).post(change, {act: "yes"}).status_code == 403
    client_for(zed).post(change, {"qualify": "yes"})
    assert queue.blocked_by(gated, ann) == ""


def test_a_question_that_is_switched_off_counts_for_nobody(gated: Project, ann: User) -> None:
    take(ann, 1)
    wrong = QualificationAnswer.objects.filter(correct=False)[0]
    gold_pairs.switch(wrong.gold, on=False)
    (result,) = qualification.results(member(ann))
    assert (result.right, result.answered, result.asked) == (1, 2, 2)


def test_who_answered_all_but_what_is_switched_off_has_passed(
    gated: Project, ann: User, client_for: ClientFor
) -> None:
    take(ann, 2, of=2)
    last = qualification.following(member(ann))
    assert last is not None
    gold_pairs.switch(last, on=False)
    assert queue.blocked_by(gated, ann) == "qualification"
    assert client_for(ann).get(HERE).status_code == 200
    assert queue.blocked_by(gated, ann) == ""


def test_answers_never_become_data(gated: Project, ann: User, ben: User) -> None:
    before = exchange.counts(gated)
    take(ann, 3)
    take(ben, 1)
    assert exchange.counts(gated) == before
    assert not Assignment.objects.exists()
    assert not Label.objects.exists()
    assert agreement_counts.summary(gated).votes == 0
    assert annotator_figures.count(gated) == []
    version = exchange.freeze(gated)
    assert list(exchange.preferences(gated, version, include_simulated=True)) == []


def test_questions_are_asked_after_the_guidelines_are_read(
    gated: Project, ann: User, client_for: ClientFor
) -> None:
    Project.objects.update(read_guidelines=True)
    client = client_for(ann)
    assert client.get(HERE).headers["Location"] == LABEL
    client.post("/projects/desk/guidelines/read/", {"version": "1"})
    assert client.get(HERE).status_code == 200


def test_only_questions_of_the_project_can_be_answered(
    gated: Project, ann: User, ben: User, make_pairs: MakePairs, client_for: ClientFor
) -> None:
    (pair,) = make_pairs(1, state="resolved", open_slots=0)
    hidden = gold_pairs.make_gold(pair, "a")
    other = Project.objects.create(slug="other", name="Other", qualification=True)
    Membership.objects.create(project=other, user=ben)
    (pair,) = make_pairs(1, project=other, state="resolved", open_slots=0)
    foreign = gold_pairs.make_gold(pair, "a", qualification=True)
    client = client_for(ann)
    for gold in (hidden, foreign):
        assert client.get(f"{HERE}{gold.pk}/").status_code == 404
        assert client.post(f"{HERE}{gold.pk}/", {"vote": "1"}).status_code == 404
    assert client.get(f"/projects/other/qualification/{foreign.pk}/").status_code == 404
    assert client.post(f"{HERE}{qualification.questions(gated)[0].pk}/", {}).status_code == 400
    assert not QualificationAnswer.objects.exists()


def test_without_questions_the_page_says_so(
    gated: Project, ann: User, client_for: ClientFor
) -> None:
    for gold in qualification.questions(gated):
        gold_pairs.switch(gold, on=False)
    assert "There are no questions yet" in client_for(ann).get(HERE).content.decode()


def test_rest_names_the_qualification(
    gated: Project, ann: User, api_for: Callable[[User], APIClient]
) -> None:
    answer = api_for(ann).post("/api/v1/projects/desk/next/", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "qualification")


def test_simulated_colleagues_need_none(gated: Project) -> None:
    assert simulated_votes.cast_votes(gated, annotators=2, votes=2, seed=1) == 2


def test_a_superuser_takes_it_like_everybody(
    gated: Project, root: User, client_for: ClientFor
) -> None:
    client = client_for(root)
    assert "3 questions" in client.get(HERE).content.decode()
    take(root, 3)
    assert client.get(LABEL).content.decode().count("<article") == 2


def test_a_reviewer_marks_questions_and_only_then_an_admin_asks_for_them(
    project: Project,
    olga: User,
    zed: User,
    make_pairs: MakePairs,
    client_for: ClientFor,
) -> None:
    settings = "/projects/desk/settings/"
    form = client_for(zed).get(settings).context["form"]
    data = {name: form[name].value() for name in form.fields}
    data = {k: "" if v is None else v for k, v in data.items() if v is not False}
    data |= {"qualification": "on", "reason_chips": "", "criteria": ""}
    refused = client_for(zed).post(settings, data)
    assert "There are no questions yet" in refused.content.decode()
    (pair,) = make_pairs(1)
    answer = {"pair": pair.pk, "expected": "a", "explanation": "Why.", "qualification": "on"}
    page = client_for(olga).post("/projects/desk/checks/", answer, follow=True).content.decode()
    assert '<span class="chip">Qualification</span>' in page
    assert client_for(zed).post(settings, data).status_code == 302
    project.refresh_from_db()
    assert project.qualification
