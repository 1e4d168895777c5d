"""CPU time of the queue's order: of all pairs, and of a shortlist after 1.5 seconds of votes.

100,000 pairs of 256 features are ranked as once a minute, and then a shortlist of 2,000 follows 30
votes a turn (20 a second) for 20 turns; the database is left out. `--pairs=100000 --features=256`.
"""

from __future__ import annotations

import os
import time
import tracemalloc
import uuid
from typing import Any

import django
import numpy as np

from benchmarks.result import Result
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig

VOTES, LABELLED, TURNS = 30, 2000, 20


def benchmark(arguments: list[str]) -> Result:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from training.active.priority_order import changed
    from training.active.quick_order import EVERY, Shortlist

    given = dict(one[2:].split("=", 1) for one in arguments)
    pairs, d = int(given.get("pairs", 100_000)), int(given.get("features", 256))
    rng, result = np.random.default_rng(0), Result()
    x = rng.normal(size=(pairs, d)).astype(np.float16)
    truth = rng.normal(size=d) / np.sqrt(d)
    known = x[:LABELLED].astype(np.float64)
    says = (rng.random(LABELLED) < 1 / (1 + np.exp(-2 * known @ truth))).astype(float)
    head = acquire.fit(known, says, precision=acquire.prior_precision(known))
    free, config = np.ones(pairs, dtype=bool), ProposeConfig()

    def ranked() -> acquire.Ranking:
        return acquire.rank(head, x, free, config, n=200, seed=1, asked=known)

    began = time.process_time()
    ranking = ranked()
    result.figures["all_pairs_cpu_seconds"] = time.process_time() - began
    tracemalloc.start()
    ranked()
    result.figures["all_pairs_peak_mb"] = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()

    keys = [str(row) for row in np.argsort(-ranking.scores)[: acquire.SHORTLIST]]
    scores = {str(row): float(score) for row, score in enumerate(ranking.scores)}
    priorities = changed(scores, {})
    nobody: Any = None
    shortlist = Shortlist(
        project=nobody, ranking=uuid.uuid4(), votes=0, config=config,
        rows={str(row): row for row in range(pairs)}, x=x,
        moment=acquire.moment_of(x, np.arange(pairs)), head=head, trust={}, asked=known[-500:],
        keys=keys, priorities={key: priorities[key] for key in keys},
    )  # fmt: skip
    spent, written = [], []
    for _ in range(TURNS):
        best = sorted(set(keys) - shortlist.closed, key=lambda key: -shortlist.priorities[key])
        votes = [(key, 1, float(rng.random() < 0.5), 1.0, 0.5) for key in best[:VOTES]]
        began = time.process_time()
        shortlist.closed |= {key for key, *_ in votes}
        shortlist.learn(votes)
        moved = shortlist.order(set(best[VOTES : 2 * VOTES]))
        shortlist.priorities |= moved
        written.append(len(moved))
        spent.append(time.process_time() - began)
    result.figures["turn_cpu_seconds"] = float(np.mean(spent))
    result.figures["priorities_written_a_turn"] = float(np.mean(written))
    share = result.figures["all_pairs_cpu_seconds"] / 60 + float(np.mean(spent)) / EVERY
    result.figures["share_of_a_core"] = share
    return result
