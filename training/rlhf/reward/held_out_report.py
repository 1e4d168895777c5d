"""Accuracy and calibration of a reward model on pairs and ratings it has not learnt from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.rlhf.data import soft_labels
from training.rlhf.metrics import calibration, intervals
from training.rlhf.metrics.arrays import Floats
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.rows import Preference, Rating

STRENGTHS = {"slight": 0.5, "clear": 0.84}
"""Pairs up to this |mean signed strength| / rows.MAX_STRENGTH are so called; the others are `much`.
The bounds lie halfway between the answers slightly, clearly and much."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions for the held-out pairs with votes: what an honest accuracy is measured on."""

    pair_ids: list[str]
    prompt_ids: list[str]
    rewards: Floats
    """(n, 2): of a and of b."""
    lengths: Floats
    """(n, 2): tokens of the replies."""
    labels: list[str | None]
    """The side most votes are for; None for a draw."""
    strengths: Floats
    """(n,): |mean signed strength| / rows.MAX_STRENGTH of the votes."""
    truncated: int
    """Pairs that lost tokens to the maximum length."""

    @property
    def logits(self) -> Floats:
        differences: Floats = self.rewards[:, 0] - self.rewards[:, 1]
        return differences

    def metrics(self) -> dict[str, float]:
        """accuracy with accuracy_low and accuracy_high (95 %, clustered by prompt), auc, ece (after
        cross-fitted temperature scaling), ece_noise (what a perfect model shows on as many pairs),
        ece_raw, temperature, pairs_held_out, ties_held_out and truncated_held_out, with
        `by_strength` and `by_length`. Draws are counted and left out of the rest; no figure depends
        on which reply is called a."""
        decided = np.array([label is not None for label in self.labels], dtype=bool)
        logits = self.logits[decided]
        labels = np.array([float(label == "a") for label in self.labels if label is not None])
        prompts = [p for p, label in zip(self.prompt_ids, self.labels, strict=True) if label]
        both = calibration.both_ways(logits, labels)
        temperature = calibration.temperature(logits, labels)
        right = np.where(logits == 0, 0.5, (logits > 0) == (labels > 0.5))
        low, high = intervals.clustered_share(right.tolist(), prompts)
        return {
            "accuracy": calibration.accuracy(logits, labels),
            "accuracy_low": low,
            "accuracy_high": high,
            "auc": calibration.auc(*both),
            "ece": calibration.cross_fitted_ece(*both, prompts * 2),
            "ece_noise": calibration.ece_noise(logits / temperature),
            "ece_raw": calibration.ece(*both),
            "temperature": temperature,
            "pairs_held_out": float(len(logits)),
            "ties_held_out": float((~decided).sum()),
            "truncated_held_out": float(self.truncated),
            **by_strength(logits, labels, self.strengths[decided]),
            **by_length(logits, labels, self.rewards, self.lengths, decided),
        }


def joined(parts: Sequence[HeldOut]) -> HeldOut:
    """Predictions of several models, each for pairs of its own, as if they were of one."""
    return HeldOut(
        pair_ids=[one for part in parts for one in part.pair_ids],
        prompt_ids=[one for part in parts for one in part.prompt_ids],
        rewards=np.concatenate([part.rewards for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        labels=[one for part in parts for one in part.labels],
        strengths=np.concatenate([part.strengths for part in parts]),
        truncated=sum(part.truncated for part in parts),
    )


def by_strength(logits: Floats, labels: Floats, strengths: Floats) -> dict[str, float]:
    """accuracy_slight, accuracy_clear, accuracy_much and pairs_slight ..., where there are any."""
    names = np.full(len(logits), "much", dtype=object)
    for name, bound in reversed(STRENGTHS.items()):
        names[strengths <= bound] = name
    metrics: dict[str, float] = {}
    for name in (*STRENGTHS, "much"):
        inside = names == name
        if inside.any():
            metrics[f"accuracy_{name}"] = calibration.accuracy(logits[inside], labels[inside])
            metrics[f"pairs_{name}"] = float(inside.sum())
    return metrics


def by_length(
    logits: Floats, labels: Floats, rewards: Floats, lengths: Floats, decided: Floats
) -> dict[str, float]:
    """length_correlation (Spearman, of reward and tokens over all replies), and the accuracy where
    people preferred the shorter and the longer reply: a model that only counts words is right on
    the second and wrong on the first (Singhal et al. 2023, arXiv 2310.03716)."""
    longer = np.sign(lengths[decided, 0] - lengths[decided, 1]) * np.where(labels > 0.5, 1, -1)
    metrics = {"length_correlation": calibration.spearman(rewards.ravel(), lengths.ravel())}
    for name, side in (("shorter", -1), ("longer", 1)):
        inside = longer == side
        if inside.any():
            metrics[f"accuracy_{name}_preferred"] = calibration.accuracy(
                logits[inside], labels[inside]
            )
            metrics[f"pairs_{name}_preferred"] = float(inside.sum())
    return metrics


def held_out(model: RewardModel, preferences: Iterable[Preference]) -> HeldOut:
    """Score the held-out pairs with votes. Evaluation pairs are not among them: they compare
    policies, and their texts are easier to tell apart."""
    pairs = [row for row in preferences if row.held_out and row.votes and row.kind != "evaluation"]
    texts = [
        model.read(row.messages, text)
        for row in pairs
        for text in (row.completion_a, row.completion_b)
    ]
    scores = model.in_batches(texts, model.forward, batch_size=64).double().numpy()
    labels = [soft_labels.label(row) for row in pairs]
    return HeldOut(
        pair_ids=[row.pair_id for row in pairs],
        prompt_ids=[row.prompt_id for row in pairs],
        rewards=scores.reshape(-1, 2),
        lengths=np.array([text.reply for text in texts], dtype=np.float64).reshape(-1, 2),
        labels=[soft_labels.verdict(row) for row in pairs],
        strengths=np.array([abs(label.strength) if label else 0.0 for label in labels]),
        truncated=sum(a.cut + b.cut > 0 for a, b in zip(texts[0::2], texts[1::2], strict=True)),
    )


def held_out_ratings(model: RewardModel, ratings: Iterable[Rating]) -> dict[str, float]:
    """rmse in the ratings' own unit, pearson, spearman, and the accuracy on every two replies to
    one prompt with different ratings (pairs_held_out of them)."""
    replies = [row for row in ratings if row.held_out]
    config = model.classifier.config
    scores = np.array(model.score([r.messages for r in replies], [r.completion for r in replies]))
    told = np.array([row.score for row in replies])
    predicted = scores * config.reward_deviation + config.reward_mean
    i, j = _same_prompt(replies)
    kept = told[i] != told[j]
    logits, labels = (scores[i] - scores[j])[kept], (told[i] > told[j])[kept].astype(float)
    return {
        "accuracy": calibration.accuracy(logits, labels),
        "rmse": float(np.sqrt(np.mean((predicted - told) ** 2)))
        if len(replies)
        else calibration.NAN,
        "pearson": calibration.pearson(scores, told),
        "spearman": calibration.spearman(scores, told),
        "ratings_held_out": float(len(replies)),
        "pairs_held_out": float(len(logits)),
    }


def _same_prompt(ratings: Iterable[Rating]) -> npt.NDArray[np.int64]:
    """(2, n): the places of every two replies to one prompt."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(ratings):
        places.setdefault(row.prompt_id, []).append(place)
    pairs = [two for alike in places.values() for two in itertools.combinations(alike, 2)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T
