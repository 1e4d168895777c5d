"""Rows of one conversation or one instruction, and trees of messages.

`messages`, ShareGPT, OpenAI's and Gemini's chats, Alpaca and its kin, OpenAssistant, prompts alone,
and logs of calls of models, as Langfuse, LangSmith, Weave and the makers of models write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotate.importing.imported_row import Rating, Reply, Row
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    built,
    decoded,
    is_objects,
    name_of,
    number,
    object_of,
    objects_of,
    text,
)
from annotate.importing.shapes.ranked_and_rated_replies import MODELS, one_completion, rated
from annotate.importing.shapes.winners_and_votes import by_rank
from annotate.models.content import Messages

REFERENCES = (
    *("answer", "ground_truth", "solution", "gold_response", "reference_answer", "target"),
)
"""Columns beside a prompt that hold the right answer."""
OUTPUTS = ("output", "response", "completion")
CHATS = ("messages", "conversations", "conversation", "contents")
"""Columns that hold a whole chat."""
ASKED = ("inputs", "input", "request", "modelInput")
ANSWERED = ("outputs", "output", "response", "modelOutput", "choices")
"""Columns of a logged call."""
QUESTIONS = (
    *("messages", "contents", "input", "question", "prompt", "query", "text", "content"),
    *("user_input", "human_input"),
)
ANSWERS = (
    *("body", "choices", "candidates", "generations", "message", "output", "outputs", "answer"),
    *("response", "result", "completion", "output_text", "text", "content"),
)
"""Names within what was asked and what came back, the outer ones first."""


def whole_chat(cells: Cells) -> Row:
    """`messages` or `conversations`: the last reply of the assistant, and what it answers."""
    name = next(one for one in CHATS if one in cells)
    given = cells.get("systemInstruction")  # Gemini's
    if isinstance(given, dict) and is_objects(given.get("parts")):
        del cells["systemInstruction"]
        cells["system"] = chats.message({"role": "system", **given}, name, cells)["content"]
    turns = chats.chat(decoded(cells.required(name)), name, cells)
    if turns is None:
        raise Refused(name, "a list of messages is expected")
    messages, tail = chats.split(turns, name)
    messages = chats.framed(cells, messages)
    if not tail:
        return built(cells, messages)
    model = name_of(cells.take(*MODELS), "model")
    reply = chats.reply_of(tail, name, cells, model, ratings=rated(cells))
    return built(cells, messages, [reply])


def instruction(cells: Cells) -> Row:
    """Alpaca and its kin: an instruction, its input, and an answer.

    The answer is a completion, and where no model is named the reference of its prompt.
    """
    name = next(one for one in OUTPUTS if one in cells)
    value = cells.get(name)
    named = any(one in cells for one in (*MODELS, "label", "kto_tag"))
    if isinstance(value, str) and value.strip() and not named and "reference" not in cells:
        cells["reference"] = value
    return one_completion(cells, name, "instruction")


def seed_tasks(cells: Cells) -> Iterator[Row]:
    """stanford_alpaca's seed tasks: an instruction with instances of input and output."""
    given = decoded(cells.required("instances"))
    asked = cells.required("instruction")
    if not isinstance(given, list) or not given:
        raise Refused("instances", "a list of objects with input and output is expected")
    for one in given:
        if not isinstance(one, dict) or one.get("output") is None:
            raise Refused("instances", "every instance needs an output (instances[].output)")
        inside = cells.inside(one)
        for name, value in cells.items():
            # An instance's own column is meant; the task's of that name is kept beside it.
            inside[f"task.{name}" if name in inside else name] = value
        inside["instruction"] = asked
        yield instruction(inside)


def one_reply(cells: Cells) -> Row:
    """A prompt and a response, with ratings by aspect where it has them: HelpSteer2, OpenOrca."""
    return one_completion(cells, "response", *chats.PROMPTS)


