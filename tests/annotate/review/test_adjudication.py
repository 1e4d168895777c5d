from __future__ import annotations

import json
import re

import pytest

from annotate import exchange, queue
from annotate.exporting import freezing
from annotate.exporting.formats import trl_format
from annotate.models import Adjudication, Assignment, Flag, Label, Pair, Project
from annotate.quality import reliability
from annotate.review import adjudication
from annotate.views.reviewing import adjudicate

URL = "/projects/desk/adjudicate/"


def vote_all(project, people, choices, **how):
    for user, choice in zip(people, choices, strict=True):
        queue.vote(user, queue.next_pair(project, user).token, choice=choice, **how)


@pytest.fixture
def split(project, make_pairs, ann, ben, cleo):
    """A pair with three votes and three answers."""
    (pair,) = make_pairs(1)
    vote_all(project, (ann, ben, cleo), ("a", "b", "tie"))
    return pair


@pytest.fixture
def against(project, make_pairs, ann, ben):
    """A pair on which people say B and the reward model was sure of A."""
    (pair,) = make_pairs(1, margin=3.0)
    vote_all(project, (ann, ben), "bb")
    return pair


def waiting(project):
    return adjudication.first_waiting(project, 100)


def rows(version, part="trl"):
    lines = trl_format.lines(version, part=part, include_simulated=False)
    return [json.loads(line) for line in lines]


def test_splits_come_first_then_conflicts_most_certain_first_then_flags(
    project, split, make_pairs, ann, ben, cleo
):
    unsure, sure, surer, agreed, flagged = make_pairs(5)
    for pair, margin in ((unsure, 2.1), (sure, 2.3), (surer, 4.0), (agreed, -4.0)):
        Pair.objects.filter(pk=pair.pk).update(margin=margin)
    for _ in range(5):
        vote_all(project, (ann, ben), "bb")
    Flag.objects.create(pair=flagged, annotator=ann, kind="pii")
    assert waiting(project) == [
        (split.pk, "split"),
        (surer.pk, "conflict"),
        (sure.pk, "conflict"),
        (flagged.pk, "flag"),
    ]


def test_a_more_divided_pair_comes_before_one_that_leans(project, make_pairs, ann):
    leans, even = make_pairs(2, state="adjudicate", open_slots=0, asked=5)
    Pair.objects.filter(pk=leans.pk).update(n_a=2, n_b=2, n_tie=1)
    Pair.objects.filter(pk=even.pk).update(n_a=1, n_b=1, n_tie=1)
    assert [pk for pk, _ in waiting(project)] == [even.pk, leans.pk]


def test_a_decision_is_the_label_and_settles_the_pair(project, split, olga):
    adjudication.decide(olga, split, choice="b", strength=3, category="guideline_gap")
    split.refresh_from_db()
    label = split.label
    assert (split.state, label.outcome, label.method) == ("resolved", "b", "adjudicated")
    assert (label.margin, label.n_votes, label.p_b, label.p_a) == (1.0, 3, 1.0, 0.0)
    assert waiting(project) == []


def test_votes_are_closed_once_a_decision_stands(project, split, olga, cleo):
    adjudication.decide(olga, split, choice="b", strength=1)
    with pytest.raises(queue.Gone):
        queue.undo(cleo, project)
    adjudication.take_back(split)
    queue.undo(cleo, project)
    split.refresh_from_db()
    assert (split.state, split.votes) == ("open", 2)


def test_a_vote_in_progress_still_counts_after_the_decision(project, make_pairs, olga, ann, ben):
    (pair,) = make_pairs(1)
    lease = queue.next_pair(project, ann)
    adjudication.decide(olga, pair, choice="a", strength=2)
    assert queue.next_pair(project, ben) is None
    assert queue.vote(ann, lease.token, choice="b").status == "stored"
    pair.refresh_from_db()
    assert (pair.state, pair.n_b, pair.label.outcome) == ("resolved", 1, "a")


def test_a_decision_can_be_changed_and_taken_back(project, split, olga):
    adjudication.decide(olga, split, choice="b", strength=3)
    adjudication.decide(olga, split, choice="both_bad", strength=3, rationale="Both invent it.")
    decision = Adjudication.objects.get()
    assert (decision.choice, decision.strength, decision.category) == ("both_bad", 0, "both_bad")
    assert adjudication.take_back(split) and not adjudication.take_back(split)
    split.refresh_from_db()
    assert (split.state, split.label.outcome, split.label.method) == (
        "adjudicate",
        "split",
        "majority",
    )


