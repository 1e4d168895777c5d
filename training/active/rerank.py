"""Between rounds: the order of all open pairs, at most once a minute.

A round leaves frozen features of the pairs it looked at. Votes that came since refit the small
Bayesian head on them, together with the reliabilities of the people who cast them, and the pairs
still open are ranked by what a vote on them would teach now. `quick_order` follows single votes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from annotate import exchange
from training.active import queue_report, queue_state, quick_order
from training.active.learnt_head import Features, Learnt, Vote, latest_run, learn, load
from training.active.priority_order import changed
from training.models import Plan, Run
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig
from training.rlhf.round import PROPOSE
from training.versions.engine_environment import round_settings

log = logging.getLogger(__name__)

VOTES_BETWEEN = 10
"""New votes that make another ranking of all pairs worth its while."""
BATCH = 200
"""Pairs that are picked jointly; the others follow by what each would teach alone."""

_gone: dict[int, UUID] = {}
"""Of each project, the run whose features are no longer there."""


def refresh_priorities(project_id: int) -> int:
    """Refresh the priorities of a project's open pairs; how many were ranked.

    Does nothing (0) before the first round, or with fewer than VOTES_BETWEEN new votes.
    """
    run = latest_run(project_id)
    if run is None or _gone.get(project_id) == run.uuid:
        return 0
    simulated = run.project.train_on_simulated
    count = exchange.single_vote_count(run.project, include_simulated=simulated)
    ranking = _claim(run, count)
    if ranking is None:
        return 0
    try:
        return _rank_all(run, ranking, count)
    except BaseException as error:
        quick_order.forget(project_id, ended=True)
        # Else no worker would rank again before VOTES_BETWEEN more votes.
        Plan.objects.filter(project=project_id, ranking=ranking).update(reranked_run=None)
        if not isinstance(error, FileNotFoundError):
            raise
        _gone[project_id] = run.uuid
        log.warning("the pairs of project %s keep their order: %s is gone", project_id, error)
        return 0


@dataclass(frozen=True)
class _Cast:
    """Votes at the time of a ranking.

    `known` are those on pairs with features, `ranked` those of them on pairs that may be ranked,
    `arms` the arms that all of them came from.
    """

    known: list[Vote]
    ranked: list[Vote]
    arms: list[exchange.ArmVote]


def _rank_all(run: Run, ranking: UUID, count: int) -> int:
    project, propose = run.project, chosen(run)
    features = load(run.directory / PROPOSE)
    before = exchange.open_priorities(project)
    quick_order.begin(project.pk)
    # Read after `begin`, and once: no vote is missed, and `keep` knows which were counted.
    cast = _cast(project, features)
    taught = learn(features, cast.ranked, propose)
    exchange.set_head_doubts(project, taught.doubts)
    cause = queue_state.judge(
        run,
        features,
        taught,
        propose,
        open_keys=before.keys(),
        votes=cast.known,
        arms=cast.arms,
        count=count,
    )
    learnt = taught
    if cause is not None:
        learnt = replace(taught, head=None, why=taught.why or cause.value)
    scores, before = _scores(project, features, learnt, propose, before, seed=count)
    sure = exchange.surely_judged(project)
    scores = behind(scores, sure)
    wanted = changed(scores, before)
    name = propose.acquisition if learnt.head else ""
    written = exchange.set_priorities(project, wanted, acquisition=name)
    before |= {key: wanted[key] for key in written}
    # Of those that a model is sure of none comes forward before the next ranking of all pairs.
    best = sorted(
        (key for key in scores if scores[key] > 0 and key not in sure), key=lambda key: -scores[key]
    )
    quick_order.keep(
        run,
        features,
        learnt,
        propose,
        best[: acquire.SHORTLIST],
        before,
        ranking=ranking,
        votes=cast.ranked,
        seed=count,
    )
    _report(run, features, taught, votes=cast.known, arms=cast.arms, priorities=before, seed=count)
    return len(scores)


def _cast(project: exchange.Project, features: Features) -> _Cast:
    simulated = project.train_on_simulated
    rows, measuring = features.rows, features.measured_keys
    votes = exchange.single_votes(project, include_simulated=simulated)
    known = [vote for vote in votes if vote[0] in rows or vote[0] in measuring]
    return _Cast(
        known=known,
        ranked=[vote for vote in known if vote[0] in rows],
        arms=list(exchange.votes_of_arms(project, include_simulated=simulated)),
    )


def _scores(
    project: exchange.Project,
    features: Features,
    learnt: Learnt,
    propose: ProposeConfig,
    before: dict[str, float],
    *,
    seed: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of the open pairs, and their priorities until now. Pairs with one vote that it pays
    to ask again are opened first, and those that it pays no longer are closed."""
    pending = exchange.leased_pair_keys(project)
    voted = exchange.may_be_asked_again(project) - pending
    scores = rank(features, learnt, before.keys() | voted, propose, seed=seed, pending=pending)
    teaches = learnt.head is not None and propose.acquisition in acquire.COMPARE_VOTES
    exchange.ask_again(project, second_votes(scores, voted) if teaches else set())
    if voted:
        # Some of them are open now and some no longer; all that are open have to be ranked.
        before = exchange.open_priorities(project)
    scores = {key: score for key, score in scores.items() if key in before}
    # A pair without features that kept its priority would stand for a ranking.
    unknown = before.keys() - scores.keys() - (pending if learnt.head else set())
    if learnt.head is None:
        log.info("project %s is asked at random: %s", project.pk, learnt.why)
    return scores | dict.fromkeys(unknown, 0.0), before


