"""Tags on which a model is wrong more often than elsewhere, told as its agreement with people is
measured.

At each of `LOOKS` every tag is tested by Fisher's exact test, one-sided, of its pairs against all
others. Levels are spent over the looks, so that they add up to ALPHA however long one looks, and
within a look divided by the number of tags that could be significant at all (Tarone 1990,
Biometrics 46, 515): with no such tag some tag is flagged at most one time in twenty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp, lgamma

ALPHA = 0.05
FIRST = 20
"""Pairs of the first look; each later one comes at twice as many."""
SPENT = (0.1, 0.4, 0.25)
"""Shares of ALPHA at the first looks; of what is left each later one spends a half. The second and
third, at 40 and 80 pairs, are where a tag that is wrong enough to matter can be seen."""
Observed = tuple[Iterable[str], bool]
"""The tags of a pair, and whether model and people named the same reply."""


def level(look: int) -> float:
    """Level of the look of this number, from 0; all of them add up to ALPHA."""
    if look < len(SPENT):
        return ALPHA * SPENT[look]
    return ALPHA * (1 - sum(SPENT)) * 0.5 ** (look - len(SPENT) + 1)


def wrong_tags(pairs: Sequence[Observed]) -> list[str]:
    """The tags that the first look to flag any flags; pairs in the order in which they came.

    Pairs of one prompt are not independent: of each, one is to be given.
    """
    look, n = 0, FIRST
    while n <= len(pairs):
        if flagged := _wrong_at(pairs[:n], level(look)):
            return flagged
        look, n = look + 1, 2 * n
    return []


def next_look(pairs: int) -> int:
    """The number of pairs at which tags are looked at next."""
    n = FIRST
    while n <= pairs:
        n *= 2
    return n


def _wrong_at(pairs: Sequence[Observed], alpha: float) -> list[str]:
    size: dict[str, int] = {}
    right: dict[str, int] = {}
    for tags, same in pairs:
        for tag in set(tags):
            size[tag] = size.get(tag, 0) + 1
            right[tag] = right.get(tag, 0) + same
    all_right = sum(same for _, same in pairs)
    tables = {tag: (right[tag], n, all_right, len(pairs)) for tag, n in size.items()}
    tables = {tag: table for tag, table in tables.items() if table[1] < len(pairs)}
    within = alpha / _divisor([least_p(*table[1:]) for table in tables.values()], alpha)
    return sorted(tag for tag, table in tables.items() if fisher(*table) <= within)


def _divisor(least: Sequence[float], alpha: float) -> int:
    """Tarone's divisor: the least k such that at most k tests can reach alpha / k."""
    return next(k for k in range(1, len(least) + 2) if sum(p <= alpha / k for p in least) <= k)


def fisher(right: int, size: int, all_right: int, total: int) -> float:
    """Probability that at most `right` of the `size` pairs of a tag are right where it is like all
    others (Fisher's exact test, one-sided), given `all_right` of `total`."""
    least = max(0, size - (total - all_right))
    return min(1.0, sum(_chance(k, size, all_right, total) for k in range(least, right + 1)))


def least_p(size: int, all_right: int, total: int) -> float:
    """The smallest value that `fisher` may have for a tag of this size."""
    return _chance(max(0, size - (total - all_right)), size, all_right, total)


def _chance(k: int, size: int, all_right: int, total: int) -> float:
    """Probability of k right ones among `size` drawn without replacement (hypergeometric)."""
    return exp(
        _log_choose(all_right, k)
        + _log_choose(total - all_right, size - k)
        - _log_choose(total, size)
    )


@lru_cache(maxsize=100_000)
def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
