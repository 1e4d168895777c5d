"""The soft label of a pair: all its votes pooled into one weighted target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from training.rlhf.rows import MAX_STRENGTH, VALUE, Preference, Vote


@dataclass(frozen=True, kw_only=True)
class SoftLabel:
    """All votes on a pair as one weighted observation of P(a is better)."""

    value: float
    weight: float
    tie: float = 0.0
    """Share of the mass on ties, of which `value` holds one half."""
    strength: float = 0.0
    """Mean signed strength / MAX_STRENGTH, in [-1, 1]; positive where the votes are for a."""


def soft_label(votes: Iterable[Vote]) -> SoftLabel | None:
    """Pool the votes of a pair into one vote fraction.

    With y = 1, 0 or 1/2 for a, b, and tie or both_bad, and the mass of a vote
    m = weight * strength / 2 (strength counts as 2 for ties, and a negligible preference as half
    of a slight one):

        value = sum(m * y) / sum(m),    weight = sum(m)

    `weight * BCE(value, sigmoid(r_a - r_b))` then equals, up to a constant, the Bradley-Terry
    log-likelihood of the single votes, so no vote is collapsed into a majority.
    None when nothing has mass.
    """
    mass = total = tied = trust = signed = 0.0
    for vote in votes:
        tie = VALUE[vote.choice] == 0.5
        share = vote.weight * ((2 if tie else vote.strength) or 0.5) / 2
        mass += share
        total += share * VALUE[vote.choice]
        tied += share * tie
        trust += vote.weight
        signed += vote.weight * (2 * VALUE[vote.choice] - 1) * vote.strength
    if mass <= 0:
        return None
    return SoftLabel(
        value=total / mass, weight=mass, tie=tied / mass, strength=signed / trust / MAX_STRENGTH
    )


def label(row: Preference, *, soft: bool = False) -> SoftLabel | None:
    """The label that a pair teaches: its pooled votes, unless a reviewer decided.

    `decided` makes the value 1, 0 or 1/2, with the mass of the votes and at least that of one.
    With `soft`, the value is P(a) + P(tie) / 2 where known, and the mass stays that of the votes.
    """
    pooled = soft_label(row.votes)
    if row.decided:
        value, mass = VALUE[row.decided], max(pooled.weight if pooled else 0.0, 1.0)
        clearly = (2 * value - 1) * 2 / MAX_STRENGTH  # a reviewer says which side, not how much
        return SoftLabel(value=value, weight=mass, tie=float(value == 0.5), strength=clearly)
    if soft and pooled and row.soft:
        a, tie, _ = row.soft
        return dataclasses.replace(pooled, value=a + tie / 2, tie=tie)
    return pooled


def with_ai_votes(row: Preference) -> Preference:
    """The row as a reward model learns it: votes of models among people's, by their weights.

    Never of a pair that measures. What was aggregated from people's votes alone is dropped where
    models add to them.
    """
    if not row.ai_votes or row.held_out or row.kind == "evaluation":
        return dataclasses.replace(row, ai_votes=()) if row.ai_votes else row
    return dataclasses.replace(row, votes=row.votes + row.ai_votes, ai_votes=(), soft=None)


def verdict(row: Preference) -> Literal["a", "b"] | None:
    """The better side by the reviewer, or else by most votes; None for a tie."""
    if row.decided:
        return "a" if row.decided == "a" else "b" if row.decided == "b" else None
    return majority(row.votes)


def majority(votes: Iterable[Vote]) -> Literal["a", "b"] | None:
    """The side with more votes; None for a tie or no votes. Strength never decides."""
    choices = [vote.choice for vote in votes]
    lead = choices.count("a") - choices.count("b")
    return None if lead == 0 else "a" if lead > 0 else "b"
