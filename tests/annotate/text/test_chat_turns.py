from __future__ import annotations

from typing import Any

import pytest

from annotate.text import chat_turns
from annotate.text.chat_turns import blind, question, tools, turns
from tests.annotate.tool_chat import PROMPT, REPLY, TOOLS


def test_every_role_has_a_word_of_its_own() -> None:
    said = turns([{"role": role, "content": "x"} for role in chat_turns.ROLES])
    titles = [turn.title for turn in said]
    assert titles == ["Instructions", "Developer’s instructions", "User", "Assistant", "Tool"]
    (unknown,) = turns([{"role": "critic", "content": "x"}])
    assert (unknown.role, unknown.title) == ("other", "Critic")


def test_a_tools_result_is_monospaced_and_names_the_tool_that_was_called() -> None:
    last = turns(PROMPT)[-1]
    assert last.monospaced and last.title == "Tool: get_weather"


def test_calls_have_a_name_and_indented_arguments() -> None:
    (call,) = turns(PROMPT)[5].calls
    assert call.name == "get_weather" and call.arguments.startswith('{\n  "place": "Bergen"')


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": {"x": 1}},
        {"function": {"name": "f", "arguments": '{"x": 1}'}},
        {"type": "tool_use", "name": "f", "input": {"x": 1}},
    ],
)
def test_calls_are_read_in_the_forms_that_are_in_use(call: dict[str, Any]) -> None:
    (turn,) = turns([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert turn.calls == [chat_turns.Call("f", '{\n  "x": 1\n}')]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            "Image not shown: https://a.example/b.png",
        ),
        ({"type": "image", "image": "cat.png"}, "Image not shown: cat.png"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}},
            "Image not shown: image/png, 40 kB",
        ),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "Audio not shown"),
        ({"type": "image", "url": "x\u202ey"}, "Image not shown: x⟦U+202E⟧y"),
    ],
)
def test_what_is_no_text_is_named(part: dict[str, Any], said: str) -> None:
    text = {"type": "text", "text": "Look."}
    (turn,) = turns([{"role": "user", "content": "Look.", "parts": [text, part]}])
    assert turn.unseen == [said]


def test_the_question_begins_with_the_last_user_however_many_turns_follow() -> None:
    earlier, last = question(turns(PROMPT))
    assert [turn.role for turn in earlier] == ["system", "developer", "user", "assistant"]
    assert [turn.role for turn in last] == ["user", "assistant", "tool"]
    earlier, last = question(turns(PROMPT[:2]))
    assert [turn.role for turn in last] == ["developer"]


def test_nothing_that_names_a_writer_or_a_score_is_left_for_annotators() -> None:
    said = repr(blind(PROMPT) + blind(REPLY))
    assert "secret-model-9" not in said and "score" not in said
    assert "thinking" in said and "harbour.png" in said and "call_1" in said
    call = {"name": "f", "arguments": "{}", "model": "m"}
    (message,) = blind([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert message["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_tools_have_name_description_and_parameters() -> None:
    (tool,) = tools(TOOLS)
    assert (tool.name, tool.description) == ("get_weather", "The *weather* of a place.")
    assert tool.parameters.startswith('{\n  "type": "object"')
    (bare,) = tools([{"name": "f", "input_schema": {"type": "object"}}])
    assert bare.parameters == '{\n  "type": "object"\n}'
    (nameless,) = tools([{"type": "function"}])
    assert nameless.name == "No name" and '"type": "function"' in nameless.parameters
    assert tools(["f"])[0].name == "f" and tools(None) == []


def test_a_very_long_chat_shows_its_beginning_and_its_end() -> None:
    shown = turns([{"role": "user", "content": str(n)} for n in range(1000)])
    assert len(shown) == chat_turns.MOST_TURNS + 1
    assert shown[0].text == "0" and shown[-1].text == "999"
    assert shown[chat_turns.MOST_TURNS // 2].title == "600 turns are not shown here"


def test_what_is_left_out_of_a_turn_is_counted() -> None:
    calls = [{"name": "f", "arguments": "{}"}] * 60
    (turn,) = turns([{"role": "assistant", "content": "", "tool_calls": calls}])
    assert len(turn.calls) == 50 and turn.left_out == "10 more calls are not shown here."


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"role": None, "content": None},
        {"role": "user", "content": ["a"], "parts": "x", "tool_calls": "y"},
        {"role": "assistant", "content": "", "tool_calls": [None, 3, {"function": 1}, {"id": 3}]},
        {"role": "tool", "content": "x", "tool_call_id": [1], "name": {"a": 1}},
        {"role": "user", "content": "x", "parts": [None, 3, {}, {"type": None, "url": 3}]},
    ],
)
def test_any_message_can_be_shown(message: dict[str, Any]) -> None:
    assert len(turns([message])) == len(blind([message])) == 1