def _report(
    run: Run,
    features: Features,
    learnt: Learnt,
    **told: Any,
) -> None:
    """Count what the page of active learning shows; the order of the pairs stands without it."""
    try:
        queue_report.write_report(run, features, learnt, **told)
    except Exception:
        log.exception("the report on active learning of project %s failed", run.project_id)


def second_votes(scores: Mapping[str, float], voted: Collection[str]) -> set[str]:
    """Pairs with a vote on which another one teaches more than a first one elsewhere: those among
    the BATCH best of all pairs, new ones and old ones."""
    best = sorted(scores, key=lambda key: -scores[key])[:BATCH]
    return {key for key in best if key in voted and scores[key] > 0}


def behind(scores: dict[str, float], sure: Collection[str]) -> dict[str, float]:
    """The scores with those of `sure` below all others that are above 0, in their own order."""
    others = [score for key, score in scores.items() if score > 0 and key not in sure]
    late = [score for key, score in scores.items() if score > 0 and key in sure]
    if not others or not late:
        return scores
    factor = min(1.0, min(others) / 2 / max(late))
    return {key: score * factor if key in sure else score for key, score in scores.items()}


def chosen(run: Run) -> ProposeConfig:
    """The settings of the round whose features there are, with the acquisition of the project."""
    propose, name = round_settings(run).propose, run.project.acquisition
    return replace(propose, acquisition=name) if name in acquire.ACQUISITIONS else propose


def rank(
    features: Features,
    learnt: Learnt,
    open_keys: Iterable[str],
    config: ProposeConfig,
    *,
    seed: int,
    pending: frozenset[str] | set[str] = frozenset(),
) -> dict[str, float]:
    """Score open pairs by the acquisition of their round; higher is asked first, 0 at random.

    Pairs in `pending` are being judged now: they count as answered, and are in the result only
    where nothing is ranked.
    """
    among = set(open_keys)
    pool = [row for row, key in enumerate(features.keys) if key in among]
    keys = [features.keys[row] for row in pool]
    if not pool:
        return {}
    if learnt.head is None:
        # Those on a screen too: one that kept its priority would stand for a ranking.
        return dict.fromkeys(keys, 0.0)
    ranking = acquire.rank(
        learnt.head,
        features.x[pool],
        np.ones(len(pool), dtype=bool),
        config,
        n=BATCH,
        seed=seed,
        pending=np.array([key in pending for key in keys], dtype=bool),
        asked=learnt.asked,
    )
    return {
        key: float(score)
        for key, score in zip(keys, ranking.scores, strict=True)
        if np.isfinite(score)
    }


def _claim(run: Run, votes: int) -> UUID | None:
    """Take this batch of votes: of several workers one ranks. The name of the ranking, or None."""
    plan, _ = Plan.objects.get_or_create(project_id=run.project_id)
    fresh = plan.reranked_run != run.uuid or votes >= plan.reranked_votes + VOTES_BETWEEN
    # After a restart nothing is followed until all pairs were ranked again.
    fresh = fresh or not quick_order.follows(run)
    ranking = uuid4()
    same = Plan.objects.filter(pk=plan.pk, ranking=plan.ranking).filter(
        reranked_votes=plan.reranked_votes, reranked_run=plan.reranked_run
    )
    if not fresh:
        return None
    taken = same.update(reranked_votes=votes, reranked_run=run.uuid, ranking=ranking)
    return ranking if taken else None
