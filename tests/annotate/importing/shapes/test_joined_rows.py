from __future__ import annotations

from typing import Any

import pytest

from tests.annotate.importing.shapes.examples import ASK, BAD, EXAMPLES, GOOD, POST, USER
from tests.annotate.importing.shapes.outcome import outcome

ITEM = {"id": "1", "prompt": ASK, "responses": [GOOD, BAD], "topic": "tea"}


def said(who: str, labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"user_id": who, "instance_id": "1", "label_annotations": labels, **more}


def test_potatos_annotations_alone_ask_for_the_input_file():
    read = outcome([said("ann", {"preference": {"selection": "A"}})])
    [refused] = read.refused
    assert not read.rows
    assert refused.field == "instance_id" and "input file is needed beside it" in refused.reason


@pytest.mark.parametrize("first", [True, False])
def test_potatos_two_files_are_joined_whichever_comes_first(first):
    votes = [
        said("ann", {"preference": {"selection": "A"}}, behavioral_data={"seconds": 4}),
        said("ben", {"scale": {"scale_value": "2"}, "why": {"text": "hot"}}),
        said("cem", {"radio": {"Response B": "true"}}),
        said("dan", {"preference": {"selection": "tie"}}),
        said("eva", {"comment": {"text": "nothing said"}}),
    ]
    read = outcome([ITEM, *votes] if first else [*votes, ITEM])
    assert not read.refused
    assert [(one.rater, one.choice) for one in read.votes] == [
        *(("ann", "a"), ("ben", "b"), ("cem", "b"), ("dan", "tie")),
    ]
    assert {row.comparisons[0].source_id for row in read.rows} == {"1"}
    ann, ben, *_ = read.votes
    assert ann.metadata == {"behavioral_data": {"seconds": 4}}
    assert ben.metadata["label_annotations"]["scale"] == {"scale_value": "2"}


def test_messages_of_openassistant_are_joined_in_any_order_and_orphans_refused():
    rows = EXAMPLES["oasst_messages"].rows
    orphan = rows[1] | {"message_id": "m9", "parent_id": "gone"}
    read = outcome([*rows[::-1], orphan])
    assert [one.field for one in read.refused] == ["parent_id"]
    assert "'gone'" not in read.refused[0].reason and "gone" in read.refused[0].reason
    assert read.winners == [GOOD]
    [reply, _] = sorted(read.rows[0].replies, key=lambda one: one.metadata["rank"])
    assert reply.text == GOOD and reply.metadata["message_id"] == "m3"


def test_every_turn_of_a_person_in_a_tree_is_a_prompt_with_its_past():
    read = outcome(EXAMPLES["oasst_tree"].rows)
    first, second = read.rows
    assert [one["role"] for one in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1]["content"] == GOOD and not second.replies
    assert first.replies[0].ratings[0].name == "quality"
    assert first.metadata["message"]["message_id"] == "m1"
    assert first.metadata["tree_state"] == "ready_for_export"


def test_labels_of_messages_in_tables_are_ratings_and_deleted_messages_are_left_out():
    [ask, bad, good] = EXAMPLES["oasst_messages"].rows
    labels = {"name": ["quality", "toxicity"], "value": [0.75, 0.0], "count": [3, 3]}
    read = outcome([ask, bad | {"deleted": True}, good | {"labels": labels}])
    [row] = read.rows
    [reply] = row.replies
    assert [(one.name, one.value) for one in reply.ratings] == [
        *(("quality", 0.75), ("toxicity", 0.0)),
    ]
    assert ("replies", "messages that were deleted are left out") in row.warnings


def test_mqm_sums_up_the_errors_of_each_rater_and_takes_the_marks_out_of_the_texts():
    [row] = outcome(EXAMPLES["mqm"].rows).rows
    scores = {one.model: {x.rater: x.value for x in one.ratings} for one in row.replies}
    assert scores == {"A": {"r1": -1.1, "r2": 0.0}, "B": {"r1": -5.0, "r2": 0.0}}
    assert [one.text for one in row.replies] == ["Good day.", "Bad day."]
    [comparison] = row.comparisons
    assert [(one.rater, one.choice) for one in comparison.judgements] == [
        *(("r1", "a"), ("r2", "tie")),
    ]
    marked = [one["target"] for one in row.replies[0].metadata["errors"]]
    assert marked == ["Good <v>day</v>.", "<v>Good</v> day.", "Good day."]
    assert row.metadata == {"doc": "news", "doc_id": "1", "seg_id": "1"}


def test_two_systems_that_wrote_the_same_keep_both_names():
    rows = [one | {"target": "Same."} for one in EXAMPLES["mqm"].rows]
    [row] = outcome(rows).rows
    assert [(one.text, one.model) for one in row.replies] == [("Same.", "A"), ("Same.", "B")]


def test_comments_without_their_post_are_refused_and_many_are_cut_with_a_word():
    comments = [
        {"id": f"c{i}", "link_id": "t3_p1", "parent_id": "t3_p1", "body": f"Way {i}", "score": i}
        for i in range(20)
    ]
    assert outcome(comments).refused[0].field == "link_id"
    [row] = outcome([*comments, POST]).rows
    assert len(row.replies) == 16 and len(row.comparisons) == 120
    assert row.messages[0]["content"] == f"{ASK}\n\nI have leaves."
    assert "4 comments were left out" in row.warnings[0][1]
    firsts = [one.judgements[0].choice for one in row.comparisons].count("a")
    assert 40 < firsts < 80
    assert row.comparisons[0].margin == 1


def test_groups_that_are_joined_keep_their_order():
    def segment(number: int) -> list[dict[str, Any]]:
        return [one | {"seg_id": str(number)} for one in EXAMPLES["mqm"].rows]

    rows = [row for couple in zip(segment(2), segment(10), strict=True) for row in couple]
    assert [one.metadata["seg_id"] for one in outcome(rows).rows] == ["2", "10"]


def test_a_group_that_cannot_be_read_does_not_stop_the_others():
    bad = [one | {"seg_id": "0", "source": 7} for one in EXAMPLES["mqm"].rows]
    read = outcome([*bad, *EXAMPLES["mqm"].rows])
    assert len(read.rows) == 1 and [one.field for one in read.refused] == ["source"]


def test_the_output_of_a_batch_needs_its_input_and_says_so():
    [_, answer] = EXAMPLES["openai_batch"].rows
    read = outcome([answer])
    assert not read.rows
    assert "the batch's input is needed beside its output" in str(read.refused[0])


def test_a_call_of_a_batch_that_failed_leaves_its_prompt_and_says_so():
    asked, answer = EXAMPLES["openai_batch"].rows
    broken = answer | {"response": None, "error": {"code": "expired"}}
    [row] = outcome([asked, broken]).rows
    assert not row.replies and row.metadata["error"] == {"code": "expired"}
    assert [reason for _, reason in row.warnings] == ["the call 'r1' brought no reply back"]


def test_prompt_model_and_what_else_is_known_of_a_call_are_kept():
    [row] = outcome(EXAMPLES["openai_batch"].rows).rows
    [reply] = row.replies
    assert (row.messages, reply.text, reply.model) == ([USER], GOOD, "gpt")
    assert reply.metadata["response"] == {"status_code": 200}
    assert row.metadata["body"] == {"model": "gpt"} and row.metadata["method"] == "POST"
