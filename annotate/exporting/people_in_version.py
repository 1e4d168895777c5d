"""The people whose votes a dataset version holds, as it knew them: weights and reliabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from annotate.models import DatasetVersion, Project
from annotate.statistics.aggregation import sided_evidence
from annotate.votes.export_values import pseudonyms

Soft = tuple[float, float, float]
"""P(A), P(tie), P(B)."""


class Person(NamedTuple):
    """One author of votes. Without an estimate, `evidence` is empty."""

    pseudonym: str
    weight: float
    reliability: float | None
    prior: Soft | None
    """Logarithms."""
    evidence: dict[tuple[str, bool], Soft]
    """(choice, B on the left) -> what the vote adds to the logarithms."""


class People(dict[int, Person]):
    """User id -> the person; who is no member weighs 1, and nothing else is known of them."""

    def __init__(self, version: DatasetVersion) -> None:
        self.name: Callable[[int], str] = pseudonyms(version.project)
        super().__init__(
            {int(user): self._known(int(user), *of) for user, of in version.people.items()}
        )

    def __missing__(self, user: int) -> Person:
        self[user] = Person(self.name(user), 1.0, None, None, {})
        return self[user]

    def _known(
        self, user: int, weight: float, reliability: float | None, estimate: dict[str, Any] | None
    ) -> Person:
        told = None if reliability is None else round(reliability, 6)
        if estimate is None:
            return Person(self.name(user), weight, told, None, {})
        a, tie, b = np.log(np.array(estimate["prior"]) + 1e-12).tolist()
        evidence = sided_evidence(np.array(estimate["confusion"]))
        return Person(self.name(user), weight, told, (a, tie, b), evidence)


def as_they_are(project: Project) -> dict[str, list[Any]]:
    """The project's members as a new version keeps them."""
    rows = project.memberships.values_list("user_id", "weight", "reliability", "estimate")
    return {str(user): [*known] for user, *known in rows.order_by("user_id")}


def soft_label(cast: list[tuple[Person, str, bool]]) -> Soft | None:
    """Probabilities after votes of (author, choice, B on the left).

    Those of annotate.quality.reliability on these votes; None where an author has no estimate.
    """
    prior = cast[0][0].prior
    if prior is None:
        return None
    a, tie, b = prior
    for person, choice, flipped in cast:
        if not person.evidence:
            return None
        for_a, for_tie, for_b = person.evidence[choice, flipped]
        a, tie, b = a + for_a, tie + for_tie, b + for_b
    top = max(a, tie, b)
    a, tie, b = math.exp(a - top), math.exp(tie - top), math.exp(b - top)
    total = a + tie + b
    return round(a / total, 6), round(tie / total, 6), round(b / total, 6)
