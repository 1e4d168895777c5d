"""Numbers as they are written on the pages."""

from __future__ import annotations

from django import template

from annotate.statistics import share_text

register = template.Library()


@register.filter
def percent(value: float | None) -> str:
    """0.726 -> 72.6 %; a dash where there is nothing."""
    return "–" if value is None else share_text.percent(value)


@register.filter
def coefficient(value: float | None) -> str:
    """Two decimals with a true minus sign; a dash where there is nothing."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


@register.filter
def decimal(value: float | None) -> str:
    """One decimal; a dash where there is nothing."""
    return "–" if value is None else f"{value:.1f}"


@register.filter
def interval(bounds: tuple[float, float] | None) -> str:
    """A 95 % interval of a share; nothing where there is none."""
    return "" if bounds is None else share_text.percent_range(*bounds)


@register.filter
def grouped(value: int | None) -> str:
    """1001762 -> 1,001,762; a dash where there is nothing."""
    return "–" if value is None else f"{value:,}"


@register.filter
def seconds(ms: int | None) -> str:
    """1500 -> 1.5 s; a dash where nothing was measured."""
    return "–" if ms is None else f"{ms / 1000:.1f} s"
