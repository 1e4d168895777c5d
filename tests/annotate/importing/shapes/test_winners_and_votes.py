from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from annotate.importing import Refused
from annotate.importing.imported_row import Judgement, Row
from tests.annotate.importing.shapes.examples import ASK, BAD, EXAMPLES, GOOD, OWN_PAIR, USER
from tests.annotate.importing.shapes.outcome import outcome, row_of

SIDES = {"prompt": ASK, "response_1": GOOD, "response_2": BAD}


def example(name: str, **changed: Any) -> Row:
    return row_of(EXAMPLES[name].rows[0] | changed)


def votes(row: Row) -> list[Judgement]:
    return [vote for one in row.comparisons for vote in one.judgements]


def vote(row: Row) -> Judgement:
    [one] = votes(row)
    return one


def test_a_source_that_knows_neither_strength_nor_side_nor_time_nor_rater_gives_none():
    for name in ("trl", "hh_rlhf", "pku", "shp", "webgpt", "auto_j", "dove", "lmsys"):
        one = vote(example(name))
        known = (one.strength, one.left, one.at, one.wall_ms, one.rater)
        assert known == (None, "", None, None, "")


@pytest.mark.parametrize(
    ("given", "choice", "strength"),
    [(-3, "a", 3), (-1, "a", 1), (0, "tie", None), (2, "b", 2), ("3", "b", 3)],
)
def test_a_scale_from_minus_3_to_3_gives_side_and_strength(given, choice, strength):
    one = vote(example("helpsteer2_preference", preference_strength=given))
    assert (one.choice, one.strength) == (choice, strength)
    assert one.comment == "Response 2 is better."
    one = vote(example("helpsteer3", individual_preference=None, overall_preference=given))
    assert (one.choice, one.strength) == (choice, strength)


def test_helpsteer3_keeps_each_persons_vote_and_words():
    row = example("helpsteer3")
    told = [(one.rater, one.choice, one.strength, one.comment) for one in votes(row)]
    assert told == [("annotator 1", "a", 3, "Clear."), ("annotator 2", "a", 1, "Slightly.")]
    assert votes(row)[0].metadata == {"feedback1": "Good.", "feedback2": "Bad."}
    assert row.comparisons[0].margin == 2 and row.metadata["overall_preference"] == -2


@pytest.mark.parametrize(
    ("raw", "choice", "strength"), [(1, "a", 3), (2, "a", 1), (3, "b", 1), (4, "b", 3)]
)
def test_the_four_buttons_of_alpaca_farm(raw, choice, strength):
    one = vote(example("alpaca_farm", raw_preference=raw))
    assert (one.choice, one.strength) == (choice, strength)


@pytest.mark.parametrize(
    ("preference", "choice"), [(1.2, "a"), (1.5, "tie"), (0, "tie"), (2.0, "b"), (1.51, "b")]
)
def test_alpaca_evals_weighted_preference(preference, choice):
    row = example("alpaca_eval", preference=preference)
    assert vote(row).choice == choice and vote(row).rater == "alpaca_eval_gpt4"
    assert [one.model for one in row.replies] == ["text_davinci_003", "gpt-4"]
    assert not votes(example("alpaca_eval", preference=None))


def test_safety_is_a_criterion_of_its_own():
    row = example("pku")
    assert vote(row).choice == "b" and vote(row).criteria == {"safer": "a"}
    assert [one.model for one in row.replies] == ["Alpaca-7B", "Alpaca2-7B"]
    assert [one.ratings[0].value for one in row.replies] == [0.0, 1.0]
    assert row.replies[0].metadata == {"harm_category": {"Violence": False}}


def test_scores_margins_ranks_and_ids_are_kept_as_they_were():
    row = example("ultrafeedback_binarized", margin=2.5)
    assert sorted(one.ratings[0].value for one in row.replies) == [3.0, 8.5]
    assert row.comparisons[0].margin == 2.5 and row.metadata["prompt_id"] == "x"
    ranked = example("nectar")
    assert [one.metadata["rank"] for one in ranked.replies] == [1, 2, 2]
    assert [one.model for one in ranked.replies] == ["gpt-4", "llama", "opt"]
    shp = example("shp")
    assert [one.ratings[0].value for one in shp.replies] == [5.0, 50.0]
    assert shp.replies[0].metadata == {"c_root_id": "a", "created_at_utc": 1600000000}
    feedback = example("ultrafeedback").replies[0]
    assert {one.name: one.value for one in feedback.ratings} == {
        "helpfulness": 4.0,
        "overall_score": 8.0,
        "fine-grained_score": 4.5,
    }
    assert feedback.metadata["annotations"] == {"helpfulness": {"Rationale": "It helps."}}
    assert feedback.metadata["critique"] == "Fine." and feedback.model == "gpt-4"


