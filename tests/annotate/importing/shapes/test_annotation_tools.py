from __future__ import annotations

from typing import Any

import pytest

from annotate.importing import Refused
from annotate.importing.imported_row import Judgement
from tests.annotate.importing.shapes.examples import ASK, BAD, EXAMPLES, GOOD
from tests.annotate.importing.shapes.outcome import outcome, row_of


def example(name: str, **changed: Any) -> dict[str, Any]:
    return EXAMPLES[name].rows[0] | changed


def votes(raw: dict[str, Any]) -> list[Judgement]:
    return [vote for one in row_of(raw).comparisons for vote in one.judgements]


def result(name: str, **value: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "answer1,answer2", "value": value}


def annotation(*results: dict[str, Any]) -> dict[str, Any]:
    return {"id": 3, "completed_by": 7, "result": list(results)}


def test_other_answers_on_label_studios_form_are_criteria_comments_and_metadata():
    results = [
        result("comparison", selected="right"),
        result("style", choices=["left"]),
        result("why", text=["It is hot."]),
        result("stars", rating=4),
    ]
    [vote] = votes(example("label_studio", annotations=[annotation(*results)]))
    assert (vote.choice, vote.rater, vote.wall_ms) == ("b", "7", None)
    assert vote.criteria == {"style": "a"} and vote.comment == "It is hot."
    assert vote.metadata["result"] == [results[3]]


@pytest.mark.parametrize(("choice", "expected"), [("answer2", "b"), ("Tie", "tie"), ("A", "a")])
def test_label_studios_choices_name_a_reply_too(choice, expected):
    results = [result("better", choices=[choice])]
    [vote] = votes(example("label_studio", annotations=[annotation(*results)]))
    assert vote.choice == expected


def test_annotations_of_label_studio_that_choose_neither_reply_are_kept():
    rated = annotation(result("stars", rating=4), result("why", text=["It is hot."]))
    chosen = annotation(result("comparison", selected="right"))
    row = row_of(example("label_studio", annotations=[rated, chosen]))
    assert [vote.choice for vote in row.comparisons[0].judgements] == ["b"]
    assert row.metadata["annotations"] == [rated]


def test_what_potatos_people_said_without_choosing_is_kept():
    item = {"id": "i1", "text": ASK, "responses": [GOOD, BAD]}
    good = {"quality": {"good": "true"}}
    undecided = {"user_id": "cleo", "instance_id": "i1", "label_annotations": good}
    *_, row = outcome([item, undecided]).rows
    assert not row.comparisons[0].judgements
    assert row.metadata["annotations"] == [undecided]


def test_the_order_of_label_studios_ranker_compares_every_two_items():
    items = [
        {"id": x, "title": x.upper(), "body": text}
        for x, text in zip("abc", (GOOD, BAD, "No."), strict=True)
    ]
    ranked = result("rank", ranker={"rank": ["b", "a", "c"]})
    stars = result("stars", rating=4)
    annotations = [
        annotation(ranked, stars),
        annotation(stars),
        annotation(result("rank", ranker={"best": ["a", "c"], "worst": ["b"]}))
        | {"completed_by": 8},
    ]
    row = row_of({"id": 1, "data": {"prompt": ASK, "items": items}, "annotations": annotations})
    said = {
        (one.a, one.b, vote.rater): vote.choice
        for one in row.comparisons
        for vote in one.judgements
    }
    assert said == {
        (0, 1, "7"): "b",
        (0, 2, "7"): "a",
        (1, 2, "7"): "a",
        (0, 2, "8"): "a",
    }
    votes = [vote for one in row.comparisons for vote in one.judgements]
    assert [vote.metadata["result"] for vote in votes if vote.rater == "7"] == 3 * [[stars]]
    assert row.replies[0].metadata == {"title": "A"}
    assert row.metadata["annotations"] == [annotations[1]]


def test_a_task_nobody_annotated_is_an_open_question():
    row = row_of(example("label_studio", annotations=[]))
    assert row.comparisons and not row.comparisons[0].judgements
    assert row.metadata["data"] == {"topic": "tea"}


def test_a_task_of_one_reply_is_a_completion():
    row = row_of({"id": 1, "data": {"prompt": ASK, "response": GOOD}, "annotations": []})
    assert [one.text for one in row.replies] == [GOOD] and not row.comparisons


def test_judgements_without_two_replies_are_refused():
    raw = {
        "id": 1,
        "data": {"prompt": ASK},
        "annotations": [annotation(result("x", selected="left"))],
    }
    with pytest.raises(Refused, match="not two replies"):
        row_of(raw)


def test_a_flat_row_of_label_studio_without_an_answer_keeps_who_looked():
    raw = {k: x for k, x in example("label_studio_min").items() if k != "comparison"}
    row = row_of(raw)
    assert not row.comparisons[0].judgements
    assert row.metadata["annotator"] == 7 and row.metadata["lead_time"] == 4.1


def test_argillas_other_questions_go_with_the_vote_of_their_person():
    first, second = votes(example("argilla_v2"))
    assert (first.rater, first.comment) == ("u1", "Clear.") and second.comment == ""


@pytest.mark.parametrize(("ranks", "choice"), [((1, 2), "a"), ((2, 1), "b"), ((1, 1), "tie")])
def test_argillas_rankings_are_votes(ranks, choice):
    values = [
        {"value": name, "rank": rank}
        for name, rank in zip(("response-1", "response-2"), ranks, strict=True)
    ]
    response = {"user_id": "u1", "status": "submitted", "values": {"ranking": {"value": values}}}
    [vote] = votes(example("argilla_v1", responses=[response]))
    assert (vote.choice, vote.rater) == (choice, "u1")


def test_argillas_drafts_are_left_out_with_a_word_and_ratings_kept():
    response = {"user_id": "u1", "status": "draft", "values": {"ranking": {"value": []}}}
    row = row_of(example("argilla_v1", responses=[response]))
    assert ("responses", "a response that is draft was left out") in row.warnings
    assert not row.comparisons[0].judgements
    rating = {"quality": [{"value": 5, "user_id": "u1"}]}
    kept = row_of(example("argilla_v2", responses=rating))
    assert kept.metadata["answers"] == {"u1": {"quality": 5}}


@pytest.mark.parametrize(
    ("accept", "answer", "choices"),
    [
        (["x"], "accept", ["a"]),
        (["y"], "accept", ["b"]),
        (["x", "y"], "accept", ["tie"]),
        (["same"], "accept", ["tie"]),
        ([], "accept", []),
        (["x"], "reject", []),
        (["x"], "ignore", []),
    ],
)
def test_prodigys_answers(accept, answer, choices):
    options = [*example("prodigy")["options"], {"id": "same", "text": "Both alike"}]
    raw = example("prodigy", accept=accept, answer=answer, options=options)
    assert [one.choice for one in votes(raw)] == choices
    row = row_of(raw)
    assert len(row.replies) == 2
    if choices:
        assert votes(raw)[0].rater == "ann" and votes(raw)[0].at is not None
    else:
        assert row.metadata["_annotator_id"] == "ann"


def test_more_than_two_options_are_completions():
    options = [{"id": str(i), "text": text} for i, text in enumerate((GOOD, BAD, "No."))]
    row = row_of(example("prodigy", options=options, accept=["1"]))
    assert len(row.replies) == 3 and row.metadata["accept"] == ["1"]
