"""Number formats as template filters."""

from __future__ import annotations

from django import template

from training.figures.number_format import duration, figure, megabytes, percent, words

register = template.Library()

for written in (duration, figure, megabytes, percent, words):
    register.filter(written)
