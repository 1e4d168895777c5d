"""Dialogues in one string, as HH-RLHF writes them, and what two dialogues share."""

from __future__ import annotations

import re

from annotate.importing.problems import Refused
from annotate.models.content import Messages

TURN = re.compile(r"\n\n(Human|Assistant|System):")
ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}


def is_dialogue(text: str) -> bool:
    return TURN.match(text) is not None


def turns(text: str) -> Messages:
    """`\\n\\nHuman: ...\\n\\nAssistant: ...` as messages; a marker with nothing behind is kept."""
    parts = TURN.split(text)
    return [
        {"role": ROLES[speaker], "content": content.removeprefix(" ")}
        for speaker, content in zip(parts[1::2], parts[2::2], strict=True)
    ]


def shared(chosen: Messages, rejected: Messages) -> tuple[Messages, str, str, bool]:
    """Longest common turns, the reply that each side adds, and whether either took two turns.

    By turns, not by characters: a common prefix of characters runs into the replies when they
    begin with the same words.
    """
    k = 0
    while k < min(len(chosen), len(rejected)) and chosen[k] == rejected[k]:
        k += 1
    while k and chosen[k - 1]["role"] == "assistant":
        k -= 1
    left, right = chosen[k:], rejected[k:]
    for side, tail in (("chosen", left), ("rejected", right)):
        if any(message["role"] != "assistant" for message in tail):
            raise Refused(side, "the dialogues differ before the last assistant turn")
    if not k:
        raise Refused("prompt", "chosen and rejected share no turn that could be the prompt")
    irregular = len(left) != 1 or len(right) != 1
    return chosen[:k], _joined(left), _joined(right), irregular


def _joined(messages: Messages) -> str:
    return "\n\n".join(message["content"] for message in messages)


def merged(messages: Messages) -> Messages:
    """Neighbouring turns of one role as one: chat templates refuse two in a row."""
    result: Messages = []
    for message in messages:
        if result and result[-1]["role"] == message["role"]:
            content = f"{result[-1]['content']}\n\n{message['content']}"
            result[-1] = {"role": message["role"], "content": content}
        else:
            result.append(dict(message))
    return result
