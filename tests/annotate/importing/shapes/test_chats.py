from __future__ import annotations

import json
from typing import Any

import pytest

from annotate.importing import Refused, python_literals
from annotate.models.content import transcript
from tests.annotate.importing.shapes.examples import ASK, BAD, GOOD, SAY, SAY_BAD, USER, turn
from tests.annotate.importing.shapes.outcome import outcome, row_of

SYSTEM = turn("Be kind.", "system")
CALL = {"type": "function", "function": {"name": "kettle", "arguments": {"degrees": 80}}}


def preferred(*replies: Any, prompt: Any = ASK, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": [*replies], "rejected": [SAY_BAD], **more}


def winner(raw: dict[str, Any]) -> Any:
    row = row_of(raw)
    [one] = row.comparisons
    return row.replies["ab".index(one.judgements[0].choice)]


def test_roles_of_chats_are_kept():
    chat = [SYSTEM, turn("Short.", "developer"), USER]
    assert row_of({"prompt": chat}).messages == chat
    raw = {"prompt": [USER, turn("", "assistant") | {"tool_calls": [CALL]}, turn("hot", "tool")]}
    assert [one["role"] for one in row_of(raw).messages] == ["user", "assistant", "tool"]


def test_tool_calls_are_the_same_whether_their_arguments_are_objects_or_text():
    as_text = {"function": {**CALL["function"], "arguments": '{"degrees": 80}'}}
    legacy = {"role": "assistant", "content": None, "function_call": as_text["function"]}
    spellings = [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "content": "", "tool_calls": [CALL | as_text]},
        {"role": "assistant", "content": None, "tool_calls": json.dumps([CALL])},
        legacy,
        {"from": "function_call", "value": json.dumps(CALL["function"])},
    ]
    hashes = {winner(preferred(one, turn("hot", "tool"), SAY)).sha256 for one in spellings}
    assert len(hashes) == 1
    reply = winner(preferred(spellings[0], turn("hot", "tool"), SAY))
    assert reply.messages[0] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert reply.text == f'kettle({{"degrees": 80}})\n\ntool: hot\n\n{GOOD}'


@pytest.mark.parametrize("name", ["thinking", "reasoning_content", "reasoning"])
def test_what_a_model_thought_is_kept_beside_what_it_said(name):
    reply = winner(preferred(SAY | {name: "Green tea is tender."}))
    assert reply.messages == [SAY | {"thinking": "Green tea is tender."}]
    assert reply.text == GOOD


def test_parts_of_a_content_become_text_and_images_are_named():
    parts = [
        {"type": "image_url", "image_url": {"url": "https://example.com/tea/leaf.png?x=1"}},
        {"type": "text", "text": "What is "},
        {"type": "text", "text": "this?"},
        {"type": "image", "image": "data:image/png;base64,AAAA"},
    ]
    row = row_of({"prompt": [{"role": "user", "content": parts}], "completion": "A leaf."})
    [message] = row.messages
    assert message["content"] == "[image: leaf.png?x=1]\nWhat is this?\n[image: inline]"
    assert message["parts"] == parts
    assert any("named, not shown" in reason for _, reason in row.warnings)
    alone = row_of({"prompt": [{"role": "user", "content": parts[1:3]}]})
    assert alone.messages == [turn("What is this?", "user")]


def test_what_anthropic_has_among_the_parts_goes_where_openai_has_it():
    use = [
        {"type": "thinking", "thinking": "Green and/or black?", "signature": "s"},
        {"type": "text", "text": "I look it up."},
        {"type": "tool_use", "id": "c1", "name": "kettle", "input": {"tea": "green"}},
        {"type": "tool_use", "id": "c2", "name": "kettle", "input": {"tea": "black"}},
    ]
    answers = [
        {"type": "tool_result", "tool_use_id": "c1", "content": "80"},
        {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "95"}]},
    ]
    said = [{"type": "text", "text": "80 and 95.", "citations": ["p. 1"]}]
    chat = [
        {"role": "user", "content": "How hot?"},
        {"role": "assistant", "content": use},
        {"role": "user", "content": answers},
        {"role": "assistant", "content": said},
    ]
    read = outcome([{"messages": chat}])
    [row] = read.rows
    [reply] = row.replies
    assert reply.messages is not None
    first, *tools, last = reply.messages
    assert (first["content"], first["thinking"]) == ("I look it up.", "Green and/or black?")
    assert [one["function"]["arguments"]["tea"] for one in first["tool_calls"]] == [
        "green",
        "black",
    ]
    assert tools == [
        {"role": "tool", "content": "80", "tool_call_id": "c1"},
        {"role": "tool", "content": "95", "tool_call_id": "c2"},
    ]
    assert last == {"role": "assistant", "content": "80 and 95."}
    named = {name for name, column in read.reading.columns.items() if column.use == "not read"}
    assert named == {"messages[].content[].signature", "messages[].content[].citations"}


