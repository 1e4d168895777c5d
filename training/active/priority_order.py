"""Priorities as they are written: pairs stand in the order of their scores, few rows change."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence

from training.rlhf import acquire

EXACT = 64
"""Pairs that stand in exact order. The queue is ordered anew long before so many were leased."""
LEVELS = 20
"""Of the priorities of the others, of the shortlist and behind it: whoever comes 5,000th need not
be told from whoever comes 5,001st, and what changes no level is not written."""
SLACK = 4.0
"""Levels by which a pair may lie outside its own and stays in it: with half of one
30 votes would have a thousand rows written, with these some 170 to 280."""


def changed(scores: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """The priorities to write, so that pairs stand in the order of their scores.

    The best EXACT stand above 2 in exact order, the others of the shortlist on LEVELS levels from
    2 down, those behind it on as many from 1 down, those without a score at 0. As many as can keep
    their priorities.
    """
    order = sorted((key for key in scores if scores[key] > 0), key=lambda key: -scores[key])
    exact = min(EXACT, acquire.SHORTLIST)
    wanted = in_order(order[:exact], before)
    wanted |= _levels(order[exact : acquire.SHORTLIST], before, high=2.0)
    wanted |= _levels(order[acquire.SHORTLIST :], before, high=1.0)
    wanted |= {key: 0.0 for key in scores if scores[key] <= 0}
    return {key: value for key, value in wanted.items() if before.get(key) != value}


def _levels(keys: Sequence[str], before: Mapping[str, float], *, high: float) -> dict[str, float]:
    """A priority above `high` - 1, at most `high`, for each key; those near their level stay."""
    levels: dict[str, float] = {}
    for place, key in enumerate(keys):
        at = place * LEVELS / len(keys)
        value = before.get(key, 0.0)
        own = round((high - value) * LEVELS)
        if high - 1 < value <= high and own - SLACK <= at < own + 1 + SLACK:
            levels[key] = value
        else:
            levels[key] = high - int(at) / LEVELS
    return levels


def in_order(keys: Sequence[str], before: Mapping[str, float]) -> dict[str, float]:
    """Falling priorities above 2 for keys, best first; only those that have to differ.

    The longest run of keys that stand in this order already keep what they have; the others come
    between them.
    """
    kept = _longest_falling([before.get(key, 0.0) for key in keys])
    top = max([3.0, *(before[keys[place]] for place in kept)]) + 1
    values, ends = [0.0] * len(keys), [*kept, len(keys)]
    start, high = 0, top
    for end in ends:
        low = before[keys[end]] if end < len(keys) else LEAST
        for step, place in enumerate(range(start, end), 1):
            values[place] = high - (high - low) * step / (end - start + 1)
        if end < len(keys):
            values[end], high, start = low, low, end + 1
    if any(one <= other for one, other in itertools.pairwise(values)) or top > CROWDED:
        # No number is left between two of them: all anew.
        values = [LEAST + (len(keys) - place) / len(keys) for place in range(len(keys))]
    return {key: value for key, value in zip(keys, values, strict=True) if before.get(key) != value}


CROWDED = 1e6
LEAST = 2.0
"""Below the priorities in exact order, at the best of the levels."""


def _longest_falling(values: Sequence[float]) -> list[int]:
    """Places of a longest strictly falling run of values above LEAST (patience sorting)."""
    ends: list[float] = []
    at: list[int] = []
    before: list[int] = [-1] * len(values)
    for place, value in enumerate(values):
        if value <= LEAST:
            continue
        pile = bisect.bisect_left(ends, -value)
        before[place] = at[pile - 1] if pile else -1
        ends[pile : pile + 1], at[pile : pile + 1] = [-value], [place]
    run: list[int] = []
    place = at[-1] if at else -1
    while place >= 0:
        run.append(place)
        place = before[place]
    return run[::-1]
