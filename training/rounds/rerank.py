"""Between rounds: order the open pairs anew after every batch of votes, in seconds.

A round leaves frozen features of the pairs it looked at. Votes that came since refit the small
Bayesian head on them, and the pairs still open are ranked by what a vote on them would teach now.
"""

from __future__ import annotations

import json
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

VOTES_BETWEEN = 10
"""New votes that make another ranking worth its while."""


@dataclass(frozen=True)
class Features:
    """Feature differences of pairs: (n, d), and the pair keys of the rows."""

    keys: list[str]
    x: NDArray[np.float64]


def refresh_priorities(project_id: int) -> int:
    """Refresh the priorities of a project's open pairs; how many got one.

    Does nothing (0) before the first round, or with fewer than VOTES_BETWEEN new votes.
    """
    run = Run.objects.filter(project=project_id, stages__stage=PROPOSE).order_by("-id").first()
    if run is None:
        return 0
    features = load(run.directory / PROPOSE)
    votes = exchange.votes_on(
        run.project, features.keys, include_simulated=run.project.train_on_simulated
    )
    total = sum(count for _, count in votes.values())
    if not _claim(run, total):
        return 0
    open_keys = set(exchange.open_pair_keys(run.project))
    pending = exchange.leased_pair_keys(run.project)
    propose = round_settings(run).propose
    priorities = rank(features, votes, open_keys, propose, pending=pending, seed=total)
    exchange.set_priorities(run.project, priorities, acquisition=propose.acquisition)
    return len(priorities)


def rank(
    features: Features,
    votes: dict[str, tuple[float, int]],
    open_keys: set[str],
    config: ProposeConfig,
    *,
    seed: int,
    pending: frozenset[str] | set[str] = frozenset(),
) -> dict[str, float]:
    """Score open pairs by the acquisition of their round; higher is asked first.

    Until there are `config.cold_start_votes` the order is random, as it is in the round itself.

    Pairs in `pending` are being judged now: they count as answered, and keep their place.
    """
    voted = [row for row, key in enumerate(features.keys) if key in votes]
    pool = [row for row, key in enumerate(features.keys) if key in open_keys]
    if not pool:
        return {}
    answers = [votes[features.keys[row]] for row in voted]
    ranking = acquire.rerank(
        features.x[voted],
        np.array([fraction for fraction, _ in answers]),
        features.x[pool],
        np.ones(len(pool), dtype=bool),
        config,
        n=len(pool),
        seed=seed,
        pending=np.array([features.keys[row] in pending for row in pool], dtype=bool),
        weights=np.array([count for _, count in answers], dtype=np.float64),
    )
    return {
        features.keys[row]: float(score)
        for row, score in zip(pool, ranking.scores, strict=True)
        if np.isfinite(score)
    }


def load(folder: Path) -> Features:
    """Features that a round's last stage left: its pool and the pairs that had votes then."""
    parts = [
        (_keys(folder / "pool.jsonl"), np.load(folder / "features.npy")),
        (_keys(folder / "labelled.jsonl"), np.load(folder / "labelled.npy")),
    ]
    by_key = {
        key: row for keys, x in parts for key, row in zip(keys, np.asarray(x, float), strict=True)
    }
    return Features(keys=list(by_key), x=np.array(list(by_key.values())))


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
