"""The state of the queue's order: what it is judged by, and the record that pages read.

Counted by the worker that ranks the pairs, never in a web request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from annotate import exchange
from training.active import arm_comparison, fallback_causes
from training.active.arm_comparison import Arms, Comparison
from training.active.fallback_causes import Cause, Facts, Slope
from training.active.learnt_head import Features, Learnt, Vote
from training.models import ActiveState, Run
from training.rlhf.config import ProposeConfig

ORDER_ROWS = 5000
"""Of the pool that random order is simulated from."""


def judge(
    run: Run,
    features: Features,
    learnt: Learnt,
    config: ProposeConfig,
    *,
    open_keys: Collection[str],
    votes: Collection[Vote],
    arms: Collection[exchange.ArmVote],
    count: int,
) -> Cause | None:
    """Judge whether the queue has to ask at random, and write down why.

    Args:
        votes: all single votes, on pairs of held-out prompts too.
        arms: the arm of each vote of the project.
        count: of the votes, which seeds what is drawn.
    """
    state, _ = ActiveState.objects.get_or_create(project=run.project)
    if state.acquisition != config.acquisition:
        # Another rule is given a chance, whatever the one before it did.
        state.cause, state.comparison, state.compared_votes = "", {}, 0
    state.acquisition, state.votes, state.counted_at = config.acquisition, count, timezone.now()
    cause: Cause | None = Cause.NO_HEAD
    if learnt.head is not None and config.acquisition != "random":
        known = features.measured_keys.union(features.keys)
        leased = {(row[0], row[1]): row[2:] for row in arms if row[0] in known}
        comparison = _compared(run, state, features, learnt, leased, votes, count)
        facts = _facts(features, learnt, open_keys)
        slope = _slope(features, learnt, votes, {key: row[0] for (key, _), row in leased.items()})
        state.facts = _told(facts, slope)
        cause = fallback_causes.judged(
            replace(facts, slope=slope, comparison=comparison), state.cause
        )
    elif learnt.head is not None:
        cause = None
    if (cause or "") != state.cause:
        state.cause, state.since = cause or "", timezone.now() if cause else None
    state.why = learnt.why if cause == Cause.NO_HEAD else ""
    state.save()
    return cause


def comparison_of(state: ActiveState) -> Comparison | None:
    """The comparison that is stored."""
    return Comparison(**state.comparison) if state.comparison else None


Leased = Mapping[tuple[str, int], tuple[int, str, str]]
"""Prompt, arm and acquisition of each vote, by its pair and annotator."""


def _compared(
    run: Run,
    state: ActiveState,
    features: Features,
    learnt: Learnt,
    leased: Leased,
    votes: Collection[Vote],
    count: int,
) -> Comparison | None:
    """The comparison of the arms: a new one where enough votes came since the last."""
    fresh = state.compared_run == run.uuid and state.comparison
    if fresh and count < arm_comparison.COMPARED_AGAIN * state.compared_votes:
        return comparison_of(state)
    arms = arms_of(features, learnt, leased, state.acquisition, votes)
    state.lacking = arm_comparison.lacking(arms)
    state.measurable_at = _measurable_at(arms, run.project, count) if state.lacking else None
    if state.lacking or learnt.head is None:
        if state.cause != Cause.LOSS:
            state.comparison = {}
        return None
    informed = float(np.clip(learnt.weight.sum() / _mass(learnt), 0.1, 1.0))
    told = arm_comparison.compare(arms, learnt.head, informed=informed, seed=count)
    assert told is not None, "nothing is lacking"
    state.comparison, state.compared_run, state.compared_votes = asdict(told), run.uuid, count
    return told


def _mass(learnt: Learnt) -> float:
    return max(sum(vote[3] for vote in learnt.cast), 1e-9)


def arms_of(
    features: Features,
    learnt: Learnt,
    leased: Leased,
    acquisition: str,
    votes: Collection[Vote],
) -> Arms:
    """The votes of the active arm by this acquisition and those of the random arm; and, of all
    `votes`, those on held-out prompts."""
    nobody = (0, "", "")
    arms = [leased.get(vote[:2], nobody) for vote in learnt.cast]
    active = [arm == "active" and ranked == acquisition for _, arm, ranked in arms]
    finite = features.x[np.isfinite(features.x).all(axis=1)]
    held, rows = _measuring_pairs(features)
    asked = [vote for vote in votes if vote[0] in rows]
    prompts = [leased.get(vote[:2], nobody)[0] for vote in asked]
    step = max(len(finite) // ORDER_ROWS, 1)
    return Arms(
        x=learnt.asked[learnt.places],
        value=np.array([vote[2] for vote in learnt.cast]),
        weight=learnt.weight,
        active=np.array(active, dtype=bool),
        random=np.array([arm == "random" for _, arm, _ in arms], dtype=bool),
        order=finite[::step].astype(np.float64),
        held_out=held,
        held_votes=np.array([rows[vote[0]] for vote in asked], dtype=np.int64),
        held_value=np.array([vote[2] for vote in asked], dtype=np.float64),
        held_prompt=np.array(prompts, dtype=np.int64),
        pair=np.asarray(learnt.places, dtype=np.int64),
    )


def _measuring_pairs(features: Features) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Features of the pairs of held-out prompts, and the row of each, of those that tell their
    replies apart."""
    measuring = features.measuring
    if measuring is None:
        return np.zeros((0, features.x.shape[1])), {}
    x = measuring.x.astype(np.float64)
    length = np.linalg.norm(x, axis=1)
    kept = np.flatnonzero(np.isfinite(length) & (length > 0))
    return x[kept], {measuring.keys[row]: place for place, row in enumerate(kept.tolist())}


