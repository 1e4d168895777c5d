"""Rows of the accepted shapes, read into one form: a prompt, completions, perhaps votes.

SHAPES, at the end, lists them: TRL preferences (`chosen`, `rejected`, with or without `prompt`,
as text or as chat messages), pairs, completions of a prompt, prompts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from annotate.importing import dialogue, rows
from annotate.importing.problems import Refused
from annotate.models.content import Messages, text_sha256

MAX_TEXT = 100_000
MAX_TURNS = 500
MAX_VOTES = 100
MAX_COMPLETIONS = 64
ROLES = ("system", "user", "assistant")
CHOICES = ("a", "b", "tie", "both_bad")
ONE_ANNOTATOR = "imported"
"""The annotator of preference rows, which do not say who judged."""


@dataclass(frozen=True)
class Candidate:
    """A completion and the model that wrote it, when the row names one."""

    text: str
    model: str = ""

    @property
    def sha256(self) -> str:
        return text_sha256(self.text)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One accepted row. Two completions with `is_pair` are a comparison; votes are about them."""

    messages: Messages
    completions: list[Candidate] = field(default_factory=list)
    is_pair: bool = False
    votes: dict[str, str] = field(default_factory=dict)
    reference: str = ""
    tags: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)

    def as_row(self) -> rows.Row:
        """The row in the form that storage takes."""
        judgements = [
            rows.Judgement(choice=choice, rater=name)  # type: ignore[arg-type]  # Of CHOICES.
            for name, choice in self.votes.items()
        ]
        return rows.Row(
            messages=self.messages,
            replies=[rows.Reply(one.text, one.model) for one in self.completions],
            comparisons=[rows.Comparison(0, 1, judgements)] if self.is_pair else (),
            reference=self.reference,
            tags=self.tags,
            warnings=self.warnings,
        )


def read(raw: dict[str, Any]) -> Row:
    """One JSON object -> one row, by the first of SHAPES; Refused names the field that is wrong."""
    shape = next((shape for shape in SHAPES.values() if shape.recognises(raw)), None)
    if shape is None:
        columns = ", ".join(sorted(raw)[:8]) or "none"
        raise Refused("prompt", f"the column is missing (columns found: {columns[:200]})")
    row = shape.read(raw)
    row = replace(row, reference=_reference(raw), tags=_tags(raw))
    return _with_merged_turns(row)


def _with_merged_turns(row: Row) -> Row:
    messages = dialogue.merged(row.messages)
    if len(messages) == len(row.messages):
        return row
    row.warnings.append(("prompt", "two turns of one role in a row were joined"))
    return replace(row, messages=messages)


def _preference(raw: dict[str, Any]) -> Row:
    sides = {name: _required(raw, name) for name in ("chosen", "rejected")}
    chats = {name: _chat(value, name) for name, value in sides.items()}
    if "prompt" in raw:
        prompt = _prompt(raw)
        texts = [_reply_to(prompt, sides[name], chats[name], name=name) for name in sides]
        irregular = False
    else:
        chosen, rejected = (chat for chat in chats.values())
        if chosen is None or rejected is None:
            raise Refused(
                "prompt",
                "missing; without it chosen and rejected must be whole dialogues "
                "(chat messages, or text that starts with \\n\\nHuman:)",
            )
        prompt, *texts, irregular = dialogue.shared(chosen, rejected)
        _check_messages(prompt, "prompt")
    row = _compared(prompt, *(Candidate(text) for text in texts), names=list(sides), judged=True)
    if irregular:
        row.warnings.append(("chosen", "a reply takes several assistant turns; they were joined"))
    # The better side must not always be A: agreement statistics and position checks would see
    # a pattern that nobody produced. The order of the hashes is arbitrary but fixed.
    flipped = row.completions[0].sha256 > row.completions[1].sha256
    ordered = row.completions[::-1] if flipped else row.completions
    return replace(row, completions=ordered, votes={ONE_ANNOTATOR: "b" if flipped else "a"})


