"""Agreement on the first two votes, taken apart: by policy, margin, tag, time and who voted.

As the policy improves its answers grow alike and people agree less on them, so a fall over time
is no alarm. A fall among pairs of one margin is: there the pairs are as hard as before.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from annotate.models import Project
from annotate.quality.agreement_counts import COUNTED, DUOS, rows
from annotate.statistics.agreement import cohen_kappa
from annotate.statistics.wilson_interval import wilson
from annotate.votes.export_values import pseudonyms

Key = TypeVar("Key", bound=Hashable)
CLASSES = ("a", "tie", "b")
MOST_DUOS = 100
MOST_IN_MATRIX = 12

# Logits of the reward model; 0.5 is a probability of 62 %, 1 of 73 %, 2 of 88 %.
_BUCKET = """
    CASE WHEN margin IS NULL THEN 4 WHEN ABS(margin) < 0.5 THEN 0
        WHEN ABS(margin) < 1 THEN 1 WHEN ABS(margin) < 2 THEN 2 ELSE 3 END
"""
BUCKETS = (
    "below 0.5: close to a coin flip",
    "0.5 to 1",
    "1 to 2",
    "2 and more: the model is sure",
    "no reward model yet",
)
# A time's text begins with the day, in UTC, on both databases. Imported pairs and those from
# before policies were noted take the policy of their text.
BY_DAY = f"""
    SELECT SUBSTR(CAST(second_at AS TEXT), 1, 10) AS day, {_BUCKET} AS bucket,
        CASE WHEN policy <> '' THEN policy ELSE (
            SELECT c.policy FROM annotate_completion c WHERE c.id = completion_b_id
        ) END AS written_by,
        MAX(id), COUNT(*), COUNT(CASE WHEN fell < 3 THEN 1 END)
    {COUNTED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
BY_TAGS = f"""
    SELECT (SELECT CAST(r.tags AS TEXT) FROM annotate_prompt r WHERE r.id = prompt_id) AS tags,
        COUNT(*), COUNT(CASE WHEN fell < 3 THEN 1 END)
    {COUNTED} GROUP BY 1
"""
# Pairs that have tags of their own, found by the index whose condition this spells: to SQLite a
# cast to TEXT is another expression than one to text.
BY_PAIR_TAGS = f"""
    SELECT (SELECT CAST(r.tags AS TEXT) FROM annotate_prompt r WHERE r.id = prompt_id) AS of_prompt,
        CAST(tags AS TEXT) AS of_pair, COUNT(*), COUNT(CASE WHEN fell < 3 THEN 1 END)
    {COUNTED} AND NOT (CAST(tags AS text) = '[]') GROUP BY 1, 2
"""
MOST_TAGS = 30
FEWEST = 20
"""Pairs below which a share is noise and is not shown."""
MOST_PERIODS = 16
FEWEST_TO_COMPARE = 50
"""Pairs that the newest period and those before it need in a margin for an alarm."""
Z_ALARM = 2.576
"""99 %, because five margins are looked at."""


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

    @property
    def enough(self) -> bool:
        return self.pairs >= FEWEST


@dataclass(frozen=True)
class Day:
    """Pairs of one margin and policy whose second vote was cast on one day."""

    day: date
    bucket: int
    policy: str
    newest: int
    """The highest id among them."""
    pairs: int
    same: int


@dataclass(frozen=True)
class Fall:
    """Agreement among pairs of one margin, before the newest period and in it."""

    bucket: str
    before: Group
    now: Group


@dataclass(frozen=True)
class Duo:
    """Two people and the pairs on which both cast one of the first two votes."""

    one: str
    other: str
    pairs: int
    raw: float
    kappa: float | None


def by_day(project: Project, stream: str, include_simulated: bool) -> list[Day]:
    """Pairs by the day of their second vote, margin and policy, the oldest day first."""
    counts = rows(BY_DAY, project, stream, include_simulated)
    return [Day(date.fromisoformat(day), *rest) for day, *rest in counts if day]


def by_policy(days: Iterable[Day]) -> list[Group]:
    """The newest policy first."""
    days = sorted(days, key=lambda day: -day.newest)
    policies = _add((day.policy, day.pairs, day.same) for day in days)
    return [Group(policy or "unknown", *counts) for policy, counts in policies.items()]


def by_margin(days: Iterable[Day]) -> list[Group]:
    """From pairs that the reward model cannot tell apart to those it is sure of."""
    buckets = _add((day.bucket, day.pairs, day.same) for day in days)
    return [Group(BUCKETS[bucket], *counts) for bucket, counts in sorted(buckets.items())]


def by_period(days: Sequence[Day]) -> list[Group]:
    """Days, weeks or months, whichever are readable in number; the oldest first."""
    begin, written = _period(days)
    periods = _add((begin(day.day), day.pairs, day.same) for day in days)
    return [Group(f"{first:{written}}", *counts) for first, counts in sorted(periods.items())]


def by_tag(project: Project, stream: str, include_simulated: bool) -> list[Group]:
    """Subgroups by the tags of prompts and pairs, the most frequent first.

    A pair counts once for each tag that it or its prompt has.
    """
    of_prompts = (
        (tag, pairs, same)
        for text, pairs, same in rows(BY_TAGS, project, stream, include_simulated)
        for tag in set(json.loads(text))
    )
    of_pairs = (
        (tag, pairs, same)
        for prompt, pair, pairs, same in rows(BY_PAIR_TAGS, project, stream, include_simulated)
        for tag in set(json.loads(pair)).difference(json.loads(prompt))
    )
    tags = _add(chain(of_prompts, of_pairs))
    groups = [Group(str(tag), *counts) for tag, counts in tags.items()]
    return sorted(groups, key=lambda group: (-group.pairs, group.name))[:MOST_TAGS]


def falls(days: Sequence[Day]) -> list[Fall]:
    """Margins among whose pairs people agree less in the newest period than before.

    The interval of the difference of two shares (Newcombe 1998, method 10) lies below zero.
    """
    begin, _ = _period(days)
    newest = max((begin(day.day) for day in days), default=None)
    counts = _add(((day.bucket, begin(day.day) == newest), day.pairs, day.same) for day in days)
    fallen = []
    for bucket, name in enumerate(BUCKETS):
        before, now = (
            Group(name, *counts.get((bucket, is_new), (0, 0))) for is_new in (False, True)
        )
        if min(before.pairs, now.pairs) >= FEWEST_TO_COMPARE and _fell(before, now):
            fallen.append(Fall(name, before, now))
    return fallen


def _fell(before: Group, now: Group) -> bool:
    was = wilson(before.same, before.pairs, z=Z_ALARM)
    is_now = wilson(now.same, now.pairs, z=Z_ALARM)
    assert was and is_now, "both hold pairs"
    reach = math.hypot(before.raw - was[0], is_now[1] - now.raw)
    return now.raw - before.raw + reach < 0


def _period(days: Sequence[Day]) -> tuple[Callable[[date], date], str]:
    """The first day of a day's period, and how a period is written."""
    span = (days[-1].day - days[0].day).days + 1 if days else 1
    if span <= MOST_PERIODS:
        return lambda day: day, "%d %b %Y"
    if span <= 7 * MOST_PERIODS:
        return lambda day: day - timedelta(days=day.weekday()), "week of %d %b %Y"
    return lambda day: day.replace(day=1), "%b %Y"


def _add(counted: Iterable[tuple[Key, int, int]]) -> dict[Key, list[int]]:
    """Pairs and agreeing pairs, added up by key."""
    sums: dict[Key, list[int]] = {}
    for key, pairs, same in counted:
        one = sums.setdefault(key, [0, 0])
        one[0] += pairs
        one[1] += same
    return sums


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


def matrix(duos: Sequence[Duo]) -> list[tuple[str, list[Duo | None]]]:
    """Everybody's duo with everybody, in the order of `duos`; of the first `MOST_IN_MATRIX`."""
    names = list(dict.fromkeys(name for duo in duos for name in (duo.one, duo.other)))
    names = names[:MOST_IN_MATRIX]
    of = {frozenset((duo.one, duo.other)): duo for duo in duos}
    return [(one, [of.get(frozenset((one, other))) for other in names]) for one in names]


def _duo(one: str, other: str, table: NDArray[np.int64]) -> Duo:
    n = int(table.sum())
    return Duo(one, other, n, int(np.trace(table)) / n, cohen_kappa(table))
