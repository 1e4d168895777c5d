"""Numbers as people read them: figures, shares, durations, sizes, and the names of metrics."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"
"""Stands for whatever is missing or no finite number."""
ABBREVIATIONS = {"auc", "ece", "eos", "kl"}


def number(value: object) -> float | None:
    """A finite number, or None for whatever else a metrics file may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def figure(value: object) -> str:
    """A measured value with two or more significant digits."""
    measured = number(value)
    if measured is None:
        return DASH
    whole = measured.is_integer()
    size = 0 if whole else math.floor(math.log10(abs(measured)))
    decimals = 0 if whole else max(1, min(3, 2 - size)) if size >= -2 else min(9, 2 - size)
    return f"{measured:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def percent(value: object, decimals: int = 1) -> str:
    """A share as per cent."""
    share = number(value)
    return DASH if share is None else f"{100 * share:.{decimals}f}\N{NO-BREAK SPACE}%"


def duration(seconds: object) -> str:
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


def words(key: str) -> str:
    """A metric's name as words: `win_rate_low` becomes "Win rate low", `kl` becomes "KL"."""
    text = " ".join(part.upper() if part in ABBREVIATIONS else part for part in key.split("_"))
    return text[:1].upper() + text[1:]


def megabytes(size: int) -> str:
    """Bytes as megabytes with one decimal."""
    return f"{size / 1e6:,.1f}\N{NO-BREAK SPACE}MB"
