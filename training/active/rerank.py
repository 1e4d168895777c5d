"""Between rounds: the order of the open pairs, which every vote changes.

A round leaves frozen features of the pairs it looked at. Votes that came since refit the small
Bayesian head on them, together with the reliabilities of the people who cast them, and the pairs
still open are ranked by what a vote on them would teach now, all of them at most once a minute.
"""

from __future__ import annotations

import bisect
import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotate import exchange
from training.models import Plan, Run
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig
from training.rlhf.round import PROPOSE
from training.versions.engine_environment import round_settings

log = logging.getLogger(__name__)

VOTES_BETWEEN = 10
"""New votes that make another ranking of all pairs worth its while."""
BATCH = 200
"""Pairs that are picked jointly; the others follow by what each would teach alone."""
LEVELS = 20
"""Of the priorities of pairs behind the shortlist: whoever comes 5,000th need not be told from
whoever comes 5,001st, and what changes no level is not written."""
Vote = tuple[str, int, float, float, float]
"""A row of `exchange.single_votes`."""


@dataclass(frozen=True)
class Features:
    """Feature differences of pairs: (n, d) in half precision, and the pair keys of the rows."""

    keys: list[str]
    x: NDArray[np.float16]

    @property
    def rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}


@dataclass(frozen=True)
class Learnt:
    """The lesson of the votes so far. `head` is None while it predicts nothing; `why` says so."""

    head: acquire.Head | None
    trust: dict[int, float]
    """Share of each annotator's answers that are no guesses."""
    asked: NDArray[np.float64]
    why: str = ""


def refresh_priorities(project_id: int) -> int:
    """Refresh the priorities of a project's open pairs; how many were ranked.

    Does nothing (0) before the first round, or with fewer than VOTES_BETWEEN new votes.
    """
    run = latest_run(project_id)
    if run is None:
        return 0
    simulated = run.project.train_on_simulated
    count = exchange.single_vote_count(run.project, include_simulated=simulated)
    if not _claim(run, count):
        return 0
    features, votes = (
        load(run.directory / PROPOSE),
        exchange.single_votes(run.project, include_simulated=simulated),
    )
    propose, before = round_settings(run).propose, exchange.open_priorities(run.project)
    learnt = learn(features, votes, propose)
    pending = exchange.leased_pair_keys(run.project)
    scores = rank(features, learnt, before.keys(), propose, seed=count, pending=pending)
    if learnt.head is None:
        log.info("project %s is asked at random: %s", project_id, learnt.why)
    exchange.set_priorities(
        run.project,
        changed(scores, before),
        acquisition=propose.acquisition if learnt.head else "",
    )
    return len(scores)


def latest_run(project_id: int) -> Run | None:
    """The run whose features the project's open pairs have; None before there is one."""
    return Run.objects.filter(project=project_id, stages__stage=PROPOSE).order_by("-id").first()


def learn(features: Features, votes: Iterable[Vote], config: ProposeConfig) -> Learnt:
    """Fit the head to the votes on pairs whose features are known.

    There is no head, and the order is random, with fewer than `config.cold_start_votes` on pairs
    whose features are numbers, and while the head does not predict votes that it has not seen.
    """
    rows = features.rows
    cast, why = [vote for vote in votes if vote[0] in rows], "there are too few votes"
    pairs = sorted({rows[vote[0]] for vote in cast})
    x = features.x[pairs].astype(np.float64)
    if not np.isfinite(x).all():
        pairs = [row for row, of in zip(pairs, x, strict=True) if np.isfinite(of).all()]
        x = features.x[pairs].astype(np.float64)
        cast = [vote for vote in cast if rows[vote[0]] in set(pairs)]
        why = "features of pairs with votes are no numbers"
    nothing = np.zeros((0, features.x.shape[1] if features.x.ndim > 1 else 0))
    if sum(vote[3] for vote in cast) < config.cold_start_votes:
        return Learnt(None, {}, nothing, why)
    place = {row: i for i, row in enumerate(pairs)}
    people = sorted({vote[1] for vote in cast})
    number = {person: i for i, person in enumerate(people)}
    of = acquire.Votes(
        np.array([place[rows[vote[0]]] for vote in cast], dtype=np.int64),
        np.array([number[vote[1]] for vote in cast], dtype=np.int64),
        *(np.array([vote[i] for vote in cast]) for i in (2, 3, 4)),
    )
    precision = acquire.prior_precision(x)
    head, known, share = acquire.fit_with_people(x, of, people=len(people), precision=precision)
    if not acquire.predicts(x, of, precision=precision, weights=of.weight * share):
        return Learnt(None, {}, nothing, "the head does not predict votes yet")
    trust = dict(zip(people, known.informed.tolist(), strict=True))
    return Learnt(head, trust, x)


