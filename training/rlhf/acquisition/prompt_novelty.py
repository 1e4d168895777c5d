"""Uncertain pairs of prompts that are unlike those asked about before."""

from __future__ import annotations

import numpy as np

from training.rlhf.acquisition.candidates import Batch, Candidates
from training.rlhf.acquisition.uncertainty import bald
from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.pair_features import ROWS_AT_ONCE
from training.rlhf.metrics.preference_head import Head

NEIGHBOUR = 5
"""The prompt asked about that a candidate's distance is measured to, in the order of nearness."""


def bal_pm(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """BALD times the distance to the fifth nearest prompt that was asked about: what is unknown,
    on prompts that are new (Melo et al. 2024, arXiv 2406.10023, whose entropy of the acquired
    prompts is estimated by nearest neighbours). Greedy: each pick counts as asked about.

    Without features of prompts, the direction of x stands for them, whichever side is called A.
    """
    known = bald(pairs, head, n=0, rng=rng)
    places = directions(pairs.x) if pairs.prompts is None else pairs.prompts
    asked = np.zeros((0, places.shape[1])) if pairs.asked is None else pairs.asked
    if len(asked) and asked.shape[1] == pairs.x.shape[1] and pairs.prompts is None:
        asked = directions(asked)
    both_ways = pairs.prompts is None
    near = np.full((len(places), NEIGHBOUR), 2.0)
    for start in range(0, len(asked), ROWS_AT_ONCE):
        far = _distances(places, asked[start : start + ROWS_AT_ONCE], both_ways)
        near = np.sort(np.concatenate([near, far], axis=1), axis=1)[:, :NEIGHBOUR]
    batch = Batch(len(places))
    for _ in range(n):
        pick = batch.take(known * near[:, -1])
        far = _distances(places, places[pick : pick + 1], both_ways)
        near = np.sort(np.concatenate([near, far], axis=1), axis=1)[:, :NEIGHBOUR]
    return batch.scores(known * near[:, -1])


def directions(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    out: Floats = x / np.where(length > 1e-12, length, 1.0)
    return out


def _distances(one: Floats, other: Floats, both_ways: bool) -> Floats:
    """Between unit vectors, (p, m); of a vector and its opposite 0, where sides mean nothing."""
    alike = one @ other.T
    alike = np.abs(alike) if both_ways else alike
    return np.sqrt(np.maximum(2 - 2 * alike, 0))
