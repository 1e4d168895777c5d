from __future__ import annotations

from typing import Any

import pytest

from annotate.importing import Refused
from tests.annotate.importing.shapes.examples import ASK, BAD, GOOD
from tests.annotate.importing.shapes.outcome import outcome, row_of

HI = [{"role": "user", "content": "Hi"}]
SAY = {"role": "assistant", "content": "Hello"}


def texts(raw: dict[str, Any]) -> list[str]:
    return [reply.text for reply in row_of(raw).replies]


def winner(raw: dict[str, Any]) -> str:
    row = row_of(raw)
    return row.replies["ab".index(choice(raw))].text


def choice(raw: dict[str, Any]) -> str:
    [comparison] = row_of(raw).comparisons
    [vote] = comparison.judgements
    return vote.choice


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
        {"prompt": HI, "chosen": [SAY], "rejected": [{**SAY, "content": "No"}]},
        {"chosen": [*HI, SAY], "rejected": [*HI, {**SAY, "content": "No"}]},
        {"prompt": "Hi", "chosen": [*HI, SAY], "rejected": [*HI, {**SAY, "content": "No"}]},
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
            "rejected": "\n\nHuman: Hi\n\nAssistant: No",
        },
        {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": "Hello", "rejected": "No"},
    ],
)
def test_every_form_of_a_trl_preference_means_the_same(raw):
    row = row_of(raw)
    assert row.messages == HI
    assert sorted(c.text for c in row.replies) == ["Hello", "No"]
    assert winner(raw) == "Hello"


def test_the_better_side_is_not_always_a():
    votes = [choice({"prompt": "Hi", "chosen": f"x{i}", "rejected": f"y{i}"}) for i in range(60)]
    assert 15 < votes.count("a") < 45


def test_a_dialogue_is_split_by_turns_even_when_the_replies_begin_alike():
    start = "\n\nHuman: Hi\n\nAssistant: Yes\n\nHuman: More?\n\nAssistant:"
    row = row_of({"chosen": f"{start} I think so", "rejected": f"{start} I think not"})
    assert [m["content"] for m in row.messages] == ["Hi", "Yes", "More?"]
    assert sorted(c.text for c in row.replies) == ["I think not", "I think so"]


