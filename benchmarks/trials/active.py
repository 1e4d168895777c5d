"""Votes that active learning saves: the product's own head and acquisitions in planted worlds.

Each world has 4,000 prompts with four replies, 20,000 pairs with 64 features, a utility of which a
third is not linear in them, and twenty annotators, 15 % of whom click at random. A run asks for one
vote per pair, a batch of 100 at a time, as the queue does: at random until the head predicts votes
that it has not seen, then 10 % at random and the others by the acquisition. Accuracy is measured on
4,000 pairs of fresh prompts without noise. The figure is the number of votes after which a run is
as accurate as random order with the plain head is after 2,000; and how many times fewer votes than
random order with three votes a pair and their majority, to its accuracy at 3,000.

With `--presets=single,adaptive,consensus` instead how many times fewer votes each preset of votes
per pair needs than random order with two votes and a third, to its accuracy at 2,000.

Options: `--seeds=8 --acquisition=i-optimal --worlds=base,region,... --first=0 --plot=FILE`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Result
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig
from training.rlhf.metrics import svg_plots
from training.rlhf.metrics.arrays import Floats, sigmoid

D, TOPICS, PROMPTS, REPLIES, PAIRS, FRESH = 64, 40, 4000, 4, 20_000, 2000
PEOPLE, SPAMMERS, LAPSE = 20, 3, 0.03
BATCH, RANDOM_SHARE, COLD_START = 100, 0.1, 100
TARGET, MOST = 2000, 3100
MAJORITY_AT = 3000
"""Votes at which random order with three votes and their majority is compared."""
WORLDS = ("base", "region", "duplicates", "hidden", "heavy")
Curve = list[tuple[int, float]]


@dataclass
class World:
    """A pool of pairs, a set of fresh ones to measure on, and the people who vote."""

    x: Floats
    gap: Floats
    prompts: Floats
    fresh: Floats
    wanted: NDArray[np.bool_]
    reliability: Floats
    rng: np.random.Generator

    def vote(self, pair: int, but: Sequence[int] = ()) -> tuple[int, float]:
        """One vote on a pair by somebody who is not among `but`."""
        person = int(self.rng.choice([one for one in range(PEOPLE) if one not in but]))
        p = float(sigmoid(np.array(self.reliability[person] * self.gap[pair])))
        return person, float(self.rng.random() < (1 - 2 * LAPSE) * p + LAPSE)


def world(kind: str, seed: int) -> World:
    """The world of this kind: base; region, where 30 % of the pairs cannot be judged and their
    features show it; duplicates, where 30 % hardly differ; hidden, where 30 % cannot be judged and
    nothing shows it; heavy, where some replies have features far longer than others."""
    rng = np.random.default_rng([seed, 11])
    spectrum = np.arange(1, D + 1) ** -0.4
    spectrum /= np.sqrt((spectrum**2).mean())
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    centre = rng.normal(size=(TOPICS, D))
    mask = 0.35 + 1.3 * (rng.random((TOPICS, D)) < 0.35)
    zipf = 1 / np.arange(1, TOPICS + 1)
    zipf /= zipf.sum()
    linear = rng.normal(size=D) / np.sqrt(D)
    hidden, out = rng.normal(size=(D, 48)) / np.sqrt(D), rng.normal(size=48) / np.sqrt(48)

    def replies(topic: NDArray[np.int64]) -> tuple[Floats, Floats]:
        z = centre[topic] + 0.5 * rng.normal(size=(len(topic), D))
        noise = rng.normal(size=(len(topic), REPLIES, D)) * mask[topic][:, None, :]
        return ((0.4 * z[:, None, :] + noise) * spectrum) @ turn, z

    pool, z = replies(rng.choice(TOPICS, PROMPTS, p=zipf))
    half = rng.random(FRESH) < 0.5
    topics = np.where(half, rng.integers(TOPICS, size=FRESH), rng.choice(TOPICS, FRESH, p=zipf))
    fresh, _ = replies(topics)
    a, b = pool @ linear, np.tanh(1.5 * pool @ hidden) @ out
    scale = [(part[:, 0] - part[:, 1]).std() for part in (a, b)]

    def utility(e: Floats) -> Floats:
        straight, bent = e @ linear / scale[0], np.tanh(1.5 * e @ hidden) @ out / scale[1]
        return 2 * (np.sqrt(0.65) * straight + np.sqrt(0.35) * bent)  # type: ignore[no-any-return]

    every = [(p, i, j) for p in range(PROMPTS) for i in range(REPLIES) for j in range(i)]
    chosen = np.array(every)[rng.permutation(len(every))[:PAIRS]]
    p, i, j = chosen.T
    asked = np.concatenate([np.arange(FRESH), np.arange(FRESH)])
    sides = np.array([rng.permutation(REPLIES)[:2] for _ in asked])
    of_pool, of_fresh = utility(pool), utility(fresh)
    gap = of_pool[p, i] - of_pool[p, j]
    wanted = of_fresh[asked, sides[:, 0]] > of_fresh[asked, sides[:, 1]]
    if kind == "heavy":
        # The product's own normalisation stands between the replies' features and the head.
        tail = np.exp(1.2 * rng.normal(size=(PROMPTS + FRESH, REPLIES, 1)))
        both = np.concatenate([pool, fresh]) * tail
        flat = acquire.normalise(both.reshape(-1, D), dims=D)
        both = flat.reshape(both.shape)
        pool, fresh = both[:PROMPTS], both[PROMPTS:]
    x = pool[p, i] - pool[p, j]
    held = fresh[asked, sides[:, 0]] - fresh[asked, sides[:, 1]]
    unit = np.sqrt((x * x).mean())
    x, held = x / unit, held / unit
    some = rng.random(PAIRS) < 0.3
    if kind == "duplicates":
        x[some] *= 0.03
        gap = np.where(some, 0.03 * gap, gap)
    if kind in ("hidden", "region"):
        gap = np.where(some, 0.0, gap)
    if kind == "region":
        base = np.linalg.qr(rng.normal(size=(D, 12)))[0]
        length = np.linalg.norm(x[some], axis=1, keepdims=True)
        moved = 0.15 * x[some] + rng.normal(size=(int(some.sum()), 12)) @ base.T
        x[some] = moved * length / np.linalg.norm(moved, axis=1, keepdims=True)
    reliability = np.exp(0.35 * rng.normal(size=PEOPLE))
    reliability[:SPAMMERS] = 0.05
    return World(x, gap, z[p], held, wanted, reliability, np.random.default_rng([seed, 12]))


@dataclass
class Asked:
    """The votes so far."""

    pairs: list[int]
    people: list[int]
    values: list[float]

    def votes(self, places: dict[int, int]) -> acquire.Votes:
        """The votes, of pairs by their places."""
        rows = np.array([places[pair] for pair in self.pairs])
        return acquire.Votes(rows, np.array(self.people), np.array(self.values))


PRESETS = ("single", "adaptive", "consensus")
"""Votes per pair: one; one, and another where the ranking picks the pair again; two and a third."""
OVERLAP = 0.15


def active(of: World, acquisition: str, seed: int, preset: str = "single") -> Curve:
    """Accuracy by votes of the queue as it ships, people known, by a preset of votes per pair.

    Under `adaptive` 15 % of the pairs that are drawn at random get two votes whatever they say,
    and no pair gets more than three.
    """
    config, rng = ProposeConfig(acquisition=acquisition), np.random.default_rng([seed, 13])
    free, asked, ranked = np.ones(PAIRS, dtype=bool), Asked([], [], []), False
    precision, curve = acquire.prior_precision(of.x), list[tuple[int, float]]()
    pool = of.x.astype(np.float16)
    head: acquire.Head | None = None
    # Pairs that measure are drawn at random alone, and nobody draws a pair a second time.
    measures = np.random.default_rng([seed, 14]).random(PAIRS) < OVERLAP * (preset == "adaptive")
    new = free.copy()
    voters: dict[int, list[int]] = {}
    while len(asked.pairs) < MOST:
        drawn = rng.permutation(np.flatnonzero(new))
        batch = drawn[:BATCH]
        if ranked and head is not None:
            ranking = acquire.rank(
                head, pool, free & ~measures, config, n=BATCH, seed=len(asked.pairs),
                prompts=of.prompts, asked=of.prompts[asked.pairs],
            )  # fmt: skip
            some = int((rng.random(BATCH) < RANDOM_SHARE).sum())
            best = [one for one in ranking.order if one not in set(drawn[:some])]
            batch = np.concatenate([drawn[:some], best[: BATCH - some]]).astype(np.int64)
        for pair in batch:
            others = voters.setdefault(int(pair), [])
            most = 1
            if preset == "consensus" or measures[pair]:
                most = 2
            cast: list[float] = []
            while len(cast) < most:
                person, value = of.vote(int(pair), others)
                others.append(person)
                cast.append(value)
                asked.pairs.append(int(pair))
                asked.people.append(person)
                asked.values.append(value)
                if preset == "consensus" and len(cast) == 2 and cast[0] != cast[1]:
                    most = 3
            new[pair] = False
            free[pair] = preset == "adaptive" and len(others) < 3
        places = {pair: place for place, pair in enumerate(dict.fromkeys(asked.pairs))}
        x, votes = of.x[list(places)], asked.votes(places)
        start = None if head is None else head.mean
        head, _, share = acquire.fit_with_people(
            x, votes, people=PEOPLE, precision=precision, start=start
        )
        if not ranked and len(asked.pairs) >= COLD_START:
            ranked = acquire.predicts(x, votes, precision=precision, weights=share)
        curve.append((len(asked.pairs), accuracy(of, head)))
    return curve


def at_random(
    of: World, seed: int, *, each: int = 1, majority: bool = False, third: bool = False, most: int
) -> Curve:
    """Accuracy by votes of random order with the plain head: `each` votes a pair, with `third` one
    more where they differ, as they are or their majority."""
    order = np.random.default_rng([seed, 13]).permutation(PAIRS)
    precision, curve, votes = acquire.prior_precision(of.x), list[tuple[int, float]](), 0
    pairs, shares, masses, start = list[int](), list[float](), list[float](), None
    for pair in order:
        cast: list[float] = []
        people: list[int] = []
        while len(cast) < each or (third and len(cast) == each and len(set(cast)) > 1):
            person, value = of.vote(int(pair), people)
            people.append(person)
            cast.append(value)
        votes += len(cast)
        masses.append(1.0 if majority else len(cast))
        pairs.append(int(pair))
        mean = float(np.mean(cast))
        shares.append(float(mean > 0.5) if majority else mean)
        if votes // BATCH > (votes - len(cast)) // BATCH:
            mass = np.array(masses)
            head = acquire.fit(
                of.x[pairs], np.array(shares), precision=precision, weights=mass, start=start
            )
            start = head.mean
            curve.append((votes, accuracy(of, head)))
        if votes >= most:
            return curve
    return curve


def accuracy(of: World, head: acquire.Head) -> float:
    return float(((of.fresh @ head.mean > 0) == of.wanted).mean())


def smoothed(curve: Curve) -> Curve:
    """Means of three points in a row."""
    values = [value for _, value in curve]
    means = [float(np.mean(values[max(i - 1, 0) : i + 2])) for i in range(len(values))]
    return [(votes, mean) for (votes, _), mean in zip(curve, means, strict=True)]


def reached(curve: Curve, level: float) -> float:
    """Votes at which a smoothed curve is as high for the first time; its end if never."""
    before = (0, 0.5)
    for votes, value in smoothed(curve):
        if value >= level:
            share = (level - before[1]) / max(value - before[1], 1e-9)
            return before[0] + share * (votes - before[0])
        before = (votes, value)
    return float(curve[-1][0])


def at(curve: Curve, votes: int) -> float:
    return float(np.interp(votes, *zip(*smoothed(curve), strict=True)))


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over seeds."""
    rng, each = np.random.default_rng(0), np.array(values)
    means = each[rng.integers(len(each), size=(4000, len(each)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def options(arguments: list[str]) -> dict[str, str]:
    return dict(one[2:].split("=", 1) for one in arguments)


def measured(kind: str, seed: int, acquisition: str, presets: Sequence[str]) -> dict[str, float]:
    """Votes of one seed; with presets, how many times fewer each needs than random order with two
    votes and a third, to its accuracy at 2,000."""
    if presets:
        usual = at_random(world(kind, seed), seed, each=2, third=True, most=MOST)
        level, told = at(usual, TARGET), dict[str, float]()
        for preset in presets:
            curve = active(world(kind, seed), acquisition, seed, preset)
            told[f"{kind}_{preset}_times_fewer"] = TARGET / reached(curve, level)
        return told
    plain = at_random(world(kind, seed), seed, most=MOST)
    curve = active(world(kind, seed), acquisition, seed)
    told = {f"{kind}_votes": reached(curve, at(plain, TARGET))}
    told[f"{kind}_gain_at_1000"] = 100 * (at(curve, 1000) - at(plain, 1000))
    told[f"{kind}_gain_at_2000"] = 100 * (at(curve, TARGET) - at(plain, TARGET))
    if kind == "base":
        three = at_random(world(kind, seed), seed, each=3, majority=True, most=MAJORITY_AT + 200)
        told["times_fewer_than_majority"] = MAJORITY_AT / reached(curve, at(three, MAJORITY_AT))
    return told


def benchmark(arguments: list[str]) -> Result:
    asked = options(arguments)
    first, seeds = int(asked.get("first", 0)), int(asked.get("seeds", 8))
    acquisition = asked.get("acquisition", ProposeConfig().acquisition)
    presets = [one for one in asked.get("presets", "").split(",") if one]
    result = Result()
    for kind in asked.get("worlds", ",".join(WORLDS)).split(","):
        runs = []
        for seed in range(first, first + seeds):
            runs.append(measured(kind, seed, acquisition, presets))
            print(kind, seed, json.dumps(runs[-1]), flush=True)
        for name in runs[0]:
            values = [one[name] for one in runs]
            result.figures[name] = float(np.mean(values))
            result.intervals[name] = bootstrap(values)
    if "plot" in asked:
        plot(result, Path(asked["plot"]))
    return result


def plot(result: Result, file: Path) -> None:
    """Votes of each world with their interval, as an SVG."""
    named = [
        (kind, {"value": result.figures[name], "low": low, "high": high})
        for kind in WORLDS
        if (name := f"{kind}_votes") in result.figures
        for low, high in [result.intervals[name]]
    ]
    file.write_text(svg_plots.intervals("Votes to random's accuracy at 2,000", named), "utf-8")
