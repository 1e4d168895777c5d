"""Random clickers and liars found, and honest people flagged, with one vote per pair.

Crews vote once on each of their pairs of the base world of `active`: two people click at random,
one answers the wrong way round, the others are honest. How plain the better reply is is scaled: as
in that world, then less, where honest people agree less.

Options: `--seeds=24 --people=12 --votes=60`.
"""

from __future__ import annotations

import numpy as np

from benchmarks.result import Result
from benchmarks.trials.active import LAPSE, World, options, world
from training.rlhf import acquire
from training.rlhf.metrics.arrays import Floats, sigmoid

PLAIN = {"base": 1.0, "middle": 0.6, "hard": 0.35}
FLAGGED = 0.01
"""As annotate.people.warnings_and_pauses.AGAINST_MODEL, which needs Django."""
KINDS = ("random", "random", "liar")


def flagged(of: World, scale: float, people: int, votes: int, seed: int) -> dict[str, list[bool]]:
    """True for each person of one crew who was flagged, by kind."""
    rng = np.random.default_rng([seed, 99])
    reliability = np.exp(0.35 * rng.normal(size=people))
    kind = np.array([*KINDS, *["honest"] * (people - len(KINDS))])
    pairs = rng.permutation(len(of.gap))[: people * votes]
    person = np.repeat(np.arange(people), votes)
    p = (1 - 2 * LAPSE) * sigmoid(reliability[person] * of.gap[pairs] * scale) + LAPSE
    p = np.where(kind[person] == "random", 0.5, np.where(kind[person] == "liar", 1 - p, p))
    cast = acquire.Votes(np.arange(len(p)), person, (rng.random(len(p)) < p).astype(float))
    x = of.x[pairs]
    precision = acquire.prior_precision(x)
    head, _, share = acquire.fit_with_people(x, cast, people=people, precision=precision)
    doubts = acquire.doubts(x, cast, head, share)
    told: dict[str, list[bool]] = {"random": [], "liar": [], "honest": []}
    for who, chance in doubts.items():
        told[str(kind[who])].append(chance < FLAGGED)
    return told


def agreement(of: World, scale: float) -> float:
    """Share of pairs to which two honest people give the same answer."""
    rng = np.random.default_rng(0)
    reliability: Floats = np.exp(0.35 * rng.normal(size=(2, len(of.gap))))
    one, other = (1 - 2 * LAPSE) * sigmoid(reliability * of.gap * scale) + LAPSE
    return float((one * other + (1 - one) * (1 - other)).mean())


def benchmark(arguments: list[str]) -> Result:
    """Run the crews and print the shares."""
    told = {"seeds": "24", "people": "12", "votes": "60"} | options(arguments)
    seeds, people, votes = (int(told[name]) for name in ("seeds", "people", "votes"))
    shares: dict[str, dict[str, list[bool]]] = {name: {} for name in PLAIN}
    agreed: dict[str, list[float]] = {name: [] for name in PLAIN}
    for seed in range(seeds):
        of = world("base", seed)
        for name, scale in PLAIN.items():
            agreed[name].append(agreement(of, scale))
            for kind, flags in flagged(of, scale, people, votes, seed).items():
                shares[name].setdefault(kind, []).extend(flags)
        print(f"crew {seed + 1} of {seeds}", flush=True)
    return Result(
        figures={
            f"{name}: {kind}": float(np.mean(flags))
            for name, kinds in shares.items()
            for kind, flags in kinds.items()
        }
        | {f"{name}: two honest people agree": float(np.mean(a)) for name, a in agreed.items()},
    )
