from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rlhf import rows
from training.rlhf.data import soft_labels
from training.rlhf.rows import Preference, Prompt, RowError, Vote

CHAT = [{"role": "user", "content": "Where is my kettle?"}]


def preference(**changes: Any) -> dict[str, Any]:
    row = {
        "pair_id": "p1",
        "prompt_id": "q1",
        "messages": CHAT,
        "completion_a": "It comes today.",
        "completion_b": "No idea.",
        "stream": "active",
        "held_out": False,
        "kind": "normal",
        "votes": [{"annotator": "ann", "choice": "a", "strength": 3, "weight": 0.5}],
    }
    return row | changes


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return path


def vote(choice: Any, strength: int = 2, weight: float = 1.0) -> Vote:
    return Vote(annotator="ann", choice=choice, strength=strength, weight=weight)


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in.jsonl", preference(), preference(pair_id="p2", votes=[]))
    read = list(rows.read(Preference, file))
    rows.write(tmp_path / "out.jsonl", read)
    assert list(rows.read(Preference, tmp_path / "out.jsonl")) == read
    assert read[0].votes == (vote("a", 3, 0.5),)


def test_writing_returns_the_hash_of_the_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    digest = rows.write(tmp_path / "x.jsonl", [{"text": "naïve ☕"}])
    assert digest == hashlib.sha256((tmp_path / "x.jsonl").read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows.write(file, [{"n": 1}])
    with pytest.raises(TypeError):
        rows.write(file, [{"n": 2}, {"n": object()}])
    assert json.loads(file.read_text()) == {"n": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 2: not JSON"),
        ("[1]", "line 2: expected an object, not list"),
        (preference(completion_a=True), "line 2: completion_a must be text, not bool"),
        ({"pair_id": "p"}, "line 2: prompt_id is missing"),
        (preference(messages=[]), "line 2: messages must not be empty"),
        (preference(messages=[{"role": "user"}]), r"messages\[0\]\.content must be text"),
        (preference(votes=[{"choice": "left"}]), r"votes\[0\]\.choice must be one of a, b, tie"),
        (
            preference(votes=[{"choice": "a", "strength": 4}]),
            r"votes\[0\]\.strength must be 0, 1",
        ),
        (preference(votes=[{"choice": "a", "weight": -1}]), "weight must not be negative"),
        (preference(votes=[{"choice": "a", "weight": float("nan")}]), "weight must be a number"),
        (preference(stream="other"), "stream must be one of , random, active, evaluation"),
        (preference(held_out="no"), "held_out must be true or false"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_field(
    tmp_path: Path, line: object, message: str
) -> None:
    file = write_lines(tmp_path / "in.jsonl", preference(), line)
    with pytest.raises(RowError, match=message):
        list(rows.read(Preference, file))


def test_a_missing_file_and_a_wrong_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"cannot read .*gone\.jsonl"):
        list(rows.read(Prompt, tmp_path / "gone.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt_id": "caf\xe9"}\n')
    with pytest.raises(RowError, match="line 1: not UTF-8"):
        list(rows.read(Prompt, tmp_path / "latin.jsonl"))


def test_columns_of_other_tools_are_passed_over(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in.jsonl", preference(source="elsewhere"))
    assert len(list(rows.read(Preference, file))) == 1


@pytest.mark.parametrize(
    ("votes", "value", "weight"),
    [
        ([vote("a")], 1.0, 1.0),
        ([vote("a"), vote("b")], 0.5, 2.0),
        ([vote("a", 3), vote("b", 1)], 0.75, 2.0),  # masses 1.5 and 0.5
        ([vote("a"), vote("tie", 3)], 0.75, 2.0),  # strength says nothing about a tie
        ([vote("b"), vote("both_bad")], 0.25, 2.0),
        ([vote("a", 0), vote("b", 1)], 1 / 3, 0.75),  # negligibly is half of slightly
        ([vote("a", weight=0.25), vote("b", weight=0.75)], 0.25, 1.0),
    ],
)
def test_the_soft_label_is_the_share_of_the_votes_mass(
    votes: list[Vote], value: float, weight: float
) -> None:
    label = soft_labels.soft_label(votes)
    assert label is not None
    assert (label.value, label.weight) == pytest.approx((value, weight))


def test_votes_without_mass_give_no_label() -> None:
    assert soft_labels.soft_label([]) is None
    assert soft_labels.soft_label([vote("a", weight=0.0)]) is None


@given(st.lists(st.sampled_from(["a", "b", "tie", "both_bad"]), min_size=1))
def test_swapping_the_completions_mirrors_label_and_majority(choices: list[str]) -> None:
    other = {"a": "b", "b": "a"}
    label = soft_labels.soft_label(vote(c) for c in choices)
    mirror = soft_labels.soft_label(vote(other.get(c, c)) for c in choices)
    assert label and mirror
    assert label.value == pytest.approx(1 - mirror.value)
    majority = soft_labels.majority(vote(c) for c in choices)
    assert soft_labels.majority(vote(other.get(c, c)) for c in choices) == (
        majority and other[majority]
    )


def test_strength_never_decides_the_majority() -> None:
    assert soft_labels.majority([vote("a", 1), vote("a", 1), vote("b", 3)]) == "a"
    assert soft_labels.majority([vote("a", 3), vote("b", 1)]) is None


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_prompt_held_out_at_a_small_share_stays_held_out_at_a_larger_one(
    prompt: str, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert rows.is_held_out(prompt, low) <= rows.is_held_out(prompt, high)
    assert not rows.is_held_out(prompt, 0.0)
    assert rows.is_held_out(prompt, 1.0)


def test_about_the_wanted_share_of_prompts_is_held_out() -> None:
    share = sum(rows.is_held_out(str(i), 0.15) for i in range(4000)) / 4000
    assert 0.13 < share < 0.17


def test_keys_depend_on_the_texts_and_not_on_the_order_of_a_pair() -> None:
    assert rows.completion_key("p", "x") != rows.completion_key("q", "x")
    assert rows.candidate_key("1", "2") == rows.candidate_key("2", "1")
    assert rows.candidate_key("1", "2") != rows.candidate_key("1", "3")


def pair(**columns: Any) -> Preference:
    return Preference(
        pair_id="p", prompt_id="q", messages=[], completion_a="x", completion_b="y", **columns
    )


def test_a_reviewers_answer_overrules_the_votes_with_their_mass() -> None:
    votes = (vote("a"), vote("a"), vote("b"))
    decided = soft_labels.label(pair(votes=votes, decided="b", soft=(0.9, 0.0, 0.1)), soft=True)
    assert decided == soft_labels.SoftLabel(value=0.0, weight=3.0, strength=-2 / 3)
    assert soft_labels.verdict(pair(votes=votes, decided="b")) == "b"
    assert soft_labels.verdict(pair(votes=votes, decided="both_bad")) is None
    assert soft_labels.verdict(pair(votes=votes)) == "a"
    distrusted = pair(votes=(vote("a", weight=0.0),), decided="tie")
    assert soft_labels.label(distrusted) == soft_labels.SoftLabel(value=0.5, weight=1.0, tie=1.0)


def test_aggregated_probabilities_count_only_when_asked_for_and_known() -> None:
    votes = (vote("a"), vote("b", weight=0.5))
    pooled = soft_labels.soft_label(votes)
    known = pair(votes=votes, soft=(0.6, 0.2, 0.2))
    assert soft_labels.label(known) == pooled
    assert pooled is not None
    soft = soft_labels.SoftLabel(value=0.7, weight=pooled.weight, tie=0.2, strength=pooled.strength)
    assert soft_labels.label(known, soft=True) == soft
    assert soft_labels.label(pair(votes=votes), soft=True) == pooled
    assert soft_labels.label(pair(soft=(0.6, 0.2, 0.2)), soft=True) is None


@pytest.mark.parametrize(
    "soft", [[0.5, 0.5], [0.5, 0.5, 0.5], [2, -1, 0], "abc"], ids=["two", "sum", "negative", "text"]
)
def test_probabilities_that_are_none_are_refused(tmp_path: Path, soft: Any) -> None:
    file = write_lines(tmp_path / "in.jsonl", preference(soft=soft))
    with pytest.raises(RowError, match="soft"):
        list(rows.read(Preference, file))


def test_calls_of_tools_are_read_as_text_and_other_keys_are_left_out() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "track", "arguments": '{"id":7}'}}
    chat = rows.messages(
        [
            {"role": "developer", "content": "Be brief.", "name": "ops"},
            {"role": "assistant", "content": None, "thinking": "Hm.", "tool_calls": [call]},
            {"role": "assistant", "content": "Wait.", "tool_calls": [call["function"]]},
            {"role": "tool", "content": "late", "tool_call_id": "1"},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "é", "arguments": {}}]},
        ]
    )
    assert [(turn["role"], turn["content"]) for turn in chat] == [
        ("developer", "Be brief."),
        ("assistant", 'track({"id":7})'),
        ("assistant", 'Wait.\ntrack({"id":7})'),
        ("tool", "late"),
        ("assistant", "é({})"),
    ]
    assert all(set(turn) == {"role", "content"} for turn in chat)


@pytest.mark.parametrize("calls", ["track", [3], {"name": "track"}])
def test_calls_that_are_none_are_named(calls: Any) -> None:
    with pytest.raises(TypeError, match=r"messages\[0\].tool_calls"):
        rows.messages([{"role": "assistant", "content": "", "tool_calls": calls}])