def _reply_to(prompt: Messages, value: Any, chat: Messages | None, *, name: str) -> str:
    """The reply that one side adds to an explicit prompt."""
    if chat is None:
        return str(_text(value, name))
    tail = chat[len(prompt) :] if chat[: len(prompt)] == prompt else chat
    if len(tail) != 1 or tail[0]["role"] != "assistant":
        raise Refused(name, "after the prompt exactly one assistant message is expected")
    return str(tail[0]["content"])


def _pair(raw: dict[str, Any]) -> Row:
    prefix = "response" if "response_a" in raw or "response_b" in raw else "completion"
    names = [f"{prefix}_a", f"{prefix}_b"]
    prompt = _prompt(raw)
    warnings: list[tuple[str, str]] = []
    sides = []
    for name, model in zip(names, ("model_a", "model_b"), strict=True):
        text = _text(_required(raw, name), name, warnings)
        sides.append(Candidate(text, _name(raw, model)))
    votes = _votes(raw)
    row = _compared(prompt, *sides, names=names, judged=bool(votes))
    return replace(row, votes=votes, warnings=warnings + row.warnings)


def _compared(
    prompt: Messages, first: Candidate, second: Candidate, *, names: list[str], judged: bool
) -> Row:
    """A comparison of two different texts.

    An empty text is only worth a warning where people have already judged it (a model that says
    nothing can rightly win or lose); nobody is asked to compare with nothing.
    """
    if first.text == second.text:
        raise Refused(names[1], f"identical to {names[0]}: there is nothing to compare")
    warnings = []
    for name, side in zip(names, (first, second), strict=True):
        if side.text.strip():
            continue
        if not judged:
            raise Refused(name, "the completion is empty")
        warnings.append((name, "the completion is empty"))
    return Row(messages=prompt, completions=[first, second], is_pair=True, warnings=warnings)


def _completions(raw: dict[str, Any]) -> Row:
    prompt = _prompt(raw)
    if "completion" in raw:
        given, name = [raw["completion"]], "completion"
    else:
        given, name = raw["completions"], "completions"
        if not isinstance(given, list) or not 0 < len(given) <= MAX_COMPLETIONS:
            raise Refused(name, f"a list of 1 to {MAX_COMPLETIONS} completions is expected")
    warnings: list[tuple[str, str]] = []
    candidates = [_candidate(value, raw, name, warnings) for value in given]
    for candidate in candidates:
        if not candidate.text.strip():
            raise Refused(name, "the completion is empty")
    if len({candidate.text for candidate in candidates}) < len(candidates):
        warnings.append((name, "identical completions were joined"))
    return Row(messages=prompt, completions=list(dict.fromkeys(candidates)), warnings=warnings)


def _prompt_alone(raw: dict[str, Any]) -> Row:
    return Row(messages=_prompt(raw))


def _candidate(
    value: Any, raw: dict[str, Any], name: str, warnings: list[tuple[str, str]]
) -> Candidate:
    if isinstance(value, dict):
        return Candidate(_text(_required(value, "text"), name, warnings), _name(value, "model"))
    if isinstance(value, list):
        chat = _chat(value, name) or []
        if len(chat) != 1 or chat[0]["role"] != "assistant":
            raise Refused(name, "exactly one assistant message is expected")
        return Candidate(chat[0]["content"], _name(raw, "model"))
    return Candidate(_text(value, name, warnings), _name(raw, "model"))


def _required(raw: dict[str, Any], name: str) -> Any:
    if raw.get(name) is None:
        raise Refused(name, "the column is missing" if name not in raw else "the value is null")
    return raw[name]


def _prompt(raw: dict[str, Any]) -> Messages:
    value = _required(raw, "prompt")
    messages = _chat(value, "prompt")
    if messages is None:
        messages = [{"role": "user", "content": _text(value, "prompt")}]
    elif messages and messages[-1] == {"role": "assistant", "content": ""}:
        messages = messages[:-1]  # "...\n\nAssistant:" asks for the reply, it is no turn
    _check_messages(messages, "prompt")
    return messages