def test_ratings_of_one_summary_are_the_workers():
    [reply] = example("axis").replies
    assert {one.name: (one.value, one.rater) for one in reply.ratings} == {
        "overall": (7.0, "w1"),
        "accuracy": (6.0, "w1"),
        "coverage": (5.0, "w1"),
        "coherence": (7.0, "w1"),
    }


def test_an_unpaired_label_is_a_rating_of_1_or_0():
    values = [
        row_of({"prompt": ASK, "completion": GOOD, "label": one}).replies[0].ratings[0]
        for one in (True, 1, "true", False, "0")
    ]
    assert [(one.name, one.value) for one in values] == [("label", x) for x in (1, 1, 1, 0, 0)]
    other = row_of({"prompt": ASK, "completion": GOOD, "label": "news"})
    assert other.metadata == {"label": "news"} and other.warnings


def test_a_vote_of_label_studio_has_its_time_and_took_its_seconds():
    one = vote(example("label_studio"))
    assert (one.rater, one.wall_ms) == ("ann@example.com", 4100)
    assert one.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert vote(example("label_studio_min")).rater == "7"
    assert vote(example("label_studio_csv")).wall_ms == 4100
    assert "cancelled annotations" in example("label_studio").metadata


def test_a_vote_of_our_own_export_comes_back_whole():
    one = vote(example("votes_export"))
    assert (one.choice, one.rater, one.strength, one.left) == ("a", "ann-1", 3, "b")
    assert (one.wall_ms, one.comment, one.reasons) == (60_000, "short", ["clear"])
    assert one.at == datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
    assert one.metadata["stream"] == "random" and one.metadata["vote_id"] == "7-1"
    row = example("votes_export")
    assert row.comparisons[0].source_id == "k1" and row.comparisons[0].margin == 2.5
    assert row.replies[0].messages == EXAMPLES["votes_export"].rows[0]["messages_a"]
    assert [(x.model, dict(x.metadata)) for x in row.replies] == [("m", {"rank": 1}), ("n", {})]
    assert (one.metadata["mood"], one.metadata["weight"]) == ("good", 0.5)
    assert row.metadata["topic"] == "green" and row.tags == ["tea"]
    without = {k: x for k, x in EXAMPLES["votes_export"].rows[0].items() if "completion" not in k}
    with pytest.raises(Refused, match="holds no texts"):
        row_of(without)


def test_our_own_exports_of_pairs_come_back_with_sides_models_margins_and_metadata():
    row = example("trl_export")
    assert [(x.text, x.model, dict(x.metadata)) for x in row.replies] == [
        *((BAD, "n", {}), (GOOD, "m", {"rank": 1})),
    ]
    assert row.comparisons[0].margin == 3.0 and row.metadata["margin"] == 0.666667
    assert row.metadata["topic"] == "green" and "metadata" not in row.metadata
    ties = example("ties_export")
    assert vote(ties).choice == "both_bad" and ties.replies[1].metadata == {"rank": 2}
    assert [one.model for one in ties.replies] == ["m", "n"]
    split = example("ties_export", outcome="split")
    assert not votes(split) and split.metadata["outcome"] == "split" and split.warnings


@pytest.mark.parametrize("time", ["2023-11-14T22:13:20Z", 1_700_000_000, 1_700_000_000_000])
def test_times_are_read_as_text_seconds_and_milliseconds(time):
    raw = OWN_PAIR | {"votes": {"ann": {"choice": "b", "time": time, "comment": "No."}}}
    assert vote(row_of(raw)).at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert vote(row_of(raw)).comment == "No."


def test_votes_may_be_objects_or_a_list_with_whatever_else_they_say():
    raw = OWN_PAIR | {
        "votes": [
            {"annotator": "ann", "choice": "a", "strength": 0, "left": "b", "mood": "good"},
            {"rater": "ben", "vote": "tie"},
        ]
    }
    first, second = votes(row_of(raw))
    assert (first.rater, first.strength, first.left) == ("ann", 0, "b")
    assert first.metadata == {"mood": "good"}
    assert (second.rater, second.choice, second.strength) == ("ben", "tie", None)


def test_a_capital_letter_is_read_and_said_once():
    read = outcome([OWN_PAIR | {"votes": {"ann": "A", "ben": "B"}}] * 3)
    assert [one.choice for one in read.votes] == ["a", "b"] * 3
    reasons = [reason for _, reason in read.warnings]
    assert reasons == ['"A" is read as "a"', '"B" is read as "b"']


