"""AI annotators: the human votes that they save, and how soon a tag that they are wrong on shows.

Accuracy: in the world `base` of `active` people vote as the queue asks them, one vote per pair. A
judge names the reply that people prefer eight times in ten and votes on 4,000 pairs drawn at
random. The preference model learns from half of the human votes and the judge's, weighed as the
product weighs them by agreement on the random share; beside it one from all human votes, and one
from half of them alone. `random` judges err at random; `taste` judges err by a taste of their own,
which the features show, so that a model can learn it.

Tags: three prompts in ten have a tag on which the judge is right three times in ten, and eight
times in ten elsewhere, among four other tags. How often it is flagged by the labels of 100 human
votes of the random share: with one vote per pair, and with two and a third (2.27 votes a label).
Without such a tag, how often any is flagged by 1,280 labels.

Options: `--seeds=8 --runs=1000 --votes=1000`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotate.statistics import tag_errors
from annotate.statistics.tag_errors import Observed
from annotate.statistics.wilson_interval import wilson
from benchmarks.result import Result
from benchmarks.trials import active
from benchmarks.trials.active import PAIRS, World
from training.rlhf import acquire
from training.rlhf.metrics.arrays import Floats

JUDGED, RIGHT = 4000, 0.8
"""Pairs that the judge votes on, and the share on which it names the better reply."""
WRONG, SHARE = 0.3, 0.3
"""The share it is right on where it is wrong, and the share of prompts that have this tag."""
OTHERS = {"common": 0.4, "usual": 0.2, "some": 0.1, "rare": 0.05}
VOTES_PER_LABEL = 2.27
"""Of two votes and a third where they differ, at an agreement of 72.6 %."""
LATE = 1280
JUDGES = ("random", "taste")
Cast = list[tuple[int, int, float]]
"""Votes: pair, person, value."""


def judge(of: World, kind: str, seed: int) -> NDArray[np.bool_]:
    """For every pair whether the judge prefers the first reply, right on RIGHT of them."""
    rng, better = np.random.default_rng([seed, 21]), of.gap > 0
    if kind == "random":
        wrong = rng.random(PAIRS) > RIGHT
        return better ^ wrong
    taste = of.x @ rng.normal(size=of.x.shape[1])
    taste *= of.gap.std() / taste.std()
    low, high = 0.0, 20.0
    for _ in range(40):  # the weight of the taste at which it is right as often as it shall be
        middle = (low + high) / 2
        right = float(((of.gap + middle * taste > 0) == better).mean())
        low, high = (middle, high) if right > RIGHT else (low, middle)
    told: NDArray[np.bool_] = of.gap + high * taste > 0
    return told


def people(of: World, seed: int, votes: int) -> tuple[Cast, set[int]]:
    """Human votes in the order of the queue, and the pairs that it drew at random."""
    cast: Cast = []
    at_random: set[int] = set()
    rng = np.random.default_rng([seed, 13])
    free = np.ones(PAIRS, dtype=bool)
    pool, head = of.x.astype(np.float16), None
    config = active.ProposeConfig()
    while len(cast) < votes:
        drawn = rng.permutation(np.flatnonzero(free))
        batch, some = drawn[: active.BATCH], active.BATCH
        if head is not None:
            some = int((rng.random(active.BATCH) < active.RANDOM_SHARE).sum())
            ranking = acquire.rank(
                head, pool, free, config, n=active.BATCH, seed=len(cast), prompts=of.prompts,
                asked=of.prompts[[pair for pair, _, _ in cast]],
            )  # fmt: skip
            best = [one for one in ranking.order if one not in set(drawn[:some])]
            batch = np.concatenate([drawn[:some], best[: active.BATCH - some]]).astype(np.int64)
        at_random |= {int(pair) for pair in batch[:some]}
        cast += [(int(pair), *of.vote(int(pair))) for pair in batch]
        free[batch] = False
        head = learnt(of, cast)[0]
    return cast, at_random


def learnt(of: World, cast: Cast) -> tuple[acquire.Head, Floats]:
    """The head of these human votes, and the share of each that is no guess."""
    pairs, who, values = zip(*cast, strict=True)
    votes = acquire.Votes(np.arange(len(cast)), np.array(who), np.array(values))
    x, precision = of.x[list(pairs)], acquire.prior_precision(of.x)
    head, _, share = acquire.fit_with_people(x, votes, people=active.PEOPLE, precision=precision)
    return head, share


def with_judge(
    of: World, cast: Cast, at_random: set[int], told: NDArray[np.bool_], seed: int
) -> acquire.Head:
    """The head of these votes and the judge's, weighed by its agreement on the random share."""
    compared = [(told[pair], value) for pair, _, value in cast if pair in at_random]
    same = sum(bool(said) == (value > 0.5) for said, value in compared)
    interval = wilson(same, len(compared))
    trust = 2 * same / len(compared) - 1 if interval and interval[0] > 0.5 else 0.0
    _, share = learnt(of, cast)
    # The product divides by the mean trust in people; shares of votes are on that scale already.
    rng = np.random.default_rng([seed, 22])
    more = rng.permutation(PAIRS)[:JUDGED]
    pairs = [pair for pair, _, _ in cast] + more.tolist()
    values = [value for _, _, value in cast] + told[more].astype(np.float64).tolist()
    weights = np.concatenate([share, np.full(JUDGED, trust)])
    precision = acquire.prior_precision(of.x)
    return acquire.fit(of.x[pairs], np.array(values), precision=precision, weights=weights)