def _check_messages(messages: Messages, name: str) -> None:
    if not messages or not any(message["content"].strip() for message in messages):
        raise Refused(name, "the prompt is empty")
    if messages[-1]["role"] == "assistant":
        raise Refused(name, "the last message of a prompt must not be the assistant's")


def _chat(value: Any, name: str) -> Messages | None:
    """Chat messages, from a list or from a dialogue in one string; None for other text."""
    if isinstance(value, str):
        return dialogue.turns(_text(value, name)) if dialogue.is_dialogue(value) else None
    if not isinstance(value, list):
        return None
    if not 0 < len(value) <= MAX_TURNS:
        raise Refused(name, f"a chat of 1 to {MAX_TURNS} messages is expected")
    return [_message(message, name) for message in value]


def _message(message: Any, name: str) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise Refused(name, "every message needs a role and a content that is text")
    if message.get("role") not in ROLES:
        raise Refused(name, f"a message's role must be one of {', '.join(ROLES)}")
    return {"role": message["role"], "content": _text(message["content"], name)}


def _text(value: Any, name: str, warnings: list[tuple[str, str]] | None = None) -> str:
    if isinstance(value, bool | int | float) and warnings is not None:
        # A model that answered "True" or "42" went through somebody's JSON writer.
        warnings.append((name, f"the value is not text; it was read as the text {value!s}"))
        value = str(value)
    if not isinstance(value, str):
        raise Refused(name, f"text is expected, not {type(value).__name__}")
    if len(value.encode()) > MAX_TEXT:
        raise Refused(name, f"the text is longer than {MAX_TEXT:,} bytes")
    return value


def _name(raw: dict[str, Any], column: str) -> str:
    value = raw.get(column)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 80:
        raise Refused(column, "a name of at most 80 characters is expected")
    return value


def _reference(raw: dict[str, Any]) -> str:
    value = raw.get("reference")
    return "" if value is None else _text(value, "reference")


def _tags(raw: dict[str, Any]) -> list[str]:
    tags = raw.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(t, str) and len(t) <= 80 for t in tags):
        raise Refused("tags", "a list of short texts is expected")
    if len(tags) > 32:
        raise Refused("tags", "at most 32 tags")
    return tags


def _votes(raw: dict[str, Any]) -> dict[str, str]:
    votes = raw.get("votes") or {}
    if not isinstance(votes, dict) or len(votes) > MAX_VOTES:
        raise Refused("votes", f"an object of at most {MAX_VOTES} votes by annotator is expected")
    return {_annotator(name): _choice(name, value) for name, value in votes.items()}


def _annotator(name: str) -> str:
    if not name.strip() or len(name) > 100:
        raise Refused("votes", "an annotator's name must have 1 to 100 characters")
    return name


def _choice(name: str, value: Any) -> str:
    choice = value.lower() if isinstance(value, str) else value
    if choice not in CHOICES:
        raise Refused("votes", f"{name[:40]}: a vote must be one of {', '.join(CHOICES)}")
    return str(choice)


class Shape(NamedTuple):
    """One kind of row: how it is told from others, and how it is read (raising Refused)."""

    recognises: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any]], Row]


def _has(*columns: str) -> Callable[[dict[str, Any]], bool]:
    return lambda raw: any(name in raw for name in columns)


# The first that recognises a row reads it. A shape is one function, and one line here.
SHAPES: dict[str, Shape] = {
    "preference": Shape(_has("chosen", "rejected"), _preference),
    "pair": Shape(_has("completion_a", "completion_b", "response_a", "response_b"), _pair),
    "completions": Shape(_has("completion", "completions"), _completions),
    "prompt": Shape(_has("prompt"), _prompt_alone),
}