@pytest.mark.parametrize("kind", [[], {}, 1, None])
def test_a_part_of_no_kind_is_said(kind):
    part = {"type": kind, "text": "A leaf."}
    row = row_of({"prompt": ASK, "completion": [{"role": "assistant", "content": [part]}]})
    assert row.replies[0].text == "A leaf."


def test_a_refusal_is_said_and_bytes_are_no_name():
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg/x", "format": "wav"}}
    row = row_of(
        {
            "prompt": [{"role": "user", "content": [audio, {"type": "text", "text": "Which?"}]}],
            "completion": [
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No / never."}]}
            ],
        }
    )
    assert row.messages[0]["content"] == "[audio: inline]\nWhich?"
    assert row.replies[0].text == "No / never."


def test_a_reply_of_several_turns_keeps_them():
    told = [SAY, turn("And black tea?", "user"), turn("95 degrees.")]
    reply = winner(preferred(*told))
    assert reply.messages == told
    assert reply.text == f"{GOOD}\n\nuser: And black tea?\n\n95 degrees."


def test_a_system_turn_that_only_the_replies_have_belongs_to_the_prompt():
    chats = {"chosen": [SYSTEM, USER, SAY], "rejected": [SYSTEM, USER, SAY_BAD]}
    assert row_of({"prompt": ASK, **chats}).messages == [SYSTEM, USER]
    assert row_of({"prompt": [USER], **chats}).messages == [SYSTEM, USER]
    with pytest.raises(Refused, match="do not begin with the prompt"):
        row_of({"prompt": "Something else", **chats})


def test_a_column_for_the_system_text_and_earlier_turns_come_before_the_prompt():
    row = row_of(
        {"instruction": ASK, "input": "Two.", "output": GOOD, "system": "Be kind."}
        | {"history": [["Hi", "Hello"]]}
    )
    roles = [(one["role"], one["content"]) for one in row.messages]
    assert roles == [
        *(("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello")),
        ("user", f"{ASK}\n\nTwo."),
    ]


def test_tools_are_part_of_the_prompt():
    tools = [{"name": "kettle"}]
    with_tools = row_of({"prompt": ASK, "tools": tools})
    assert with_tools.tools == tools == row_of({"prompt": ASK, "tools": json.dumps(tools)}).tools
    assert with_tools.prompt_sha256 != row_of({"prompt": ASK}).prompt_sha256
    with pytest.raises(Refused, match="tools: a list of tools"):
        row_of({"prompt": ASK, "tools": "kettle"})


def test_what_is_inside_messages_and_not_kept_is_named_with_its_count():
    rows = [{"messages": [USER | {"weight": 0}, SAY | {"weight": 1, "refusal": None}]}] * 3
    told = outcome(rows).reading.columns
    assert told["messages[].weight"] == ("not read", 3)
    assert "messages[].refusal" not in told


def test_a_chat_in_a_cell_of_a_table_is_read():
    row = row_of({"prompt": json.dumps([SYSTEM, USER]), "completion": json.dumps([SAY])})
    assert row.messages == [SYSTEM, USER] and row.replies[0].text == GOOD


def test_plain_texts_with_a_common_beginning_are_split_at_a_word():
    row = row_of({"chosen": "The sky is blue.", "rejected": "The sky is black."})
    assert row.messages == [turn("The sky is", "user")]
    assert sorted(one.text for one in row.replies) == ["black.", "blue."]


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        (preferred({"role": "user", "content": "x"}, SAY), "prompt", "do not begin"),
        (preferred(SAY, {"role": "user", "content": "x"}), "chosen", "must end with"),
        (preferred({"role": "assistant"}), "chosen", "role and a content"),
        (preferred({"role": "assistant", "tool_calls": ["x"]}), "chosen", "tool call"),
        ({"prompt": [{"role": "user", "content": [1]}]}, "prompt", "list of parts"),
        ({"messages": [SAY]}, "messages", "a turn before the assistant's"),
        ({"messages": []}, "messages", "a chat of 1 to"),
        ({"chosen": [SAY], "rejected": [SAY_BAD]}, "prompt", "share no turn"),
        (
            {"chosen": [SYSTEM, USER, SAY], "rejected": [SYSTEM, turn("x", "user"), SAY_BAD]},
            *("chosen", "differ before"),
        ),
    ],
)
def test_a_chat_that_is_none_is_refused_with_a_reason(raw, field, reason):
    with pytest.raises(Refused) as caught:
        row_of(raw)
    assert caught.value.field == field and reason in caught.value.reason