def prompt_alone(cells: Cells) -> Row:
    """A prompt, perhaps with the right answer to it."""
    messages = chats.prompt_in(cells, "prompt", "instruction")
    reference = ""
    name = next((one for one in REFERENCES if isinstance(cells.get(one), str)), "")
    if name and "reference" not in cells:
        reference = text(cells.pop(name), name)
    judge = cells.get("reward_model")  # verl
    if isinstance(judge, dict) and isinstance(judge.get("ground_truth"), str) and not reference:
        reference = text(judge["ground_truth"], "reward_model.ground_truth")
        cells["reward_model"] = {k: x for k, x in judge.items() if k != "ground_truth"}
    return built(cells, messages, reference=reference)


def written_to(cells: Cells) -> Row:
    """doccano: a text, and what people wrote to it."""
    name = "label" if "label" in cells else "labels"
    given = decoded(cells.required(name))
    given = given if isinstance(given, list) else [given]
    messages = chats.prompt_in(cells, "text" if "text" in cells else "data")
    if any(isinstance(one, list | dict) for one in given):
        raise Refused(name, "labels of spans are no replies to the text")
    replies = [Reply(text(one, name, cells)) for one in given if one != ""]
    return built(cells, messages, replies)


def tree(cells: Cells) -> Iterator[Row]:
    """OpenAssistant's trees: every message of a person, with the replies to it by rank."""
    root = object_of(cells.required("prompt"), "prompt")
    yield from _below(cells, root, [])


def _below(cells: Cells, node: dict[str, Any], path: Messages) -> Iterator[Row]:
    """Rows of a person's message and of what follows it, without recursion: trees are deep."""
    waiting = [(node, path)]
    while waiting:
        asked, before = waiting.pop()
        inside = cells.inside(asked)
        answers = objects_of(inside.take("replies"), "replies")
        messages = [*before, _message(inside)]
        kept = [one for one in answers if not one.get("deleted")]
        row_cells = cells.inside(dict(cells))
        row_cells.warnings = list(cells.warnings)
        if len(kept) < len(answers):
            row_cells.warn("replies", "messages that were deleted are left out")
        row_cells["message"] = inside.rest()
        replies, ranks = [], []
        for one in kept:
            about = cells.inside(one)
            follow = objects_of(about.take("replies"), "replies")
            turn = _message(about)
            replies.append(_answer(about, turn["content"]))
            ranks.append(number(about.get("rank")))
            waiting += [(x, [*messages, turn]) for x in follow if not x.get("deleted")]
        yield built(row_cells, messages, replies, by_rank(ranks))


def _message(inside: Cells) -> dict[str, Any]:
    role = inside.take("role")
    content = text(inside.required("text"), "text")
    if role not in ("prompter", "assistant"):
        raise Refused("role", "prompter or assistant is expected")
    return {"role": "user" if role == "prompter" else "assistant", "content": content}


def _answer(about: Cells, content: str) -> Reply:
    """A reply with its labels, which are means of several people, as ratings."""
    said = means(about.get("labels"))
    if said:
        del about["labels"]
    model = name_of(about.take("model_name"), "model_name")
    return Reply(content, model, ratings=said, metadata=about.rest())


def means(labels: Any) -> list[Rating]:
    """Labels as ratings: {name: {value, count}}, or in tables lists of names and of values."""
    if not isinstance(labels, dict):
        return []
    if isinstance(labels.get("name"), list) and isinstance(labels.get("value"), list):
        pairs = list(zip(labels["name"], labels["value"], strict=False))
    else:
        pairs = [(k, x.get("value") if isinstance(x, dict) else None) for k, x in labels.items()]
    known = [(str(name)[:80], number(value)) for name, value in pairs]
    return [Rating(name, value) for name, value in known if value is not None]


def is_call(cells: Cells) -> bool:
    """True of what was asked beside what came back, of which one at least is no plain text."""
    asked, answered = (next((n for n in names if n in cells), "") for names in (ASKED, ANSWERED))
    if not asked or not answered:
        return False
    plain = {asked, answered} == {"inputs", "outputs"}
    return plain or any(isinstance(decoded(cells[x]), dict | list) for x in (asked, answered))