def _measurable_at(arms: Arms, project: exchange.Project, count: int) -> int | None:
    """Votes of the project by which each arm has enough, at the shares of its settings."""
    if len(arms.held_out) < arm_comparison.LEAST_HELD_OUT:
        return None
    teaching = project.random_share * arm_comparison.MEASURING_PART
    rates = ((int(arms.random.sum()), teaching), (int(arms.active.sum()), 1 - project.random_share))
    missing = [(max(arm_comparison.LEAST_VOTES - had, 0), rate) for had, rate in rates]
    if any(short and rate <= 0 for short, rate in missing):
        return None
    return count + max(round(short / rate) if short else 0 for short, rate in missing)


def _facts(features: Features, learnt: Learnt, open_keys: Collection[str]) -> Facts:
    rows = features.rows
    known = np.array([rows[key] for key in open_keys if key in rows], dtype=np.int64)
    pool: NDArray[np.float16] = features.x[known]
    return fallback_causes.of_pool(pool, learnt.asked, open_pairs=len(open_keys))


def _slope(
    features: Features, learnt: Learnt, votes: Collection[Vote], prompts: Mapping[str, int]
) -> Slope | None:
    """Calibration of the head on votes of held-out prompts."""
    measuring = features.measuring
    if measuring is None or learnt.head is None:
        return None
    finite = np.asarray(np.isfinite(measuring.x).all(axis=1))
    rows = {key: row for key, row in measuring.rows.items() if finite[row]}
    cast = [vote for vote in votes if vote[0] in rows and vote[0] in prompts]
    if not cast:
        return None
    x = measuring.x[[rows[vote[0]] for vote in cast]].astype(np.float64)
    people = [vote[1] for vote in cast]
    logit = fallback_causes.given_logits(learnt.head, x, people, learnt.trust)
    prompt = np.array([prompts[vote[0]] for vote in cast], dtype=np.int64)
    return fallback_causes.slope(logit, np.array([vote[2] for vote in cast]), prompt)


def _told(facts: Facts, slope: Slope | None) -> dict[str, float]:
    """The facts as they are stored."""
    names = ("open_pairs", "known", "no_numbers", "constant", "outside", "scale")
    told = {name: float(getattr(facts, name)) for name in names}
    if slope is not None:
        told |= {"slope": slope.value, "slope_low": slope.low, "slope_high": slope.high}
        told["slope_votes"] = float(slope.votes)
    return told