def test_a_transcript_reads_as_a_conversation():
    call = turn("Let me see.") | {"tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}
    odd = turn("") | {"tool_calls": ["?"]}
    told = transcript([call, odd, turn(BAD, "tool"), turn(""), SAY])
    assert told == f"Let me see.\nf(x)\n\ntool()\n\ntool: {BAD}\n\n{GOOD}"


PRINTED = [
    """[{'role': 'user', 'content': "What's new?"}]""",
    """[{'content': "What's new?", 'role': 'user', 'tool_calls': None}]""",
    '[{"role": "user", "content": "What\'s new?"}]',
]


@pytest.mark.parametrize("cell", PRINTED)
def test_a_chat_in_a_cell_is_one_as_json_and_as_python_prints_it(cell):
    row = row_of({"prompt": cell, "chosen": "[{'role': 'assistant', 'content': 'A\\nB'}]"} | OTHER)
    assert row.messages == [{"role": "user", "content": "What's new?"}]
    assert {reply.text for reply in row.replies} == {"A\nB", BAD}


OTHER = {"rejected": f"[{{'role': 'assistant', 'content': {BAD!r}}}]"}


def test_numpy_prints_the_turns_of_a_chat_without_commas():
    turns = [SYSTEM, USER]
    cell = f"[{turns[0]!r}\n {turns[1]!r}]"
    assert row_of({"prompt": cell}).messages == turns
    row = row_of({"prompt": ASK, "completions": "['One of them.' 'Another one.']"})
    assert [reply.text for reply in row.replies] == ["One of them.", "Another one."]


def test_who_was_asked_for_json_has_written_a_text():
    row = row_of({"prompt": "JSON?", "chosen": '[{"name": "x"}]', "rejected": "[{'name': 'y'}]"})
    assert {reply.text for reply in row.replies} == {'[{"name": "x"}]', "[{'name': 'y'}]"}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("[{'role': 'user', 'content': 'cut off}]", "cut off or neither JSON"),
        ("[{'role': 'user', 'content': Text()}]", "cut off or neither JSON"),
        ("[{'role': 'user', 'content': 'a\\x00b'}]", "holds a NUL"),
        ('[{"role": "user", "content": "a\\u0000b"}]', "holds a NUL"),
        ('[{"role": "user", "content": "a\\ud800b"}]', "half a surrogate pair"),
    ],
)
def test_a_chat_in_a_cell_that_cannot_be_kept_is_refused(cell, reason):
    with pytest.raises(Refused, match=reason):
        row_of({"prompt": cell, "chosen": GOOD, "rejected": BAD})


def test_what_numpy_prints_within_python_is_read():
    printed = """{'a': array([1, None,
       True], dtype=object), 'b': nan, "c": ['None', 'x\\ty']}"""
    told = {"a": [1, None, True], "b": None, "c": ["None", "x\ty"]}
    assert python_literals.parsed(printed) == told
    with pytest.raises(ValueError, match="never closed"):
        python_literals.parsed("['a', 'b")


def test_what_a_log_says_of_a_call_and_of_each_reply_is_kept():
    choices = [
        {"index": 0, "message": SAY, "finish_reason": "stop"},
        {"index": 1, "message": SAY_BAD, "finish_reason": "length"},
        {"index": 2, "message": {"role": "assistant", "content": ""}},
    ]
    answer = {"choices": choices, "model": "gpt", "usage": {"total_tokens": 9}}
    tools = [{"type": "function", "function": {"name": "kettle"}}]
    asked = {"messages": [USER], "tools": tools, "temperature": 0.5}
    row = row_of({"request": asked, "response": answer, "scores": [{"name": "kind", "value": 1}]})
    assert row.messages == [USER] and row.tools == tools
    assert [(one.text, one.model) for one in row.replies] == [(GOOD, "gpt"), (BAD, "gpt")]
    assert [one.metadata["finish_reason"] for one in row.replies] == ["stop", "length"]
    assert row.metadata == {
        "request": {"temperature": 0.5},
        "response": {"usage": {"total_tokens": 9}},
        "scores": [{"name": "kind", "value": 1}],
    }
    assert ("response.choices", "a reply without a text was left out") in row.warnings


def test_replies_of_several_turns_in_a_log_are_one_reply():
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [CALL],
    }
    turns = [called, {"role": "tool", "content": "80"}, SAY]
    row = row_of({"input": [USER], "output": [{"type": "reasoning", "summary": ["Hm."]}, *turns]})
    [reply] = row.replies
    assert reply.messages and [one["role"] for one in reply.messages] == [
        *("assistant", "tool", "assistant")
    ]
    assert row.metadata["output"] == {"output": [{"type": "reasoning", "summary": ["Hm."]}]}
