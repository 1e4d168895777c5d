"""A pair with all that an imported chat may hold, for the tests of the pages that show it."""

from __future__ import annotations

from typing import Any

from annotate.models import Completion, Pair, Project, Prompt
from annotate.models.content import messages_sha256, prompt_sha256, text_sha256

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The *weather* of a place.",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
    }
]
PROMPT: list[dict[str, Any]] = [
    {"role": "system", "content": "You answer travellers. " + "Be brief and kind. " * 60},
    {"role": "developer", "content": "Never promise sunshine."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello! Where to?", "name": "secret-model-9"},
    {
        "role": "user",
        "content": "Is it raining here? [image: harbour.png]",
        "parts": [
            {"type": "text", "text": "Is it raining here?"},
            {"type": "image_url", "image_url": {"url": "https://pictures.example/harbour.png"}},
        ],
    },
    {
        "role": "assistant",
        "content": "",
        "thinking": "The picture shows **Bergen**.",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"place":"Bergen","days":[1,2]}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": '{"rain": true, "mm": 12}'},
]
REPLY: list[dict[str, Any]] = [
    {"role": "assistant", "content": "It **rains**.", "thinking": "Say it *plainly*."},
    {"role": "user", "content": "And tomorrow?", "score": 0.25},
    {"role": "assistant", "content": "Rain as well.", "model": "secret-model-9"},
]
TRANSCRIPT = "It **rains**.\n\nuser: And tomorrow?\n\nRain as well."


def tool_pair(project: Project, *, number: int = 0, **columns: Any) -> Pair:
    """A pair whose prompt ends with a tool's result; A is a reply of three turns."""
    messages = [*PROMPT[:-1], PROMPT[-1] | {"content": f'{{"rain": true, "mm": {number}}}'}]
    prompt = Prompt.objects.create(
        project=project,
        messages=messages,
        tools=TOOLS,
        sha256=prompt_sha256(messages, TOOLS),
        tags=["weather"],
        metadata={"source": "travel desk", "model_used": "secret-model-9"},
    )
    turned = Completion.objects.create(
        prompt=prompt,
        text=TRANSCRIPT,
        messages=REPLY,
        sha256=messages_sha256(REPLY),
        source="import",
        policy="secret-model-9",
        metadata={"score_overall": 7.5},
    )
    plain = Completion.objects.create(
        prompt=prompt,
        text="No idea.",
        sha256=text_sha256("No idea."),
        source="import",
        policy="secret-model-8",
    )
    key = f"tool-{number}"
    given = {"tags": ["rainy day"], "metadata": {"annotation_batch": {"id": 4}}} | columns
    quota = Pair.quota(project, Pair.Kind.NORMAL, key=key)
    return Pair.objects.create(
        project=project,
        prompt=prompt,
        completion_a=turned,
        completion_b=plain,
        key=key,
        **quota | given,
    )