def test_taking_back_a_decision_on_an_open_pair_opens_its_places_again(
    project, make_pairs, olga, ann
):
    (pair,) = make_pairs(1)
    vote_all(project, (ann,), "a")
    adjudication.decide(olga, pair, choice="b", strength=1)
    adjudication.take_back(pair)
    pair.refresh_from_db()
    assert (pair.state, pair.asked, pair.open_slots, pair.n_a) == ("open", 2, 1, 1)
    assert not Label.objects.filter(pair=pair).exists()


def test_a_decision_settles_the_flags_it_saw_and_taking_it_back_opens_them(
    project, make_pairs, olga, ann, ben
):
    (pair,) = make_pairs(1)
    Flag.objects.create(pair=pair, annotator=ann, kind="broken")
    adjudication.decide(olga, pair, choice="a", strength=1)
    assert waiting(project) == []
    Flag.objects.create(pair=pair, annotator=ben, kind="pii")
    assert waiting(project) == [(pair.pk, "flag")]
    adjudication.take_back(pair)
    assert Flag.objects.filter(settled_at=None).count() == 2
    assert adjudication.settle_flags(pair) == 2 and waiting(project) == []


def test_a_changed_decision_still_settles_what_the_first_one_did(project, make_pairs, olga, ann):
    (pair,) = make_pairs(1)
    Flag.objects.create(pair=pair, annotator=ann, kind="pii")
    adjudication.decide(olga, pair, choice="a", strength=1)
    adjudication.decide(olga, pair, choice="b", strength=1)
    assert waiting(project) == []
    adjudication.take_back(pair)
    assert waiting(project) == [(pair.pk, "flag")]


@pytest.mark.parametrize("votes", [("a",), ("a", "b", "tie")])
def test_a_pair_that_two_people_call_unsafe_is_retired_once_its_decision_is_taken_back(
    project, make_pairs, olga, ann, ben, cleo, votes
):
    (pair,) = make_pairs(1)
    people = (ann, ben, cleo)[: len(votes)]
    vote_all(project, people, votes)
    last = queue.next_pair(project, ben) if len(votes) == 1 else None
    adjudication.decide(olga, pair, choice="a", strength=2)
    warns = {ann: Assignment.objects.get(annotator=ann).token}
    warns[ben] = last.token if last else Assignment.objects.get(annotator=ben).token
    for user, token in warns.items():
        queue.flag(user, token, "unsafe")
    pair.refresh_from_db()
    assert pair.state == "resolved"
    adjudication.take_back(pair)
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots) == ("retired", 0)
    assert queue.next_pair(project, cleo) is None


@pytest.mark.parametrize(
    ("choice", "category"),
    [
        ("b", "model_error"),
        ("a", "annotator_error"),
        ("tie", "ambiguous"),
        ("both_bad", "both_bad"),
    ],
)
def test_the_decision_suggests_who_was_wrong(against, olga, choice, category):
    assert adjudication.decide(olga, against, choice=choice, strength=1).category == category


def test_pairs_without_a_label_cannot_be_decided(project, make_pairs, olga):
    (gold,) = make_pairs(1, kind="gold")
    (retired,) = make_pairs(1, state="retired", open_slots=0)
    for pair in (gold, retired):
        with pytest.raises(adjudication.Undecidable):
            adjudication.decide(olga, pair, choice="a", strength=1)
    assert not Adjudication.objects.exists()


def test_exports_and_training_rows_carry_the_decision(project, split, olga):
    adjudication.decide(olga, split, choice="b", strength=3)
    version = freezing.freeze(project)
    (row,) = rows(version)
    assert row["chosen"] == split.completion_b.text
    assert (row["margin"], row["n_votes"], row["method"]) == (1.0, 3, "adjudicated")
    (taught,) = exchange.rows_for_training.preferences(project, version, include_simulated=False)
    assert taught["decided"] == "b"