def call(cells: Cells) -> Row:
    """A logged call of a model: what it was asked, and each of the replies that came back."""
    messages = asked_in(cells, next(name for name in ASKED if name in cells))
    replies = answered_in(cells, next(name for name in ANSWERED if name in cells))
    return built(cells, chats.framed(cells, messages), replies)


def asked_in(cells: Cells, column: str) -> Messages:
    """The prompt of a call: a text, a chat, or an object that holds one. Raises Refused."""
    value, name, rest = _inside(decoded(cells.pop(column)), column, QUESTIONS)
    if isinstance(rest.get("tools"), list):
        chats.tools_from(cells, rest.pop("tools"))
    if rest:
        cells[column] = rest
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # One chat of a batch, as LangChain asks.
    if is_objects(value):
        value = [_of_langchain(one) for one in value]
    return chats.prompt(value, name, cells)


def answered_in(cells: Cells, column: str) -> list[Reply]:
    """The replies of a call. What else its objects say stays in the column, and what is said of one
    reply with it. Raises Refused."""
    value, name, rest = _inside(decoded(cells.pop(column)), column, ANSWERS)
    model = name_of(cells.take(*MODELS), "model")
    if not model and isinstance(rest.get("model"), str):
        model = name_of(rest.pop("model"), f"{column}.model")
    given = [value]
    if isinstance(value, list) and value and not _is_content(value):
        spoken = [one for one in value if isinstance(one, dict) and one.keys() & {"role", "from"}]
        other = [one for one in value if one not in spoken]
        given = [spoken] if spoken else _flat(value)
        if spoken and other:
            rest |= {"output": other}  # Reasoning and calls of OpenAI's responses.
    if rest:
        cells[column] = rest
    replies = [_came_back(cells, one, name, model) for one in given]
    said = [one for one in replies if one.text.strip()]
    if not said:
        raise Refused(name, "the call brought no text back")
    if len(said) < len(replies):
        cells.warn(name, "a reply without a text was left out")
    return said


def _came_back(cells: Cells, value: Any, name: str, model: str) -> Reply:
    said, _, about = _inside(value, "", ANSWERS)
    if isinstance(said, list) and _is_content(said):
        said = {"role": "assistant", "content": said}
    return chats.reply(said, name, cells, model, metadata=about)


def _flat(values: list[Any]) -> list[Any]:
    return [x for one in values for x in (one if isinstance(one, list) else [one])]


def _inside(value: Any, name: str, names: tuple[str, ...]) -> tuple[Any, str, dict[str, Any]]:
    """The value in an object under the first of these names, as deep as it goes, its path, and what
    stands beside it."""
    rest: dict[str, Any] = {}
    while isinstance(value := _of_langchain(value), dict) and not value.keys() & {"role", "from"}:
        inner = next((one for one in names if value.get(one) not in (None, "", [])), "")
        if not inner:
            raise Refused(name, f"no text is found in it (it holds {', '.join(value)[:200]})")
        beside = {key: x for key, x in value.items() if key != inner and x not in (None, "", [])}
        rest = {**beside, **rest}
        value, name = value[inner], f"{name}.{inner}" if name else inner
    return value, name, rest


def _is_content(value: list[Any]) -> bool:
    """True of the parts of one message."""
    return all(isinstance(x, dict) and "type" in x and "role" not in x for x in value) or all(
        isinstance(x, dict) and x.keys() <= {"text", "thought"} for x in value
    )


def _of_langchain(value: Any) -> Any:
    """A message that LangChain has written out, as others write it."""
    if isinstance(value, dict) and isinstance(value.get("kwargs"), dict):
        kind = value["id"][-1] if isinstance(value.get("id"), list) and value["id"] else ""
        value = {"type": str(kind).removesuffix("Message").lower(), **value["kwargs"]}
    if isinstance(value, dict) and "role" not in value and chats.speaks(value.get("type")):
        return {"role": value["type"], "content": value.get("content", "")}
    return value
