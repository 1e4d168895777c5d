"""People's verdict on a policy: blind comparisons with the one before and with the starter.

The test may be looked at after every vote (training.rlhf.metrics.sequential_test); the two
comparisons share its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from annotate import exchange
from training.figures.number_format import percent
from training.models import ModelVersion
from training.rlhf.config import ProposeConfig
from training.rlhf.metrics import prediction_powered, sequential_test
from training.rlhf.metrics.prediction_powered import AssistedRate
from training.rlhf.metrics.sequential_test import NEEDED, Verdict

REFERENCE = "starter"
"""The name under which the project's first policy writes."""


@dataclass(frozen=True)
class Comparison:
    """People's answers on a policy beside another one."""

    against: str
    verdict: Verdict
    votes: int
    people: int
    assisted: AssistedRate | None = None
    """The rate with a judge's help, where that has seen enough further prompts."""

    @property
    def text(self) -> str:
        """A clause for a sentence that begins with "people"."""
        v = self.verdict
        return (
            f"preferred it to {self.against} in {percent(v.rate, 0)} of {v.n} blind comparisons "
            f"({percent(v.low, 0)} to {percent(v.high, 0)}, however often one looks; "
            f"votes of {self.people} {'person' if self.people == 1 else 'people'})"
        )

    def record(self) -> dict[str, Any]:
        """As the version's metrics keep it."""
        v, helped = self.verdict, self.assisted
        told = {} if helped is None else {"assisted": [helped.rate, helped.low, helped.high]}
        return told | {
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


def comparisons(version: ModelVersion, *, since: datetime | None = None) -> list[Comparison]:
    """People's comparisons so far, with the policy before first.

    Args:
        since: count votes that were cast after it alone.
    """
    results = exchange.evaluation_results(version.project, policy=author(version), since=since)
    names = rivals(version)
    return [
        Comparison(
            name,
            sequential_test.verdict(results[name].points, comparisons=len(names)),
            results[name].votes,
            results[name].people,
            _assisted(results[name]),
        )
        for name in names
        if name in results
    ]


LEAST_FURTHER = 30
"""Prompts that a judge has to have seen beyond those of people: fewer help nobody."""


def _assisted(seen: exchange.Comparisons) -> AssistedRate | None:
    """It informs; people's votes alone decide."""
    if len(seen.judged) < prediction_powered.LEAST or len(seen.judged_elsewhere) < LEAST_FURTHER:
        return None
    arrays = (np.array(x) for x in (seen.points, seen.judged, seen.judged_elsewhere))
    return prediction_powered.assisted_rate(*arrays)


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
    parts = [f"{n} where people prefer it {percent(rate, 0)} of the time" for rate, n in some]
    return (
        f"To see in 8 of 10 cases that people prefer a policy takes about {parts[0]}, "
        f"{parts[1]} and {parts[2]}."
    )


def power(project: exchange.Project, config: Mapping[str, Any] | None) -> str:
    """The power of people's comparisons of a coming round, in words, before it starts.

    Args:
        config: the round's settings; None where they are refused.
    """
    policy = ModelVersion.objects.policies().promoted().filter(project=project).first()
    others = 1 if policy is None or policy.number == 0 else 2
    asked = ((config or {}).get("propose") or {}).get("evaluation_pairs")
    pairs = min(ProposeConfig().evaluation_pairs if asked is None else asked, held_out(project))
    beside = "the starter" if others == 1 else "the policy before, and with the starter"
    return (
        f"People are asked to compare its policy, blind, with {beside} on up to {pairs} held-out "
        f"prompts, one vote each. {promise(others)}"
    )


def held_out(project: exchange.Project) -> int:
    """Prompts that are set aside for measuring."""
    return project.prompts.filter(held_out=True).count()


def kept(seen: list[Comparison]) -> dict[str, Any]:
    """Figures for the version's metrics: every comparison, and the one with the starter by itself,
    as charts over rounds show it."""
    record: dict[str, Any] = {"comparisons": [one.record() for one in seen]}
    reference = next((one for one in seen if one.against == REFERENCE), None)
    if reference is not None:
        ends = ("win_rate", "win_rate_low", "win_rate_high", "n", "votes", "people")
        record |= {name: reference.record()[name] for name in ends}
    return record


def shown(version: ModelVersion) -> dict[str, Any] | None:
    """People's verdict as pages tell it; None of the starter and of who was never compared."""
    told = (version.metrics.get("human") or {}).get("comparisons", [])
    waiting = exchange.evaluation_open(version.project, policy=author(version))
    if version.number == 0 or not (told or waiting):
        return None
    return {"name": version.name, "comparisons": told, "state": _state(version, waiting)}


def _state(version: ModelVersion, waiting: int) -> str:
    """The state of the comparisons, and what they would take."""
    settled = version.decisions.order_by("-pk").first()
    if settled is not None and settled.decided_by == settled.By.PEOPLE:
        return "People decided."
    others = (
        " They are asked of those whose votes taught the judge and no reward model."
        if exchange.has_evaluators(version.project)
        else ""
    )
    asked = f"{waiting} pair{'s' * (waiting != 1)} wait{'s' * (waiting == 1)} for a vote.{others}"
    return f"{asked} {promise(len(rivals(version)))}" if waiting else "No pair waits for a vote."
