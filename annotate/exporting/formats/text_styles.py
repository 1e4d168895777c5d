"""Prompts and replies as a trainer reads them: as chats, or as text in one of two styles.

A trainer joins prompt and reply with nothing between them, so the text of both together is what
annotators saw. A file has one style.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q

from annotate.models import Assignment, DatasetVersion, Pair, VoteRevision
from annotate.models.content import Messages, transcript

SPEAKERS = {
    "user": "Human",
    "assistant": "Assistant",
    "system": "System",
    "developer": "System",
    "tool": "Tool",
}


class Style(NamedTuple):
    """Two functions that write a prompt, and a reply: its text, its turns if it has several."""

    name: str
    prompt: Callable[[Messages], Any]
    reply: Callable[[str, Messages | None], Any]


def _chat_reply(text: str, messages: Messages | None) -> Messages:
    return messages or [{"role": "assistant", "content": text}]


def _question(messages: Messages) -> str:
    # At the end of the prompt: tokenizers join line breaks with what stands before them.
    return f"{messages[0]['content']}\n\n"


def _dialogue(messages: Messages) -> str:
    # The blank is the reply's: tokenizers join it with what stands behind it.
    turns = [f"\n\n{SPEAKERS[message['role']]}: {_said(message)}" for message in messages]
    return "".join(turns) + "\n\nAssistant:"


def _said(message: dict[str, Any]) -> str:
    """Content and tool calls of one turn; its speaker stands before them already."""
    return transcript([{**message, "role": "assistant"}])


CHAT = Style("chat", lambda messages: messages, _chat_reply)
"""Lists of messages; the chat template is the trainer's business."""
QUESTION = Style("question", _question, lambda text, messages: text)
"""A question, a blank line, the reply."""
DIALOGUE = Style("dialogue", _dialogue, lambda text, messages: f" {text}")
"""Turns as HH-RLHF writes them."""


def text_style(version: DatasetVersion) -> Style:
    """The style of all texts of a version: dialogues as soon as one prompt is more than a
    question, or one reply has several turns."""
    question = Q(prompt__messages__0__role="user", prompt__messages__1__isnull=True)
    plain = question & Q(prompt__tools=None)
    replies = Q(completion_a__messages=None, completion_b__messages=None)
    dialogues = voted_pairs(version).exclude(plain & replies)
    return DIALOGUE if dialogues.exists() else QUESTION


def voted_pairs(version: DatasetVersion) -> Any:
    """The pairs on which the version holds a vote, as a query."""
    held = {"frozen_from__lte": version.number}
    standing = Assignment.objects.voted().filter(pair=OuterRef("pk"), **held)
    revised = VoteRevision.objects.filter(
        assignment__pair=OuterRef("pk"), frozen_until__gte=version.number, **held
    )
    return Pair.objects.filter(Exists(standing) | Exists(revised), project=version.project)
