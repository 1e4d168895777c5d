"""The report on active learning that the page reads: forecast, coverage, and the pool as a map.

Counted by the worker after it has ranked the pairs, never in a web request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotate import exchange
from training.active import learning_forecast
from training.active.learning_forecast import Evidence
from training.active.learnt_head import Features, Learnt, Vote
from training.models import ActiveState, Run
from training.rlhf import acquire

MOST_DOTS = 250
"""Of each kind on the map."""
NEXT = 25
"""Pairs that the map shows as asked next."""
MOST_TAGS = 30
EXPLAINED = 200
"""Pairs, the next ones, of which the head's opinion is kept for their pages."""

Floats = NDArray[np.float64]


def write_report(
    run: Run,
    features: Features,
    learnt: Learnt,
    *,
    votes: Sequence[Vote],
    arms: Sequence[exchange.ArmVote],
    priorities: Mapping[str, float],
    seed: int,
) -> None:
    """Count the report anew and store it.

    Args:
        votes: all single votes on pairs with features, of held-out prompts too.
        arms: the arm of each vote of the project.
        priorities: of the open pairs, by which the next ones are known.
    """
    project = run.project
    leased = {(row[0], row[1]): row[2:] for row in arms}
    told: dict[str, Any] = {
        "active_votes": sum(row[3] == "active" for row in arms),
        "coverage": exchange.vote_coverage(
            project, [(row[2], row[3]) for row in arms], most_tags=MOST_TAGS
        ),
        "map": pool_map(features, learnt, {row[0] for row in arms}, priorities),
    }
    evidence = _evidence(features, learnt, votes, leased)
    if learnt.head is not None:
        told["next"] = _surely(features, learnt.head, priorities)
    told["lacking"] = learning_forecast.lacking(evidence)
    precision = acquire.prior_precision(evidence.x)
    forecast = learning_forecast.forecast(evidence, precision=precision, seed=seed)
    told["forecast"] = asdict(forecast) if forecast else None
    ActiveState.objects.filter(project=project).update(report=told)


def _surely(
    features: Features, head: acquire.Head, priorities: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Probability of A and standard deviation of the log-odds of the pairs that come next."""
    rows = features.rows
    ranked = [key for key in priorities if priorities[key] > 0 and key in rows]
    ranked = sorted(ranked, key=lambda key: -priorities[key])[:EXPLAINED]
    x = features.x[[rows[key] for key in ranked]].astype(np.float64)
    deviation = np.sqrt(head.logit(x)[1])
    values = zip(acquire.probability(head, x).tolist(), deviation.tolist(), strict=True)
    return dict(zip(ranked, values, strict=True))


def _evidence(
    features: Features,
    learnt: Learnt,
    votes: Sequence[Vote],
    leased: Mapping[tuple[str, int], tuple[int, str, str]],
) -> Evidence:
    """Votes that teach, and those that heads are scored on."""
    rows, x = features.rows, features.x
    cast = learnt.cast or [
        vote for vote in votes if vote[0] in rows and np.isfinite(x[rows[vote[0]]]).all()
    ]
    weight = learnt.weight if learnt.cast else np.array([vote[3] for vote in cast])
    known = [leased.get(vote[:2], (0, "", "")) for vote in cast]
    held_x, held = _held_out(features, votes)
    return Evidence(
        x=x[[rows[vote[0]] for vote in cast]].astype(np.float64),
        value=np.array([vote[2] for vote in cast], dtype=np.float64),
        weight=weight,
        prompt=np.array([prompt for prompt, _, _ in known], dtype=np.int64),
        random=np.array([arm == "random" for _, arm, _ in known], dtype=bool),
        held_x=held_x,
        held_value=np.array([vote[2] for vote in held], dtype=np.float64),
        held_prompt=np.array(
            [leased.get(vote[:2], (0, "", ""))[0] for vote in held], dtype=np.int64
        ),
    )


def _held_out(features: Features, votes: Sequence[Vote]) -> tuple[Floats, list[Vote]]:
    """Votes on pairs of held-out prompts, and the features of their pairs."""
    measuring = features.measuring
    if measuring is None:
        return np.zeros((0, features.x.shape[1])), []
    finite = np.asarray(np.isfinite(measuring.x).all(axis=1))
    rows = {key: row for row, key in enumerate(measuring.keys) if finite[row]}
    held = [vote for vote in votes if vote[0] in rows]
    return measuring.x[[rows[vote[0]] for vote in held]].astype(np.float64), held


def pool_map(
    features: Features, learnt: Learnt, voted: set[str], priorities: Mapping[str, float]
) -> dict[str, list[list[float]]]:
    """Points of pairs by kind, "voted", "open" and "next": the two principal directions of the
    features. A pair points from the reply that the head likes less to the other; before there is a
    head, to the side of the first direction."""
    finite = np.asarray(np.isfinite(features.x).all(axis=1))
    ranked = sorted(
        (key for key in priorities if priorities[key] > 0), key=lambda k: -priorities[k]
    )
    following = set(ranked[:NEXT])
    kinds: dict[str, list[int]] = {"voted": [], "open": [], "next": []}
    for row, key in enumerate(features.keys):
        if not finite[row]:
            continue
        if key in following:
            kinds["next"].append(row)
        elif key in voted:
            kinds["voted"].append(row)
        elif key in priorities:
            kinds["open"].append(row)
    kept = {kind: rows[:: -(-len(rows) // MOST_DOTS) or 1] for kind, rows in kinds.items()}
    every = [row for rows in kept.values() for row in rows]
    if len(every) < 3:
        return {kind: [] for kind in kinds}
    x = features.x[every].astype(np.float64)
    if learnt.head is not None:
        x = x * np.where(x @ learnt.head.mean < 0, -1.0, 1.0)[:, None]
    _, vectors = np.linalg.eigh(x.T @ x)
    flat = x @ vectors[:, ::-1][:, :2]
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 1)))
    if learnt.head is None:
        flat = flat * np.where(flat[:, :1] < 0, -1.0, 1.0)
    points = iter(np.round(flat, 4).tolist())
    return {kind: [next(points) for _ in rows] for kind, rows in kept.items()}
