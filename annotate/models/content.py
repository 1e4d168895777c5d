"""Prompts and completions: immutable texts, identified by their hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import models

from annotate.models.project import Project

Messages = list[dict[str, str]]
HELD_OUT_SHARE = 0.2


def messages_sha256(messages: Messages) -> str:
    """Hash of a chat, independent of key order."""
    return hashlib.sha256(
        json.dumps(messages, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    ).hexdigest()


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompts")
    messages: models.JSONField[Messages] = models.JSONField()
    sha256 = models.CharField(max_length=64)
    reference = models.TextField(blank=True, help_text="A reference answer, when one is known.")
    tags: models.JSONField[list[str]] = models.JSONField(default=list)
    held_out = models.BooleanField(
        default=False, help_text="Fixed by a hash of the prompt; never enters training."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "sha256"], name="prompt_once"),
        ]

    def __str__(self) -> str:
        return self.messages[-1]["content"][:80] if self.messages else ""


class Completion(models.Model):
    """One answer to a prompt, and how it came about."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="completions")
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    source = models.CharField(max_length=40, help_text="import, starter, round-7, ...")
    policy = models.CharField(max_length=80, blank=True, help_text="Model version or model name.")
    sampling: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "sha256"], name="completion_once"),
        ]

    def __str__(self) -> str:
        return self.text[:80]
