"""Dialogues in one string, as HH-RLHF writes them, and what two dialogues share."""

from __future__ import annotations

import re

from annotate.models.content import Messages

TURN = re.compile(r"\n\n(Human|Assistant|System):")
ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}
PLAIN = {"role", "content"}


def is_dialogue(text: str) -> bool:
    return text.startswith("\n\n") and TURN.match(text) is not None


def turns(text: str) -> Messages:
    """`\\n\\nHuman: ...\\n\\nAssistant: ...` as messages; a marker with nothing behind is kept."""
    parts = TURN.split(text)
    return [
        {"role": ROLES[speaker], "content": content.removeprefix(" ")}
        for speaker, content in zip(parts[1::2], parts[2::2], strict=True)
    ]


def shared(chosen: Messages, rejected: Messages) -> int:
    """Length of the prompt: the longest common turns that do not end in the assistant's.

    By turns, not by characters: a common prefix of characters runs into the replies when they
    begin with the same words.
    """
    k = 0
    while k < min(len(chosen), len(rejected)) and chosen[k] == rejected[k]:
        k += 1
    while k and chosen[k - 1]["role"] == "assistant":
        k -= 1
    return k


def merged(messages: Messages) -> Messages:
    """Neighbouring turns of one role as one: chat templates refuse two in a row.

    Turns that are more than a text, and those of tools, stay as they are.
    """
    result: Messages = []
    for message in messages:
        role = message["role"]
        plain = role != "tool" and message.keys() == PLAIN
        if plain and result and result[-1]["role"] == role and result[-1].keys() == PLAIN:
            content = f"{result[-1]['content']}\n\n{message['content']}"
            result[-1] = {"role": role, "content": content}
        else:
            result.append(dict(message))
    return result
