"""Within two seconds of a vote: the shortlist in its new order.

The ranking of all pairs leaves its head, and the features of its shortlist, in the memory of the
worker that did it. Each vote then moves the head by one rank, which equals a refit with the head as
prior, and the shortlist is ordered anew. The next ranking of all pairs starts from all votes again:
what is missed here lasts until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
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
PATIENCE = 60.0
"""Seconds between two looks at what is still worth its memory; at most so many between two looks at
the votes while each of them fails."""
BATCH = 32
"""Pairs that are picked jointly: more than people lease until the next look."""
REMEMBERED = 500
"""Pairs asked about last, from which a rule that looks for new prompts measures distances."""


@dataclass
class Shortlist:
    """The part of a ranking of all pairs by which single votes are followed."""

    project: exchange.Project
    ranking: UUID
    """Its name: a later ranking, by whatever worker, makes this one stale."""
    votes: int
    """That the ranking knew."""
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
    counted: set[tuple[int, int]] = field(default_factory=set)
    """Row and annotator of each vote that the head knows."""

    def learn(self, votes: Collection[Vote]) -> int:
        """Move the head by those of these votes that it does not know; by how many it was moved.

        A vote that was taken back and cast anew is one that it knows: what it said first stays
        until the next ranking of all pairs.
        """
        known = 0
        # Of two votes of a person on a pair, the later one stands.
        for key, person, value, mass, _ in {vote[:2]: vote for vote in votes}.values():
            row = self.rows.get(key)
            if row is None or (row, person) in self.counted:
                continue
            x = self.x[row].astype(np.float64)
            if not np.isfinite(x).all():
                continue
            self.counted.add((row, person))
            trust = self.trust.get(person, acquire.PRIOR_RIGHT[0] / sum(acquire.PRIOR_RIGHT))
            weight = mass * acquire.informed_share(float(x @ self.head.mean), value, trust)
            self.head, known = self.head.after(x, value, weight), known + 1
            self.asked = np.concatenate([self.asked[1 - REMEMBERED :], x[None]])
        return known

    def order(self, on_screen: set[str]) -> dict[str, float]:
        """Order the shortlist anew; the priorities that have to be written, and then belong into
        `priorities`."""
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
        return changed(dict(zip(keys, scores.tolist(), strict=True)), self.priorities)


_kept: dict[int, Shortlist] = {}
_known: dict[int, UUID] = {}
"""Of each project, the run by which this process ranked, also where the votes taught no head."""
_seen: dict[int, list[Vote]] = {}
"""Votes of each project since a ranking began that has not ended."""
_turn = threading.Lock()


def begin(project: int) -> None:
    """Remember the votes that come while a ranking reads all votes and ranks, for `keep`."""
    with _turn:
        _seen[project] = []


def follows(run: Run) -> bool:
    """True where this process ranked all pairs by the features of this run."""
    return _known.get(run.project_id) == run.uuid


def forget(project: int, *, ended: bool = False) -> None:
    """Follow no votes of this project until all its pairs were ranked again, which is soon.

    Args:
        ended: the ranking that began has failed: no `keep` waits for votes.
    """
    with _turn:
        _known.pop(project, None)
        _kept.pop(project, None)
        if ended:
            _seen.pop(project, None)


def keep(
    run: Run,
    features: Features,
    learnt: Learnt,
    config: ProposeConfig,
    keys: Sequence[str],
    priorities: dict[str, float],
    *,
    ranking: UUID,
    votes: Sequence[Vote],
    seed: int,
) -> None:
    """Follow the votes of this project from now on, those that came since `begin` too.

    `votes` are those that the ranking counted, on pairs of `features`.
    """
    with _turn:
        _known[run.project_id] = run.uuid
        _kept.pop(run.project_id, None)
        late = _seen.pop(run.project_id, [])
        if learnt.head is None or config.acquisition == "random":
            return
        rows = features.rows
        inside = np.array([row for key, row in rows.items() if key in priorities], dtype=np.int64)
        shortlist = Shortlist(
            project=run.project,
            ranking=ranking,
            votes=seed,
            config=config,
            rows=rows,
            x=features.x,
            moment=acquire.moment_of(features.x, inside[acquire.judgeable(features.x[inside])]),
            head=learnt.head,
            trust=learnt.trust,
            asked=learnt.asked[-REMEMBERED:],
            keys=list(keys),
            priorities={key: priorities.get(key, 0.0) for key in keys},
            counted={(rows[vote[0]], vote[1]) for vote in votes},
        )
        shortlist.learn(late)
        _kept[run.project_id] = shortlist


def catch_up(watch: exchange.VoteWatch) -> int:
    """Order the queues anew whose projects had votes since the last look; priorities written.

    Raises:
        Exception: the first that the votes of a project met, after the other projects had their
            turn. That project is ranked anew, as its votes of this look are lost.
    """
    written, errors = 0, list[Exception]()
    for project, seen in watch.look().items():
        try:
            with _turn:
                written += _order_anew(project, seen)
        except Exception as error:  # noqa: BLE001 (raised below, when the others had their turn)
            forget(project)
            errors.append(error)
    if errors:
        raise errors[0]
    return written


def _order_anew(project: int, seen: exchange.Seen) -> int:
    if project in _seen:
        _seen[project] += seen.votes
    shortlist = _kept.get(project)
    if shortlist is None:
        return 0
    if not _is_newest(shortlist):
        del _kept[project]
        return 0
    shortlist.closed |= {key for key, is_open in seen.open.items() if not is_open}
    shortlist.closed -= {key for key, is_open in seen.open.items() if is_open}
    if not shortlist.learn(seen.votes):
        return 0
    wanted = shortlist.order(seen.on_screen)
    # Another worker may have begun to rank all pairs meanwhile. This one cannot: `_turn` is ours.
    if not _is_newest(shortlist):
        del _kept[project]
        return 0
    name = shortlist.config.acquisition
    written = exchange.set_priorities(shortlist.project, wanted, acquisition=name)
    shortlist.priorities |= {key: wanted[key] for key in written}
    return len(written)


def _is_newest(shortlist: Shortlist) -> bool:
    return Plan.objects.filter(project=shortlist.project, ranking=shortlist.ranking).exists()


def let_go() -> None:
    """Drop what no vote will be followed by, a whole pool each: rankings that are not the newest,
    and all of projects that are archived or deleted."""
    known = set(_known)
    live = set(exchange.live_projects().filter(pk__in=known).values_list("pk", flat=True))
    for project in known - live:
        forget(project)
    with _turn:
        for project in [key for key, kept in _kept.items() if not _is_newest(kept)]:
            del _kept[project]


def follow(stopping: threading.Event) -> None:
    """Follow the votes until `stopping`, in a thread of a worker."""
    watch: exchange.VoteWatch | None = None
    pause, looked = EVERY, time.monotonic()
    while not stopping.wait(pause):
        try:
            close_old_connections()
            watch = watch or exchange.VoteWatch()
            catch_up(watch)
            if time.monotonic() - looked > PATIENCE:
                looked = time.monotonic()
                let_go()
            pause = EVERY
        except OperationalError:
            # The database restarts or is busy: what was missed comes with the next full ranking.
            connections.close_all()
        except Exception:
            log.exception("the queue does not follow the votes")
            watch, pause = None, min(2 * pause, PATIENCE)
    connections.close_all()