def test_a_version_keeps_the_decisions_that_stood_when_it_was_made(project, split, olga):
    before = freezing.freeze(project)
    adjudication.decide(olga, split, choice="b", strength=3)
    decided = freezing.freeze(project)
    adjudication.decide(olga, split, choice="both_bad")
    changed = freezing.freeze(project)
    adjudication.take_back(split)
    assert [v.number for v in (before, decided, changed, freezing.freeze(project))] == [
        1,
        2,
        3,
        4,
    ]
    assert rows(before) == rows(changed) == [] and len(rows(decided)) == 1
    assert [row["outcome"] for row in rows(before, "ties")] == ["split"]
    assert [row["outcome"] for row in rows(changed, "ties")] == ["both_bad"]


def test_training_rows_of_a_version_know_nothing_of_later_decisions(
    project, make_pairs, ann, ben, cleo, olga
):
    (decided, undecided) = make_pairs(2)
    for people, choices in (((ann, ben, cleo), ("a", "b", "tie")), ((ann, ben), "aa")):
        vote_all(project, people, choices)
    adjudication.decide(olga, decided, choice="b", strength=3)
    version = freezing.freeze(project)
    reliability.refresh_labels(project)
    before = taught(project, version)
    adjudication.decide(olga, undecided, choice="b", strength=3)
    adjudication.decide(olga, decided, choice="both_bad")
    after = taught(project, version)
    assert [row["decided"] for row in after] == ["b", ""]
    assert after[0]["soft"] == before[0]["soft"] == [0.0, 0.0, 1.0]
    assert before[1]["soft"] is not None and after[1]["soft"] is None
    adjudication.take_back(decided)
    assert taught(project, version)[0] == before[0]
    newer = freezing.freeze(project)
    assert [row["decided"] for row in taught(project, newer)] == ["", "b"]


def taught(project, version):
    return list(exchange.rows_for_training.preferences(project, version, include_simulated=False))


def test_the_page_shows_anonymous_votes_and_hides_policies(client_for, project, split, olga):
    Assignment.objects.filter(pair=split, seq=2).update(
        active_ms=1400, reasons=["Clarity"], comment="B guesses <b>", strength=2
    )
    page = client_for(olga).get(URL).text
    assert "The votes have no majority." in page and "1 without a majority" in page
    assert "Annotator 2" in page and "B better" in page
    assert "1.4 s" in page and page.count("under 2 seconds") == 1
    assert "Clarity" in page and "B guesses &lt;b&gt;" in page
    assert "starter" not in page and not {"ann-ben", ">ben<"} & set(page.split())


@pytest.mark.parametrize(
    ("scale", "caption"), [("three", "B better"), ("four", "B clearly better")]
)
def test_votes_have_the_captions_of_the_projects_own_scale(
    client_for, project, split, olga, scale, caption
):
    Project.objects.update(scale=scale)
    Assignment.objects.filter(pair=split, choice="b").update(strength=2)
    client = client_for(olga)
    for page in (URL, f"/projects/desk/pairs/{split.pk}/", "/projects/desk/data/?in=votes"):
        text = client.get(page).text
        assert caption in text and "B is " not in text, page


def test_the_answer_between_the_sides_is_worded_as_on_the_labelling_screen(
    client_for, project, split, olga
):
    page = client_for(olga).get(URL).text
    assert '<span class="rest">About the</span> <span>same</span>' in page


def test_warnings_of_one_kind_are_named_once_with_their_people(
    client_for, project, split, ann, ben, olga
):
    for person in (ann, ben):
        Flag.objects.create(pair=split, annotator=person, kind=Flag.Kind.PII)
    Flag.objects.create(pair=split, annotator=ann, kind=Flag.Kind.UNSAFE)
    page = client_for(olga).get(URL).text
    assert "Flagged: personal data (2 people), unsafe content." in page


def test_one_post_decides_goes_on_and_can_be_undone(client_for, project, split, make_pairs, olga):
    client = client_for(olga)
    answer = client.post(f"{URL}{split.pk}/", {"vote": "7", "category": ""}, follow=True)
    assert "Decided: B much better (ambiguous)." in answer.text
    assert "Nothing to adjudicate" in answer.text and "Undo the last decision" in answer.text
    answer = client.post(f"{URL}{split.pk}/undo/", follow=True)
    assert "taken back" in answer.text and "The votes have no majority." in answer.text
    assert client.post(f"{URL}{split.pk}/", {"vote": "9"}).status_code == 400
    assert client.post(f"{URL}{split.pk}/", {"vote": "1", "category": "bad"}).status_code == 400


