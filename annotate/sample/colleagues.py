"""Simulated colleagues: named people who vote by the rubric, each with their own faults.

The choice follows Bradley and Terry (1952): the logit of preferring the left reply is the
difference of the rubric's points times the colleague's reliability, plus a bias for the left
side. Now and then a colleague is distracted and votes at random (a lapse), and a margin too small
to see is a tie.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotate.sample import rubric, tastes
from annotate.sample.made_up_texts import Message

if TYPE_CHECKING:
    from annotate.models.assignment import ScreenChoice

NAMES = (
    "Amara Okafor",
    "Bjorn Lindqvist",
    "Chloe Dubois",
    "Dmitri Volkov",
    "Elif Yilmaz",
    "Farid Rahimi",
    "Grace Mwangi",
    "Hiroshi Sato",
    "Ines Carvalho",
    "Jamal Washington",
    "Katarzyna Nowak",
    "Liam Murphy",
    "Mei Chen",
    "Nikhil Sharma",
    "Olivia Rossi",
    "Pablo Herrera",
    "Quynh Nguyen",
    "Rania Haddad",
    "Sione Taufa",
    "Tanja Vogel",
)
"""The fixed cast, in order of appearance; beyond it the names repeat with a number."""


@dataclass(frozen=True)
class Colleague:
    """One simulated annotator."""

    name: str
    reliability: float
    """Logits per point of the rubric's difference."""
    position_bias: float
    """Logits in favour of the reply on the left; negative favours the right."""
    lapse: float
    """Share of votes cast at random."""
    tie_threshold: float
    """A felt margin (logits) below this is called a tie."""
    taste: str = ""
    """A name of `tastes.TASTES` that is added to the rubric; nobody has one by nature."""

    def judge(
        self, messages: list[Message], left: str, right: str, *, rng: random.Random
    ) -> tuple[ScreenChoice, int]:
        """Vote on one pair as it stands on the screen.

        Returns:
            The choice (left, right, tie or both_bad) and its strength from 1 to 3.
        """
        if rng.random() < self.lapse:
            return rng.choice(("left", "right")), rng.randint(1, 3)
        points = [rubric.utility(messages, text) + self._likes(text) for text in (left, right)]
        felt = self.reliability * (points[0] - points[1]) + self.position_bias + _logistic(rng)
        if abs(felt) < self.tie_threshold:
            return ("both_bad" if max(points) < -1 else "tie"), 2
        strength = 1 if abs(felt) < 1.5 else 2 if abs(felt) < 4 else 3
        return ("left" if felt > 0 else "right"), strength

    def _likes(self, text: str) -> float:
        return tastes.TASTES[self.taste](text) if self.taste else 0.0


def name(index: int) -> str:
    """Return the name of the colleague with this number, counted from 0."""
    again, place = divmod(index, len(NAMES))
    return NAMES[place] if not again else f"{NAMES[place]} {again + 1}"


def colleague(who: int | str, *, seed: int = 0) -> Colleague:
    """Return the colleague with a number or a name; the same seed gives the same person."""
    called = name(who) if isinstance(who, int) else who
    rng = random.Random(f"colleague {seed} {called}")
    return Colleague(
        name=called,
        reliability=rng.uniform(0.75, 1.7),
        position_bias=rng.gauss(0.1, 0.3),
        lapse=rng.uniform(0.0, 0.06),
        tie_threshold=rng.uniform(0.05, 0.25),
    )


def _logistic(rng: random.Random) -> float:
    """Draw standard logistic noise, which makes the choice a Bradley-Terry one."""
    share = min(max(rng.random(), 1e-12), 1 - 1e-12)
    return math.log(share / (1 - share))
