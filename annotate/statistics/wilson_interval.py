"""Wilson's score interval of a share (Wilson 1927), the only one on the labelling side."""

from __future__ import annotations

from collections.abc import Sequence

NORMAL_95 = 1.959963984540054
"""Standard errors to either side that hold 95 % of a normal distribution."""


def wilson(successes: float, n: int, *, z: float = NORMAL_95) -> tuple[float, float] | None:
    """Wilson's interval of a share, 95 % unless `z` says otherwise; None without observations."""
    if n == 0:
        return None
    share, z2 = successes / n, z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered(values: Sequence[float], groups: Sequence[int]) -> tuple[float, float] | None:
    """Wilson's interval of the mean of `values`, each in [0, 1], where those of one group (prompt)
    go together: of as many observations as tell as much (Kish 1965, effective sample size).

    None without values.
    """
    n = len(values)
    if not n:
        return None
    mean = sum(values) / n
    sums: dict[int, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    k = len(sums)
    between = sum(one**2 for one in sums.values()) * k / max(1, k - 1)
    alone = max(n * mean * (1 - mean), 1e-12)
    effective = max(1, round(min(n, n / max(1.0, between / alone))))
    return wilson(mean * effective, effective)