def test_a_project_may_want_a_rationale_with_every_decision(client_for, project, split, olga):
    project.require_rationale = True
    project.save()
    client, address = client_for(olga), f"{URL}{split.pk}/"
    answer = client.post(address, {"vote": "7"}, follow=True)
    assert "this project wants a rationale" in answer.text
    assert not Adjudication.objects.exists()
    answer = client.post(address, {"vote": "7", "rationale": "A blames the customer."}, follow=True)
    assert "Decided: B much better" in answer.text
    assert Adjudication.objects.get().rationale == "A blames the customer."


def test_a_conflict_names_both_sides_and_a_decided_pair_can_be_opened_again(
    client_for, against, olga
):
    client = client_for(olga)
    page = client.get(URL).text
    assert "People prefer <b>B</b>" in page and "probability of 95.3\xa0%" in page
    client.post(f"{URL}{against.pk}/", {"vote": "5", "category": "guideline_gap"})
    page = client.get(URL, {"pair": against.pk}).text
    assert "Decided by olga" in page and "guideline gap" in page


def test_later_goes_on_to_the_next_pair_and_round_again(client_for, project, make_pairs, olga, ann):
    one, two = make_pairs(2)
    for pair in (one, two):
        Flag.objects.create(pair=pair, annotator=ann, kind="unsafe")
    client = client_for(olga)
    assert "Order 0 is" in client.get(URL).text
    assert "Order 1 is" in client.get(URL, {"after": one.pk}).text
    assert "Order 0 is" in client.get(URL, {"after": two.pk}).text
    client.post(f"{URL}{one.pk}/flags/")
    assert waiting(project) == [(two.pk, "flag")]


def test_the_page_counts_everything_that_waits(client_for, project, split, make_pairs, olga, ann):
    for pair in make_pairs(3):
        Flag.objects.create(pair=pair, annotator=ann, kind="pii")
        Flag.objects.create(pair=pair, annotator=olga, kind="pii")
    assert adjudication.waiting(project) == {"split": 1, "conflict": 0, "flag": 3}
    assert "3 flagged" in client_for(olga).get(URL).text


def test_a_long_queue_is_only_known_to_be_longer(
    client_for, project, make_pairs, olga, ann, monkeypatch
):
    monkeypatch.setattr(adjudicate, "COUNTED", 2)
    for n, said in ((2, "2 flagged"), (1, "more than 2 flagged")):
        flagged = make_pairs(n)
        Flag.objects.bulk_create(Flag(pair=pair, annotator=ann, kind="pii") for pair in flagged)
        assert said in client_for(olga).get(URL).text


@pytest.mark.parametrize("number", ["x", "-1", "9" * 30, "٣", "12345"])
def test_a_pair_that_is_not_there_does_no_harm(client_for, split, olga, number):
    client = client_for(olga)
    assert client.get(URL, {"pair": number}).status_code in (200, 404)
    assert client.get(URL, {"after": number}).status_code == 200


def test_all_turns_are_shown_and_the_last_is_told_apart(client_for, split, olga):
    split.prompt.messages = [
        {"role": "user", "content": "First question"},
        {"role": "assistant", "content": "First answer"},
        {"role": "user", "content": "Show $x^2$"},
    ]
    split.prompt.save()
    _, page = client_for(olga).get(URL).text.split('<div class="earlier">')
    earlier, last = page.split("First answer", 1)
    assert "First question" in earlier
    assert last.index("</div></div>") < last.index("<msup>")


def test_the_page_shows_what_each_voter_answered_by_criterion(client_for, project, split, olga):
    assert "By criterion" not in client_for(olga).get(URL).text
    Project.objects.update(criteria=["Kind", "Correct", "Short"])
    said = ({"Kind": "a", "Correct": "a"}, {"Kind": "b", "Correct": "a"}, {"Kind": "tie"})
    votes = Assignment.objects.filter(pair=split).order_by("seq")
    for vote, criteria in zip(votes, said, strict=True):
        vote.criteria, vote.criteria_asked = criteria, "with_pair"
        vote.save()
    page = client_for(olga).get(URL).text.partition("By criterion")[2].partition("</table>")[0]
    cells = {
        row: re.findall(r"<t[dh][^>]*>(?:<span[^>]*>)?([^<]+)", row) for row in page.split("<tr>")
    }
    assert list(cells.values())[2:] == [
        ["Kind", "A", "B", "Same", "differ"],
        ["Correct", "A", "A", "–", "agree"],
        ["Short", "–", "–", "–", "–"],
    ]
