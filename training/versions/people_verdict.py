"""People's verdict on a policy: blind comparisons with the one before and with the starter.

The test may be looked at after every vote (training.rlhf.metrics.sequential_test); the two
comparisons share its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotate import exchange
from training.models import ModelVersion
from training.rlhf.metrics import sequential_test
from training.rlhf.metrics.sequential_test import NEEDED, Verdict

REFERENCE = "starter"
"""The name under which the project's first policy writes."""


@dataclass(frozen=True)
class Comparison:
    """What people say of a policy beside another one."""

    against: str
    verdict: Verdict
    votes: int
    people: int

    @property
    def text(self) -> str:
        """A clause for a sentence that begins with "people"."""
        v = self.verdict
        return (
            f"preferred it to {self.against} in {v.rate:.0%} of {v.n} blind comparisons "
            f"({v.low:.0%} to {v.high:.0%}, however often one looks; votes of {self.people} "
            f"{'person' if self.people == 1 else 'people'})"
        )

    def record(self) -> dict[str, Any]:
        """As the version's metrics keep it."""
        v = self.verdict
        return {
            "against": self.against,
            "outcome": v.outcome,
            "n": v.n,
            "votes": self.votes,
            "people": self.people,
            "win_rate": v.rate,
            "win_rate_low": v.low,
            "win_rate_high": v.high,
        }


def author(version: ModelVersion) -> str:
    """The name that a policy's completions carry."""
    return REFERENCE if version.number == 0 else version.name


def rivals(version: ModelVersion) -> list[str]:
    """Names of the policies that people compare a version with: the one before, the starter."""
    before = [author(version.parent)] if version.parent else []
    return list(dict.fromkeys([*before, REFERENCE]))


def comparisons(version: ModelVersion) -> list[Comparison]:
    """What people said so far, against the policy before first."""
    results = exchange.evaluation_results(version.project, policy=author(version))
    names = rivals(version)
    return [
        Comparison(
            name,
            sequential_test.verdict(results[name].points, comparisons=len(names)),
            results[name].votes,
            results[name].people,
        )
        for name in names
        if name in results
    ]


def outcome(version: ModelVersion, seen: list[Comparison]) -> sequential_test.Outcome:
    """Better than the policy before, worse than that or than the starter, or not decided yet."""
    if any(one.verdict.outcome == "worse" for one in seen):
        return "worse"
    before = next((one for one in seen if one.against == rivals(version)[0]), None)
    return before.verdict.outcome if before else "undecided"


def reason(version: ModelVersion, seen: list[Comparison]) -> str:
    """The comparison that decides, as a sentence."""
    decides = outcome(version, seen)
    deciding = next((one for one in seen if one.verdict.outcome == decides), seen[0])
    return f"People {deciding.text}."


def promise(comparisons: int = 2) -> str:
    """Comparisons that a verdict takes, in a sentence for pages."""
    some = [(rate, NEEDED[rate][comparisons - 1]) for rate in (0.6, 0.7, 0.8)]
    parts = [f"{n} where people prefer it {rate:.0%} of the time" for rate, n in some]
    return (
        f"To see in 8 of 10 cases that people prefer a policy takes about {parts[0]}, "
        f"{parts[1]} and {parts[2]}."
    )


def kept(seen: list[Comparison]) -> dict[str, Any]:
    """Figures for the version's metrics: every comparison, and the one with the starter by itself,
    as charts over rounds show it."""
    record: dict[str, Any] = {"comparisons": [one.record() for one in seen]}
    reference = next((one for one in seen if one.against == REFERENCE), None)
    if reference is not None:
        ends = ("win_rate", "win_rate_low", "win_rate_high", "n", "votes", "people")
        record |= {name: reference.record()[name] for name in ends}
    return record
