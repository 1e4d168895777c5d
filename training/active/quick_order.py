"""Within two seconds of a vote: the shortlist in its new order.

The ranking of all pairs leaves its head, and the features of its shortlist, in the memory of the
worker that did it. Each vote then moves the head by one rank, which equals a refit with the head as
prior, and the shortlist is ordered anew. The next ranking of all pairs starts from all votes again,
so nothing that is missed here lasts longer than a minute.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from django.db import OperationalError, close_old_connections, connections
from numpy.typing import NDArray

from annotate import exchange
from training.active.learnt_head import Features, Learnt, Vote
from training.active.priority_order import changed
from training.models import Plan, Run
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig

log = logging.getLogger(__name__)

EVERY = 1.5
"""Seconds between two looks at the votes."""
BATCH = 32
"""Pairs that are picked jointly: more than people lease until the next look."""
REMEMBERED = 500
"""Pairs asked about last, from which a rule that looks for new prompts measures distances."""


@dataclass
class Shortlist:
    """The part of a ranking of all pairs by which single votes are followed."""

    project: exchange.Project
    run: UUID
    votes: int
    """That the ranking knew: a later ranking by another worker makes this one stale."""
    config: ProposeConfig
    rows: dict[str, int]
    x: NDArray[np.float16]
    """Features of all pairs of the pool, by `rows`."""
    moment: NDArray[np.float64]
    head: acquire.Head
    trust: dict[int, float]
    asked: NDArray[np.float64]
    keys: list[str]
    """The best pairs."""
    priorities: dict[str, float]
    closed: set[str] = field(default_factory=set)

    def learn(self, votes: Sequence[Vote]) -> int:
        """Move the head by these votes; how many of them were on pairs whose features are known."""
        known = 0
        for key, person, value, mass, _ in votes:
            row = self.rows.get(key)
            x = None if row is None else self.x[row].astype(np.float64)
            if x is None or not np.isfinite(x).all():
                continue
            trust = self.trust.get(person, acquire.PRIOR_RIGHT[0] / sum(acquire.PRIOR_RIGHT))
            weight = mass * acquire.informed_share(float(x @ self.head.mean), value, trust)
            self.head, known = self.head.after(x, value, weight), known + 1
            self.asked = np.concatenate([self.asked[1 - REMEMBERED :], x[None]])
        return known

    def order(self, on_screen: set[str]) -> dict[str, float]:
        """Order the shortlist anew; the priorities that have to be written."""
        keys = [k for k in self.keys if k not in self.closed and k not in on_screen]
        if not keys:
            return {}
        x = self.x[[self.rows[key] for key in keys]].astype(np.float64)
        screens = [self.rows[key] for key in on_screen if key in self.rows]
        busy: NDArray[np.float64] = self.x[screens].astype(np.float64)
        head = acquire.answered(self.head, busy[np.isfinite(busy).all(axis=1)])
        pairs = acquire.Candidates(x, self.moment, None, self.asked)
        score = acquire.acquisition(self.config.acquisition)
        # Seeded by the votes of the ranking: a rule that draws draws the same until the next.
        rng = np.random.default_rng(self.votes)
        scores = score(pairs, head, n=min(BATCH, len(keys)), rng=rng)
        written = changed(dict(zip(keys, scores.tolist(), strict=True)), self.priorities)
        self.priorities |= written
        return written


_kept: dict[int, Shortlist] = {}
_known: set[tuple[int, UUID]] = set()
"""Projects and runs that this process ranked, also where the votes taught no head."""
_seen: dict[int, list[Vote]] = {}
"""Votes of each project since a ranking began that has not ended."""
_turn = threading.Lock()


def begin(project: int) -> None:
    """Remember the votes that come while a ranking reads all votes and ranks, for `keep`."""
    with _turn:
        _seen[project] = []


def follows(run: Run) -> bool:
    """True where this process ranked all pairs by the features of this run."""
    return (run.project_id, run.uuid) in _known


def keep(
    run: Run,
    features: Features,
    learnt: Learnt,
    config: ProposeConfig,
    keys: Sequence[str],
    priorities: dict[str, float],
    *,
    votes: int,
) -> None:
    """Follow the votes of this project from now on, those that came since `begin` too."""
    with _turn:
        _known.add((run.project_id, run.uuid))
        _kept.pop(run.project_id, None)
        late = _seen.pop(run.project_id, [])
        if learnt.head is None or config.acquisition == "random":
            return
        rows = features.rows
        inside = np.array([row for key, row in rows.items() if key in priorities], dtype=np.int64)
        shortlist = Shortlist(
            project=run.project,
            run=run.uuid,
            votes=votes,
            config=config,
            rows=rows,
            x=features.x,
            moment=acquire.moment_of(features.x, inside[acquire.judgeable(features.x[inside])]),
            head=learnt.head,
            trust=learnt.trust,
            asked=learnt.asked[-REMEMBERED:],
            keys=list(keys),
            priorities={key: priorities.get(key, 0.0) for key in keys},
        )
        shortlist.learn(late)
        _kept[run.project_id] = shortlist


def catch_up(watch: exchange.VoteWatch) -> int:
    """Order the queues anew whose projects had votes since the last look; priorities written."""
    written = 0
    for project, seen in watch.look().items():
        with _turn:
            if project in _seen:
                _seen[project] += seen.votes
            shortlist = _kept.get(project)
            if shortlist is None or not _is_newest(shortlist):
                continue
            shortlist.closed |= {key for key, is_open in seen.open.items() if not is_open}
            shortlist.closed -= {key for key, is_open in seen.open.items() if is_open}
            if not shortlist.learn(seen.votes):
                continue
            priorities = shortlist.order(seen.on_screen)
        name = shortlist.config.acquisition
        written += exchange.set_priorities(shortlist.project, priorities, acquisition=name)
    return written


def _is_newest(shortlist: Shortlist) -> bool:
    newest = Plan.objects.filter(
        project=shortlist.project, reranked_run=shortlist.run, reranked_votes=shortlist.votes
    )
    return newest.exists()


def follow(stopping: threading.Event) -> None:
    """Follow the votes until `stopping`, in a thread of a worker."""
    watch: exchange.VoteWatch | None = None
    while not stopping.wait(EVERY):
        try:
            close_old_connections()
            watch = watch or exchange.VoteWatch()
            catch_up(watch)
        except OperationalError:
            # The database restarts or is busy: what was missed comes with the next full ranking.
            connections.close_all()
        except Exception:
            log.exception("the queue does not follow the votes")
            watch = None
    connections.close_all()
