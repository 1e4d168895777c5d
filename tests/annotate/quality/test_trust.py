"""Votes weighted by trust, measured against the rubric that simulated colleagues vote by."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from annotate.sample import made_up_texts, rubric
from annotate.sample.colleagues import colleague
from annotate.statistics import aggregation

PAIRS, PEOPLE, VOTES = 200, 8, 3


def world(seed: int, *, careless: int):
    """Votes of (item, worker, class, B on the left), and which of the pairs A really wins."""
    rng = random.Random(seed)
    people = [colleague(i, seed=seed) for i in range(PEOPLE)]
    people[:careless] = [dataclasses.replace(one, lapse=0.7) for one in people[:careless]]
    chats = [row["messages"] for row in made_up_texts.corpus(300, seed=seed)]
    votes, wins = [], []
    while len(wins) < PAIRS:
        chat, other = rng.choice(chats), rng.choice(chats)
        prompt, a, b = chat[:-1], chat[-1]["content"], other[-1]["content"]
        if rng.random() < 0.5:
            a, b = b, a
        difference = rubric.prefers(prompt, a, b)
        if not difference:
            continue
        for worker in rng.sample(range(PEOPLE), VOTES):
            flipped = rng.random() < 0.5
            sides = (b, a) if flipped else (a, b)
            said, _ = people[worker].judge(prompt, *sides, rng=rng)
            left = 2 if flipped else 0
            choice = {"left": left, "right": 2 - left}.get(said, 1)
            votes.append((len(wins), worker, choice, flipped))
        wins.append(difference > 0)
    return np.array(votes), np.array(wins)


def log_loss(value, wins) -> float:
    p = np.clip(np.where(wins, value, 1 - value), 0.01, 0.99)
    return float(-np.log(p).mean())


@pytest.mark.parametrize("careless", [0, 2, 4])
def test_labels_by_trust_are_never_worse_than_the_majority(careless):
    losses = []
    for seed in range(3):
        votes, wins = world(seed, careless=careless)
        item, worker, choice = votes[:, 0], votes[:, 1], votes[:, 2]
        found = aggregation.preferences(
            item, worker, choice, votes[:, 3] == 1, items=PAIRS, workers=PEOPLE
        )
        weight = np.maximum(2 * found.reliability - 1, 0.05)[worker]
        trusted = np.bincount(item, weight * (2 - choice) / 2) / np.bincount(item, weight)
        winner = aggregation.majority(item, choice, items=PAIRS, classes=3)
        majority = np.where(winner < 0, 0.5, (2 - winner) / 2)
        losses.append((log_loss(trusted, wins), log_loss(majority, wins)))
    trusted, simple = np.mean(losses, axis=0)
    assert trusted < simple
