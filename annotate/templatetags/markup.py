"""The filters that show a model's text, a chat, and the columns of a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.utils.safestring import SafeString

from annotate.text import chat_turns, json_text
from annotate.text.markdown import code, render

register = template.Library()
register.filter("code", code)
register.filter("blind", chat_turns.blind)


@register.filter
def markdown(text: str) -> SafeString:
    return render(text)


@register.filter
def turns(messages: Sequence[Mapping[str, Any]] | None) -> list[chat_turns.Turn]:
    """A chat to show turn by turn; nothing for None."""
    return chat_turns.turns(messages or ())


@register.filter
def tools(described: Sequence[Any] | None) -> list[chat_turns.Tool]:
    return chat_turns.tools(described)


@register.filter
def entries(values: Mapping[str, Any]) -> list[json_text.Entry]:
    """Names and values of an object, for a list of definitions."""
    return json_text.entries(values)
