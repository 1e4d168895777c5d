"""What tests of exports share: chats with everything in them, and files as readers see them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command

from annotate import queue
from annotate.models import Completion, Pair, Project, Prompt
from annotate.models.content import (
    is_held_out,
    messages_sha256,
    prompt_sha256,
    text_sha256,
    transcript,
)

ASKED = [
    {"role": "system", "content": "Be terse."},
    {"role": "user", "content": "Turn on the lights in the hall."},
]
TOOLS = [{"type": "function", "function": {"name": "light", "description": "Switches a light."}}]
CALLED = [
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": "light", "arguments": {"room": "hall"}}}
        ],
    },
    {"role": "tool", "content": "ok", "name": "light"},
    {"role": "assistant", "content": "Done."},
]


def add_chat(
    project: Project,
    number: int,
    prompt: list[dict[str, Any]],
    replies: list[Any],
    tools: list[Any] | None = None,
    **columns: Any,
) -> Pair:
    """A pair of two replies, each a text or its turns."""
    sha256 = prompt_sha256(prompt, tools)
    kept, _ = Prompt.objects.get_or_create(
        project=project,
        sha256=sha256,
        defaults={"messages": prompt, "tools": tools, "held_out": is_held_out(sha256)},
    )
    sides = []
    for reply in replies:
        turns = None if isinstance(reply, str) else reply
        text = reply if isinstance(reply, str) else transcript(reply)
        key = text_sha256(reply) if isinstance(reply, str) else messages_sha256(reply)
        side, _ = Completion.objects.get_or_create(
            prompt=kept,
            sha256=key,
            defaults={"text": text, "messages": turns, "source": "import", "policy": f"m{number}"},
        )
        sides.append(side)
    key = f"chat-{number}"
    quota = Pair.quota(project, Pair.Kind.NORMAL, key=key)
    return Pair.objects.create(
        project=project,
        prompt=kept,
        completion_a=sides[0],
        completion_b=sides[1],
        key=key,
        **{**quota, **columns},
    )


def judge(project: Project, pairs: Any, *ballots: Any, **columns: Any) -> None:
    """Each ballot (user, choice, strength) goes to every one of the pairs."""
    for pair in pairs:
        Pair.objects.filter(pk=pair.pk).update(shuffle=-pair.pk)  # the next in the queue
        for user, choice, strength in ballots:
            lease = queue.next_pair(project, user)
            assert lease is not None and lease.pair_id == pair.pk
            queue.vote(user, lease.token, choice=choice, strength=strength, **columns)


def export(out: Path, format: str, *flags: str) -> Path:
    """What the command writes."""
    arguments = ("--project", "desk", "--format", format, "--out", str(out), *flags)
    call_command("export_data", *arguments, stdout=StringIO())
    return out


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
