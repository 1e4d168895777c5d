"""Prompts and completions: immutable texts, identified by their hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.conf import settings
from django.db import models

from annotate.models.job import Import
from annotate.models.project import Project

Messages = list[dict[str, Any]]
"""A chat. Every message has a role and a content, which is text.

A message may also hold what a chat template reads or a person wants to see: `name`, `tool_calls`,
`tool_call_id`, `thinking` (text), `parts` (the content parts as they came, where some are no text).
"""
HELD_OUT_SHARE = 0.2
_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def messages_sha256(messages: Messages) -> str:
    """Hash of a chat, independent of key order."""
    return hashlib.sha256(_canonical(messages).encode()).hexdigest()


def prompt_sha256(messages: Messages, tools: list[Any] | None = None) -> str:
    """Hash that identifies a prompt: of its chat, and of the tools that the chat may call."""
    if not tools:
        return messages_sha256(messages)
    return messages_sha256([*messages, {"tools": tools}])


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def transcript(messages: Messages) -> str:
    """A reply of several turns as one readable text: a blank line between its turns.

    Turns that are not the assistant's begin with their role; tool calls are written as
    `name(arguments)`.
    """
    return "\n\n".join(filter(None, map(_turn, messages)))


def _turn(message: dict[str, Any]) -> str:
    role, content = message["role"], message["content"]
    lines = [content if role == "assistant" else f"{role}: {content}"] if content else []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        function = function if isinstance(function, dict) else {}
        arguments = function.get("arguments", "")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        lines.append(f"{function.get('name', 'tool')}({arguments})")
    return "\n".join(lines)


def completion_key(prompt_sha256: str, text: str) -> str:
    """Natural key of a completion in files; training computes the same."""
    return hashlib.sha256(f"{prompt_sha256}\n{text}".encode()).hexdigest()


def share_of(text: str) -> float:
    """A number in [0, 1) that is fixed by the text: a draw that can be repeated."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def is_held_out(sha256: str, share: float = HELD_OUT_SHARE) -> bool:
    """True when the prompt with this hash is held out of training.

    Depends on the prompt alone, so a project's split never changes; training computes the same.
    """
    digest = hashlib.sha256(sha256.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


class Prompt(models.Model):
    """A chat that waits for an answer: messages of role and content, the last not assistant's."""

    # Without an index of its own: that of `prompt_once` begins with it.
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="prompts", db_index=False
    )
    messages: models.JSONField[Messages] = models.JSONField()
    sha256 = models.CharField(max_length=64)
    reference = models.TextField(blank=True, help_text="A reference answer, when one is known.")
    tags: models.JSONField[list[str]] = models.JSONField(default=list)
    tools: models.JSONField[list[Any] | None] = models.JSONField(
        null=True, help_text="Tools that the chat may call, as the source describes them."
    )
    metadata: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Other columns of the source, as they were."
    )
    held_out = models.BooleanField(
        default=False, help_text="Fixed by a hash of the prompt; never enters training."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    imported_by = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, related_name="prompts", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "sha256"], name="prompt_once"),
        ]
        indexes = [
            models.Index(
                fields=["imported_by"],
                condition=models.Q(imported_by__isnull=False),
                name="prompts_of_an_import",
            ),
            models.Index(
                fields=["project", "-id"],
                condition=~models.Q(reference=""),
                name="prompts_with_a_reference",
            ),
            models.Index(
                fields=["project"], condition=models.Q(held_out=True), name="held_out_prompts"
            ),
        ]

    def __str__(self) -> str:
        return self.title[:80]

    @property
    def title(self) -> str:
        """The text by which people know the prompt: what the user said last.

        A chat may end with a tool's result or a call without a text; then the last text there is.
        """
        said = [m for m in reversed(self.messages) if str(m.get("content", "")).strip()]
        asked = (m for m in said if m.get("role") == "user")
        last = next(asked, None) or next(iter(said), None)
        return str(last["content"]) if last else "(no text)"


class Completion(models.Model):
    """One answer to a prompt, and how it came about."""

    # Without an index of its own: that of `completion_once` begins with it.
    prompt = models.ForeignKey(
        Prompt, on_delete=models.CASCADE, related_name="completions", db_index=False
    )
    text = models.TextField()
    messages: models.JSONField[Messages | None] = models.JSONField(
        null=True, help_text="The turns of a reply that is more than one text; `text` reads them."
    )
    sha256 = models.CharField(max_length=64)
    source = models.CharField(max_length=40, help_text="import, starter, round-7, ...")
    policy = models.CharField(max_length=80, blank=True, help_text="Model version or model name.")
    sampling: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    metadata: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Other columns of the source, as they were: scores, ranks."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    imported_by = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, related_name="completions", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "sha256"], name="completion_once"),
        ]
        indexes = [
            models.Index(
                fields=["imported_by"],
                condition=models.Q(imported_by__isnull=False),
                name="completions_of_an_import",
            ),
            # Narrow: whether a prompt has a completion, and who wrote the sides of many pairs.
            models.Index(fields=["prompt", "id", "policy"], name="names_of_completions"),
        ]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def cut(self) -> bool:
        """True of a reply that ended at the limit of its length, and not by itself."""
        return bool(self.sampling.get("finish_reason") == "length")


class Rating(models.Model):
    """Somebody's word on one completion by itself: good or bad, or a number on some scale."""

    completion = models.ForeignKey(Completion, on_delete=models.CASCADE, related_name="ratings")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    name = models.CharField(
        max_length=80, help_text="label (1 is good, 0 bad), helpfulness, MQM, ..."
    )
    value = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)
    imported_by = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, related_name="ratings", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["completion", "annotator", "name"], name="rating_once"),
            # NULLs are distinct in a unique constraint.
            models.UniqueConstraint(
                fields=["completion", "name"],
                condition=models.Q(annotator__isnull=True),
                name="rating_by_nobody_known_once",
            ),
        ]
