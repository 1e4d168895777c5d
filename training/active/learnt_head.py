"""The lesson of the votes so far: the light head on the features that a round left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.models import Run
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig
from training.rlhf.round import PROPOSE

Vote = tuple[str, int, float, float, float]
"""A row of `exchange.single_votes`."""


@dataclass(frozen=True)
class Features:
    """Feature differences of pairs: (n, d) in half precision, and the pair keys of the rows."""

    keys: list[str]
    x: NDArray[np.float16]

    measuring: Features | None = None
    """Pairs of held-out prompts: heads are scored on them, and none learns of them."""

    @property
    def rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    @property
    def measured_keys(self) -> frozenset[str]:
        return frozenset(self.measuring.keys if self.measuring else ())


@dataclass(frozen=True)
class Learnt:
    """The lesson of the votes so far. `head` is None while it predicts nothing; `why` says so."""

    head: acquire.Head | None
    trust: dict[int, float]
    """Share of each annotator's answers that are no guesses."""
    asked: NDArray[np.float64]
    """(p, d) features of the pairs with votes."""
    why: str = ""
    doubts: dict[int, float] = field(default_factory=dict)
    """Chance of each annotator's votes for somebody honest; see `acquire.doubts`."""
    cast: tuple[Vote, ...] = ()
    """The votes that it rests on, whose pairs have features that are numbers."""
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(v,) row in `asked` of each of them."""
    weight: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(v,) by strength and by the share that is no guess."""


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
    doubts = acquire.doubts(x, of, head, share)
    named = {people[person]: chance for person, chance in doubts.items()}
    return Learnt(
        head,
        trust,
        x,
        doubts=named,
        cast=tuple(cast),
        places=of.pair,
        weight=of.weight * share,
    )


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
    return Features(keys=keys, x=x, measuring=_measuring(folder))


def _measuring(folder: Path) -> Features | None:
    """Those of held-out prompts; None where an earlier release proposed the pairs."""
    keys, x = folder / "measuring.jsonl", folder / "measuring.npy"
    if not keys.exists() or not x.exists():
        return None
    return Features(keys=_keys(keys), x=np.asarray(np.load(x), dtype=np.float16))


def _keys(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        line if isinstance(line, str) else line.get("key", line.get("pair_id")) for line in lines
    ]
