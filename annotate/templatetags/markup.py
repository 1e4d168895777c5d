"""The filter that shows a model's text."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from annotate.text.markdown import render

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    return render(text)
