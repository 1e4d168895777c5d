"""Accuracy, AUC and calibration of a reward model's pairwise predictions.

Numpy only. Everywhere `logits` are r_a - r_b, (n,), and `labels` are 1 where a is better, (n,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.rlhf.metrics.arrays import Floats, sigmoid

BINS = 10
NAN = float("nan")


def accuracy(logits: Floats, labels: Floats) -> float:
    """Share of pairs with the better side ahead; an exact draw counts half. NaN without pairs."""
    if not len(logits):
        return NAN
    right = np.where(logits == 0, 0.5, (logits > 0) == (labels > 0.5))
    return float(right.mean())


def auc(logits: Floats, labels: Floats) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties half. NaN with one class only."""
    positive = labels > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return NAN
    return float((_ranks(logits)[positive].sum() - n * (n + 1) / 2) / (n * m))


def pearson(x: Floats, y: Floats) -> float:
    """Correlation coefficient; NaN with fewer than two points, or where one does not vary."""
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):  # equal numbers may differ from their mean
        return NAN
    return float(np.mean((x - x.mean()) * (y - y.mean())) / (x.std() * y.std()))


def spearman(x: Floats, y: Floats) -> float:
    """Rank correlation, ties at their mean rank (Spearman 1904)."""
    return pearson(_ranks(x), _ranks(y))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def ece(logits: Floats, labels: Floats) -> float:
    """Expected calibration error of sigmoid(logit) in ten bins of equal width (Guo et al. 2017,
    arXiv 1706.04599): the mean of |predicted - observed| per bin, weighted by its pairs."""
    if not len(logits):
        return NAN
    p = sigmoid(logits)
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float((p[place == k] - labels[place == k]).sum()))
        for k in range(BINS)
        if (place == k).any()
    ]
    return float(sum(gaps) / len(logits))


def temperature(logits: Floats, labels: Floats) -> float:
    """T that minimises the log loss of sigmoid(logits / T), within [1/20, 20]; 1 without pairs."""
    if not len(logits):
        return 1.0

    def loss(log_t: float) -> float:
        z = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, z) - labels * z))

    # Golden section: the loss has one minimum in 1/T.
    low, high = -np.log(20.0), np.log(20.0)
    ratio = (np.sqrt(5.0) - 1) / 2
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if loss(a) < loss(b):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def cross_fitted_ece(logits: Floats, labels: Floats, groups: Sequence[str]) -> float:
    """ECE after temperature scaling, each half of the groups (prompts) scaled by the temperature of
    the other half, so that no pair is scaled by itself or its like. NaN with one group only."""
    place = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    if len(place) < 2:
        return NAN
    even = np.array([place[group] % 2 == 0 for group in groups])
    scaled = np.array(logits, dtype=np.float64)
    for half in (even, ~even):
        scaled[half] = logits[half] / temperature(logits[~half], labels[~half])
    return ece(scaled, labels)


def ece_noise(logits: Floats, *, draws: int = 200, seed: int = 0) -> float:
    """The ECE that a perfectly calibrated model of these predictions shows on as many pairs: labels
    are drawn from sigmoid(logit), each pair told both ways round, and the mean is taken over
    `draws`. What is measured says something only as far as it lies above. NaN without pairs."""
    if not len(logits):
        return NAN
    rng = np.random.default_rng([seed, 21])
    sure = np.abs(logits)  # whichever reply is called a
    drawn = rng.random((draws, len(logits))) < sigmoid(sure)
    return float(np.mean([ece(*both_ways(sure, labels.astype(float))) for labels in drawn]))


def both_ways(logits: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Every pair as (a, b) and as (b, a), (2n,) each.

    Which reply is a is no more than a name. `ece` and `auc` are measured on pairs told both ways
    round, or they would depend on it: were a always the better one, there would be no second class.
    """
    return np.concatenate([logits, -logits]), np.concatenate([labels, 1 - labels])