def accuracies(seed: int, votes: int) -> dict[str, float]:
    """Accuracy on fresh pairs of each preference model."""
    of = active.world("base", seed)
    cast, at_random = people(of, seed, votes)
    half = cast[: votes // 2]
    told = {
        "all human votes": active.accuracy(of, learnt(of, cast)[0]),
        "half": active.accuracy(of, learnt(of, half)[0]),
    }
    for kind in JUDGES:
        votes_of_judge = judge(of, kind, seed)
        head = with_judge(of, half, at_random, votes_of_judge, seed)
        told[f"half and judge, {kind}"] = active.accuracy(of, head)
    return told


def labels(n: int, rng: np.random.Generator, *, inside: float) -> list[Observed]:
    """Labels of as many prompts: the tags of each, and whether the judge agrees."""
    shares = {"wrong": SHARE, **OTHERS}
    drawn = rng.random((n, len(shares))) < np.array(list(shares.values()))
    right = rng.random(n) < np.where(drawn[:, 0], inside, RIGHT)
    names = np.array(list(shares))
    return [(names[row].tolist(), bool(one)) for row, one in zip(drawn, right, strict=True)]


def flagged(n: int, runs: int, *, inside: float, tag: str = "") -> float:
    """The share of runs in which this tag, or any, is flagged."""
    rng = np.random.default_rng([n, 23])
    hits = 0
    for _ in range(runs):
        tags = tag_errors.wrong_tags(labels(n, rng, inside=inside))
        hits += tag in tags if tag else bool(tags)
    return hits / runs


def mean_and_interval(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The mean with a bootstrap interval over seeds."""
    return float(np.mean(values)), active.bootstrap(values)


def benchmark(arguments: list[str]) -> Result:
    given = dict(one.removeprefix("--").split("=", 1) for one in arguments)
    seeds, runs = int(given.get("seeds", 8)), int(given.get("runs", 1000))
    votes = int(given.get("votes", 1000))
    result = Result()
    each = []
    for seed in range(seeds):
        each.append(accuracies(seed, votes))
        print(f"seed {seed}: {each[-1]}", flush=True)
    for name in each[0]:
        key = f"accuracy, {name}"
        result.figures[key], result.intervals[key] = mean_and_interval([one[name] for one in each])
    for kind in JUDGES:
        name, key = f"half and judge, {kind}", f"gain over all human votes, {kind}"
        gains = [one[name] - one["all human votes"] for one in each]
        result.figures[key], result.intervals[key] = mean_and_interval(gains)
    few = round(100 / VOTES_PER_LABEL)
    shares = {
        "wrong tag flagged by 100 votes, one a pair": flagged(100, runs, inside=WRONG, tag="wrong"),
        "wrong tag flagged by 100 votes, two and a third": flagged(
            few, runs, inside=WRONG, tag="wrong"
        ),
        "wrong tag flagged by 200 votes, two and a third": flagged(
            2 * few, runs, inside=WRONG, tag="wrong"
        ),
        f"any tag flagged by {LATE} labels, none wrong": flagged(LATE, runs, inside=RIGHT),
    }
    for key, share in shares.items():
        result.figures[key] = share
        result.intervals[key] = wilson(share * runs, runs) or (0.0, 1.0)
    return result
