"""Numbers as people read them: shares, durations, signed figures."""

from __future__ import annotations

from typing import Any

from django import template

from training.figures import charts
from training.figures.run_progress import number

register = template.Library()
DASH = "\N{EN DASH}"
SHORT = {"auc", "ece", "eos", "kl"}


@register.filter
def figure(value: Any) -> str:
    """Three significant digits; a dash for whatever is not a finite number."""
    return charts.figure(number(value))


@register.filter
def percent(value: Any) -> str:
    """A share as per cent with one decimal."""
    share = number(value)
    return DASH if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


@register.filter
def duration(seconds: Any) -> str:
    """Seconds as the two largest units that matter."""
    value = number(seconds)
    if value is None:
        return DASH
    whole = round(value)
    if whole < 60:
        return f"{whole}\N{NO-BREAK SPACE}s"
    if whole < 3600:
        return f"{whole // 60}\N{NO-BREAK SPACE}min {whole % 60:02d}\N{NO-BREAK SPACE}s"
    return f"{whole // 3600}\N{NO-BREAK SPACE}h {whole % 3600 // 60:02d}\N{NO-BREAK SPACE}min"


@register.filter
def words(key: str) -> str:
    """A metric's name as words: `win_rate_low` becomes "Win rate low", `kl` becomes "KL"."""
    text = " ".join(part.upper() if part in SHORT else part for part in key.split("_"))
    return text[:1].upper() + text[1:]


@register.filter
def megabytes(size: int) -> str:
    """Bytes as megabytes with one decimal."""
    return f"{size / 1e6:,.1f}\N{NO-BREAK SPACE}MB"
