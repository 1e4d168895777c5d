"""Wilson's score interval of a share (Wilson 1927), the only one on the labelling side."""

from __future__ import annotations

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