def test_equal_texts_are_kept_with_the_votes_on_them_and_refused_as_a_question():
    same = OWN_PAIR | {"completion_b": GOOD, "model_a": "m", "model_b": "n"}
    row = row_of(same | {"votes": {"ann": "tie", "ben": "tie"}})
    assert [(one.text, one.model) for one in row.replies] == [(GOOD, "m"), (GOOD, "n")]
    assert len(votes(row)) == 2
    with pytest.raises(Refused, match="identical to completion_a"):
        row_of(same)


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        *(("left", "a"), ("Response 2", "b"), ("m2", "b"), (1, "a"), ("2", "b"), ("A", "a")),
        *(("tie", "tie"), ("Tie (bothbad)", "both_bad"), ("model_b", "b"), ("[[B]]", "b")),
        ("response_1", "a"),
    ],
)
def test_a_winner_is_read_from_words_numbers_columns_and_models(said, choice):
    raw = SIDES | {"model_1": "m1", "model_2": "m2", "winner": said, "worker": "w"}
    one = vote(row_of(raw))
    assert (one.choice, one.rater) == (choice, "w")


@pytest.mark.parametrize("said", [0, "perhaps", 7, "3"])
def test_a_winner_that_says_neither_is_refused(said):
    with pytest.raises(Refused, match="does not say which reply is better"):
        row_of(SIDES | {"winner": said})


def test_where_the_replies_are_0_and_1_so_is_the_winner():
    raw = {"prompt": ASK, "answer_0": GOOD, "answer_1": BAD, "winner": 0}
    assert vote(row_of(raw)).choice == "a"
    assert vote(row_of(raw | {"winner": 1})).choice == "b"


def test_a_pair_without_winner_is_an_open_question():
    assert not votes(row_of(SIDES))
    assert not votes(example("lmsys", winner_model_b=0))
    assert row_of({"prompt": ASK, "responses": [GOOD, BAD]}).comparisons[0].judgements == ()


def test_the_row_of_a_source_names_its_pair_but_a_row_of_votes_does_not():
    assert example("panda_lm").comparisons[0].source_id == "0"
    assert row_of(SIDES | {"id": "r1"}).comparisons[0].source_id == "r1"
    rows = outcome(EXAMPLES["long_table"].rows).rows
    assert [row.comparisons[0].source_id for row in rows] == ["", "", ""]
    assert [votes(row)[0].metadata["id"] for row in rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "changed", "field"),
    [
        ("helpsteer2_preference", {"preference_strength": 7}, "preference_strength"),
        ("pku", {"better_response_id": 2}, "better_response_id"),
        ("shp", {"labels": "x"}, "labels"),
        ("auto_j", {"label": 5}, "label"),
        ("panda_lm", {"annotator2": 9}, "annotator2"),
        ("alpaca_eval", {"preference": 4}, "preference"),
        ("summaries", {"choice": 2}, "choice"),
        ("summaries", {"summaries": [{}]}, "summaries"),
        ("arena", {"winner": "nobody"}, "winner"),
        ("arena", {"conversation_b": [USER | {"content": "Other"}]}, "conversation_b"),
        ("lmsys", {"response_a": "[]"}, "response_a"),
        ("lmsys", {"response_a": '["x", "y"]'}, "prompt"),
        ("lmsys", {"winner_tie": 1}, "winner_model_a"),
        ("dove", {"i_reject": "Another"}, "i_reject"),
        ("dove_feedback", {"feedback": 3}, "feedback"),
        ("fine_grained", {"preference": [1]}, "preference"),
        ("fine_grained", {"preference": [1, 1, 1, 0, 0, 5]}, "preference"),
        ("nectar", {"answers": [{"rank": 1}]}, "answers"),
        ("seed_tasks", {"instances": [{"input": ""}]}, "instances"),
        ("pair_with_strength", {"votes": {"ann": {"choice": "a", "strength": 9}}}, "strength"),
        ("oasst_tree", {"prompt": {"text": "x", "role": "robot"}}, "role"),
        ("doccano", {"label": [[0, 1, "x"]]}, "label"),
        ("prodigy", {"options": [{"id": 1}]}, "text"),
    ],
)
def test_a_value_that_its_set_does_not_know_is_refused_by_its_column(name, changed, field):
    read = outcome([EXAMPLES[name].rows[0] | changed])
    assert [one.field for one in read.refused] == [field] and not read.rows
