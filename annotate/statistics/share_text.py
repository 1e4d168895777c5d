"""Shares as people read them, on pages and in sentences alike."""

from __future__ import annotations


def percent(share: float, decimals: int = 1) -> str:
    """A share as per cent: 0.726 -> "72.6 %", with 0 decimals "73 %"."""
    return f"{100 * share:.{decimals}f}\N{NO-BREAK SPACE}%"


def percent_range(low: float, high: float, decimals: int = 1) -> str:
    """Two shares as one range: "71.0 to 79.2 %"."""
    return f"{100 * low:.{decimals}f} to {percent(high, decimals)}"
