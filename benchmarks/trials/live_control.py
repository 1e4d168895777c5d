"""The live control of active learning: how often it sees a planted gain, a loss, and nothing.

Each run has a pool in which some pairs are near-duplicates, an active arm that meets fewer of them
(gain), more (loss), or as many as random order does (none), and the queue's shares: 100 votes at
random, then a tenth, half of it on pairs that teach nothing. The control is asked whenever the
votes have grown by a tenth, up to 2,000, as the worker does, and every look counts: it says "gain"
or "loss" in a run where any look did. The true gain comes from heads on fresh votes against the
preferences themselves.

`python -m benchmarks live_control [--runs=40] [--votes=2000] [--first=0]`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Result
from benchmarks.trials.active import LAPSE, PEOPLE, World, world
from training.active import arm_comparison
from training.active.arm_comparison import COMPARED_AGAIN, MEASURING_PART, Arms, Comparison
from training.rlhf import acquire
from training.rlhf.metrics.arrays import Floats, sigmoid
from training.rlhf.metrics.intervals import wilson

RANDOM_SHARE, COLD_START, HELD_OUT = 0.1, 100, 0.2
FIRST_LOOK, HELD_OUT_PAIRS, FRESH_HEADS = 200, 1500, 10
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Plant:
    """Share of near-duplicates in the pool, and among what the active arm asks."""

    base: str
    pool: float
    active: float


PLANTS = {
    "gain": Plant("base", 0.4, 0.0),
    "loss": Plant("base", 0.3, 0.56),
    "none": Plant("base", 0.3, 0.3),
    "none_heavy": Plant("heavy", 0.3, 0.3),
}


@dataclass
class Run:
    """A world with what each arm asked, in the order of asking, and the votes."""

    of: World
    active: Rows
    random: Rows
    held_out: Rows
    order: Rows
    says: Floats

    def votes(self, count: int) -> tuple[Rows, Rows]:
        """The pairs of training prompts that either arm had voted on after so many votes."""
        later = max(count - COLD_START, 0)
        drawn = (1 - HELD_OUT) * min(count, COLD_START) + RANDOM_SHARE * MEASURING_PART * later
        return self.active[: round((1 - RANDOM_SHARE) * later)], self.random[: round(drawn)]

    def look(self, count: int) -> Comparison | None:
        """The control after so many votes."""
        active, drawn = self.votes(count)
        rows = np.concatenate([active, drawn])
        x, y = self.of.x[rows], self.says[rows]
        head = acquire.fit(x, y, precision=acquire.prior_precision(x))
        mine = np.arange(len(rows)) < len(active)
        pool, held = self.of.x[self.order], self.of.x[self.held_out]
        share = HELD_OUT * min(count, COLD_START) + RANDOM_SHARE * MEASURING_PART * max(
            count - COLD_START, 0
        )
        voted = np.arange(round(share))
        says = self.says[self.held_out[voted]]
        arms = Arms(x, y, np.ones(len(y)), mine, ~mine, pool, held, voted, says, voted)
        return arm_comparison.compare(arms, head, informed=1 - 2 * LAPSE, seed=count)

    def truth(self, count: int, rng: np.random.Generator) -> float:
        """The gain in accuracy of heads on as many fresh votes of each arm, points."""
        active, drawn = self.votes(count)
        n, right = min(len(active), len(drawn)), list[list[float]]()
        precision = acquire.prior_precision(self.of.x[self.order])
        x, wanted = self.of.x[self.held_out], self.of.gap[self.held_out] > 0
        for _ in range(FRESH_HEADS):
            accuracies = []
            for pool in (self.active, self.order):
                rows = rng.permutation(pool)[:n]
                head = acquire.fit(self.of.x[rows], cast(self.of, rows, rng), precision=precision)
                accuracies.append(float(((x @ head.mean > 0) == wanted).mean()))
            right.append(accuracies)
        return 100 * float(np.mean([one - other for one, other in right]))


def cast(of: World, pairs: Rows, rng: np.random.Generator) -> Floats:
    """One vote on each pair, by anybody."""
    person = rng.integers(PEOPLE, size=len(pairs))
    p = (1 - 2 * LAPSE) * sigmoid(of.reliability[person] * of.gap[pairs]) + LAPSE
    return (rng.random(len(pairs)) < p).astype(np.float64)


def planted(name: str, seed: int, votes: int) -> Run:
    """A run of this plant."""
    plant, rng = PLANTS[name], np.random.default_rng([seed, 41])
    of = world(plant.base, seed)
    near = rng.random(len(of.x)) < plant.pool
    of.x[near] *= 0.03
    of.gap = np.where(near, 0.03 * of.gap, of.gap)
    asked = round((1 - RANDOM_SHARE) * votes)
    dull = int(rng.binomial(asked, plant.active))
    parts = [rng.permutation(np.flatnonzero(one))[:n]
             for one, n in ((near, dull), (~near, asked - dull))]  # fmt: skip
    active = rng.permutation(np.concatenate(parts))
    others = rng.permutation(np.setdiff1d(np.arange(len(of.x)), active))
    held, rest = others[:HELD_OUT_PAIRS], others[HELD_OUT_PAIRS:]
    order = rng.permutation(np.concatenate([active, rest]))[: 2 * HELD_OUT_PAIRS]
    return Run(of, active, rest, held, order, cast(of, np.arange(len(of.x)), rng))


def looks(votes: int) -> list[int]:
    """Numbers of votes at which the worker compares the arms."""
    counts = [FIRST_LOOK]
    while counts[-1] * COMPARED_AGAIN < votes:
        counts.append(round(counts[-1] * COMPARED_AGAIN))
    return [*counts, votes]


def said(run: Run, counts: list[int]) -> list[Comparison]:
    return [told for count in counts if (told := run.look(count)) is not None]


def benchmark(arguments: list[str]) -> Result:
    options = {"runs": 40, "votes": 2000, "first": 0}
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name not in options or not value.isdigit():
            raise SystemExit(f"live_control takes --{'=N, --'.join(options)}=N; not {argument}")
        options[name] = int(value)
    result, spent, counts = Result(), list[float](), looks(options["votes"])
    for name in PLANTS:
        gains, losses, truths, last = list[bool](), list[bool](), list[float](), list[float]()
        for seed in range(options["first"], options["first"] + options["runs"]):
            run = planted(name, seed, options["votes"])
            began = time.process_time()
            told = said(run, counts)
            spent.append((time.process_time() - began) / len(counts))
            gains.append(any(one.low > 0 for one in told))
            losses.append(any(one.high < 0 for one in told))
            last.append(100 * told[-1].gain)
            truths.append(run.truth(options["votes"], np.random.default_rng([seed, 42])))
        result.figures[f"{name}_true_points"] = float(np.mean(truths))
        result.figures[f"{name}_told_points"] = float(np.mean(last))
        for word, said_so in (("gain", gains), ("loss", losses)):
            key, share = f"{name}_says_{word}", float(np.mean(said_so))
            result.figures[key] = share
            result.intervals[key] = wilson(share, options["runs"])
        print(name, {key: round(v, 3) for key, v in result.figures.items()
                     if key.startswith(name)}, flush=True)  # fmt: skip
    result.figures["cpu_seconds_a_look"] = float(np.mean(spent))
    return result
