"""Agreement on the first two votes, taken apart: by policy, by margin, by who voted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotate.agreement import cohen_kappa, wilson
from annotate.exporting.lines import pseudonyms
from annotate.models import Project
from annotate.quality import COUNTED, DUOS, rows

CLASSES = ("a", "tie", "b")
MOST_DUOS = 100

# Imported pairs and those from before policies were noted take the policy of their text.
BY_POLICY = f"""
    SELECT CASE WHEN policy <> '' THEN policy ELSE (
            SELECT c.policy FROM annotate_completion c WHERE c.id = completion_b_id
        ) END AS written_by, COUNT(*), COUNT(CASE WHEN fell < 3 THEN 1 END)
    {COUNTED} GROUP BY 1 ORDER BY MAX(id) DESC
"""
# Logits of the reward model; 0.5 is a probability of 62 %, 1 of 73 %, 2 of 88 %.
BY_MARGIN = f"""
    SELECT CASE WHEN margin IS NULL THEN 4 WHEN ABS(margin) < 0.5 THEN 0
            WHEN ABS(margin) < 1 THEN 1 WHEN ABS(margin) < 2 THEN 2 ELSE 3 END AS bucket,
        COUNT(*), COUNT(CASE WHEN fell < 3 THEN 1 END)
    {COUNTED} GROUP BY 1 ORDER BY 1
"""
BUCKETS = (
    "below 0.5: close to a coin flip",
    "0.5 to 1",
    "1 to 2",
    "2 and more: the model is sure",
    "no reward model yet",
)


@dataclass(frozen=True)
class Group:
    """Pairs with something in common, and on how many of them both people said the same."""

    name: str
    pairs: int
    same: int

    @property
    def raw(self) -> float:
        return self.same / self.pairs

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.same, self.pairs)


@dataclass(frozen=True)
class Duo:
    """Two people and the pairs on which both cast one of the first two votes."""

    one: str
    other: str
    pairs: int
    raw: float
    kappa: float | None


def by_policy(project: Project, stream: str, include_simulated: bool) -> list[Group]:
    """The newest policy first."""
    found = rows(BY_POLICY, project, stream, include_simulated)
    return [Group(name or "unknown", pairs, same) for name, pairs, same in found]


def by_margin(project: Project, stream: str, include_simulated: bool) -> list[Group]:
    """From pairs that the reward model cannot tell apart to those it is sure of."""
    found = rows(BY_MARGIN, project, stream, include_simulated)
    return [Group(BUCKETS[bucket], pairs, same) for bucket, pairs, same in found]


def duos(project: Project, stream: str, include_simulated: bool) -> list[Duo]:
    """Every two people who met on a pair, those who met most often first."""
    tables: defaultdict[tuple[int, int], NDArray[np.int64]] = defaultdict(
        lambda: np.zeros((3, 3), dtype=np.int64)
    )
    for one, other, first, second, n in rows(DUOS, project, stream, include_simulated):
        cell = CLASSES.index(first), CLASSES.index(second)
        if one > other:
            one, other, cell = other, one, cell[::-1]
        tables[one, other][cell] += n
    most = sorted(tables.items(), key=lambda item: (-int(item[1].sum()), item[0]))[:MOST_DUOS]
    name = pseudonyms(project)
    return [_duo(name(one), name(other), table) for (one, other), table in most]


def _duo(one: str, other: str, table: NDArray[np.int64]) -> Duo:
    n = int(table.sum())
    return Duo(one, other, n, int(np.trace(table)) / n, cohen_kappa(table))