def test_a_reply_of_two_assistant_turns_is_joined_with_a_warning():
    one = "\n\nHuman: Hi\n\nAssistant: Hello"
    row = row_of(
        {"chosen": f"{one}\n\nAssistant: Again", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
    )
    assert row.messages == HI
    assert "Hello\n\nAgain" in [c.text for c in row.replies]
    assert row.warnings


@pytest.mark.parametrize("names", [("completion_a", "completion_b"), ("response_a", "response_b")])
def test_a_pair_row_keeps_sides_models_tags_and_votes(names):
    raw = dict(zip(names, ("one", "two"), strict=True)) | {
        "prompt": "Hi",
        "model_a": "gpt2",
        "model_b": "llama",
        "tags": ["greeting"],
        "votes": {"anna": "A", "bob": "tie", "cem": "b"},
    }
    row = row_of(raw)
    assert [(c.text, c.model) for c in row.replies] == [("one", "gpt2"), ("two", "llama")]
    [comparison] = row.comparisons
    votes = {vote.rater: vote.choice for vote in comparison.judgements}
    assert votes == {"anna": "a", "bob": "tie", "cem": "b"}
    assert row.tags == ["greeting"]


def test_prompts_references_and_several_completions_are_read():
    assert not row_of({"prompt": "Hi"}).replies
    assert row_of({"prompt": "Hi", "reference": "Hello"}).reference == "Hello"
    several = {"prompt": HI, "completions": ["one", {"text": "two", "model": "m"}, [SAY]]}
    assert texts(several) == ["one", "two", "Hello"]
    assert texts({"prompt": "Hi", "completion": "one"}) == ["one"]


def test_a_reply_that_some_writer_turned_into_a_boolean_is_read_as_text_with_a_warning():
    row = row_of({"prompt": "Hi", "response_a": True, "response_b": "no", "votes": {"x": "a"}})
    assert row.replies[0].text == "True"
    assert [field for field, _ in row.warnings] == ["response_a"]


PAIR = {"prompt": "Hi", "completion_a": "one", "completion_b": "two"}


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        ({"question": "Hi"}, "prompt", "missing"),
        ({"prompt": "Hi", "chosen": "x"}, "rejected", "missing"),
        ({"prompt": "Hi", "completion_a": "x"}, "completion_b", "missing"),
        ({"completion_a": "x", "completion_b": "y"}, "prompt", "missing"),
        ({"chosen": "x", "rejected": "y"}, "prompt", "whole dialogues"),
        (PAIR | {"prompt": None}, "prompt", "null"),
        (PAIR | {"prompt": "  "}, "prompt", "empty"),
        (PAIR | {"prompt": [SAY]}, "prompt", "assistant"),
        (PAIR | {"prompt": [{"role": "robot", "content": "x"}]}, "prompt", "role"),
        (PAIR | {"prompt": [{"role": "user"}]}, "prompt", "content"),
        (PAIR | {"prompt": 7}, "prompt", "text is expected"),
        (PAIR | {"prompt": "x" * 100_001}, "prompt", "longer than 100,000"),
        (PAIR | {"completion_b": ""}, "completion_b", "empty"),
        (PAIR | {"completion_b": "one"}, "completion_b", "identical to completion_a"),
        (PAIR | {"completion_b": ["x"]}, "completion_b", "text is expected"),
        (PAIR | {"votes": {"anna": "left"}}, "votes", "must be one of"),
        (PAIR | {"votes": ["a"]}, "votes", "object"),
        (PAIR | {"votes": {"": "a"}}, "votes", "name"),
        (PAIR | {"tags": "news"}, "tags", "list"),
        (PAIR | {"model_a": 3}, "model_a", "name"),
        ({"prompt": "Hi", "chosen": "same", "rejected": "same"}, "rejected", "identical"),
        ({"prompt": "Hi", "completions": []}, "completions", "list"),
        ({"prompt": "Hi", "completion": " "}, "completion", "empty"),
        ({"prompt": "Hi", "reference": {}}, "reference", "text"),
    ],
)
def test_a_bad_row_is_refused_with_its_field_and_reason(raw, field, reason):
    with pytest.raises(Refused) as caught:
        row_of(raw)
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_an_empty_completion_is_only_a_warning_where_people_have_judged_it():
    row = row_of(PAIR | {"completion_b": "", "votes": {"anna": "a"}})
    assert [field for field, _ in row.warnings] == ["completion_b"]
    assert row_of({"prompt": "Hi", "chosen": "", "rejected": "bad"}).warnings


def test_three_replies_in_a_column_each_are_three_replies():
    row = {"prompt": ASK, "answer_a": GOOD, "answer_b": BAD, "answer_c": "No.", "ranking": "b,a,c"}
    [read] = outcome([row]).rows
    assert [one.text for one in read.replies] == [GOOD, BAD, "No."] and not read.comparisons
    assert read.metadata == {"ranking": "b,a,c"}
    judged = outcome([row | {"winner": "b"}])
    assert judged.winners == [BAD] and judged.rows[0].metadata["answer_c"] == "No."


def test_the_models_of_a_list_of_replies_may_stand_under_model():
    row = {"prompt": ASK, "completions": [GOOD, BAD], "model": ["m", "n"]}
    assert [one.model for one in row_of(row).replies] == ["m", "n"]


def test_a_row_without_any_value_is_not_said_to_lack_the_column():
    read = outcome([{"prompt": None, "chosen": None, "rejected": None}])
    assert [(one.field, one.reason) for one in read.refused] == [("prompt", "the value is null")]


def test_a_column_of_a_task_does_not_hide_that_of_its_instances():
    raw = {"instruction": ASK, "output": False, "instances": [{"input": "", "output": GOOD}]}
    row = row_of(raw)
    assert [reply.text for reply in row.replies] == [GOOD]
    assert row.metadata == {"task.output": False}