def rank(
    features: Features,
    learnt: Learnt,
    open_keys: Iterable[str],
    config: ProposeConfig,
    *,
    seed: int,
    pending: frozenset[str] | set[str] = frozenset(),
) -> dict[str, float]:
    """Score open pairs by the acquisition of their round; higher is asked first, 0 at random.

    Pairs in `pending` are being judged now: they count as answered, and are in the result only
    where nothing is ranked.
    """
    among = set(open_keys)
    pool = [row for row, key in enumerate(features.keys) if key in among]
    keys = [features.keys[row] for row in pool]
    if not pool:
        return {}
    if learnt.head is None:
        # Those on a screen too: one that kept its priority would stand for a ranking.
        return dict.fromkeys(keys, 0.0)
    ranking = acquire.rank(
        learnt.head,
        features.x[pool],
        np.ones(len(pool), dtype=bool),
        config,
        n=BATCH,
        seed=seed,
        pending=np.array([key in pending for key in keys], dtype=bool),
        asked=learnt.asked,
    )
    return {
        key: float(score)
        for key, score in zip(keys, ranking.scores, strict=True)
        if np.isfinite(score)
    }


def changed(scores: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """The priorities to write, so that pairs stand in the order of their scores.

    The best SHORTLIST stand above 1 in exact order, those behind them on LEVELS levels from 1
    down, those without a score at 0. Of the first, as many as can keep their priorities.
    """
    order = sorted((key for key in scores if scores[key] > 0), key=lambda key: -scores[key])
    first, rest = order[: acquire.SHORTLIST], order[acquire.SHORTLIST :]
    wanted = in_order(first, before)
    for place, key in enumerate(rest):
        wanted[key] = 1 - (place * LEVELS // len(rest)) / LEVELS
    wanted |= {key: 0.0 for key in scores if scores[key] <= 0}
    return {key: value for key, value in wanted.items() if before.get(key) != value}


def in_order(keys: Sequence[str], before: Mapping[str, float]) -> dict[str, float]:
    """Falling priorities above 1 for keys, best first; only those that have to differ.

    The longest run of keys that stand in this order already keep what they have; the others come
    between them.
    """
    kept = _longest_falling([before.get(key, 0.0) for key in keys])
    top = max([2.0, *(before[keys[place]] for place in kept)]) + 1
    values, ends = [0.0] * len(keys), [*kept, len(keys)]
    start, high = 0, top
    for end in ends:
        low = before[keys[end]] if end < len(keys) else 1.0
        for step, place in enumerate(range(start, end), 1):
            values[place] = high - (high - low) * step / (end - start + 1)
        if end < len(keys):
            values[end], high, start = low, low, end + 1
    if any(one <= other for one, other in itertools.pairwise(values)) or top > CROWDED:
        # No number is left between two of them: all anew.
        values = [1 + (len(keys) - place) / len(keys) for place in range(len(keys))]
    return {key: value for key, value in zip(keys, values, strict=True) if before.get(key) != value}


CROWDED = 1e6


def _longest_falling(values: Sequence[float]) -> list[int]:
    """Places of a longest strictly falling run of values above 1 (patience sorting)."""
    ends: list[float] = []
    at: list[int] = []
    before: list[int] = [-1] * len(values)
    for place, value in enumerate(values):
        if value <= 1:
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


def load(folder: Path) -> Features:
    """Features that a round's last stage left: its pool and the pairs that had votes then."""
    parts = [
        (_keys(folder / "pool.jsonl"), np.load(folder / "features.npy")),
        (_keys(folder / "labelled.jsonl"), np.load(folder / "labelled.npy")),
    ]
    keys = [key for part, _ in parts for key in part]
    x = np.concatenate(
        [np.asarray(rows, dtype=np.float16) for _, rows in parts if len(rows)]
        or [np.zeros((0, 1), dtype=np.float16)]
    )
    # A pair may be in both; the later row is the one with votes.
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) < len(keys):
        keys, x = list(rows), x[list(rows.values())]
    return Features(keys=keys, x=x)


def _keys(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        line if isinstance(line, str) else line.get("key", line.get("pair_id")) for line in lines
    ]


def _claim(run: Run, votes: int) -> bool:
    """Take this batch of votes: of several workers one ranks."""
    plan, _ = Plan.objects.get_or_create(project_id=run.project_id)
    fresh = plan.reranked_run != run.uuid or votes >= plan.reranked_votes + VOTES_BETWEEN
    same = Plan.objects.filter(
        pk=plan.pk, reranked_votes=plan.reranked_votes, reranked_run=plan.reranked_run
    )
    return fresh and bool(same.update(reranked_votes=votes, reranked_run=run.uuid))
