"""The vocabulary of a judgement: scales, reasons to skip, warnings about a pair."""

from __future__ import annotations

from typing import NamedTuple

from annotate.models import Flag
from annotate.models.assignment import ScreenChoice


class Point(NamedTuple):
    """One button of a scale: its key, all keys that press it, its caption in parts, and the vote.

    A narrow screen shows `side` and `how` alone.
    """

    key: str
    keys: str
    side: str
    how: str
    rest: str = ""
    before: str = ""
    choice: ScreenChoice = "tie"
    strength: int = 0

    @property
    def caption(self) -> str:
        return " ".join(part for part in (self.side, self.before, self.how, self.rest) if part)


def _left(key: str, how: str, strength: int, *, keys: str = "", rest: str = "better") -> Point:
    return Point(key, f"{key} {keys}".strip(), "A", how, rest, choice="left", strength=strength)


def _right(key: str, how: str, strength: int, *, keys: str = "", rest: str = "better") -> Point:
    return Point(key, f"{key} {keys}".strip(), "B", how, rest, choice="right", strength=strength)


class Scale(NamedTuple):
    """A scale by its title on the settings page, and its buttons from left to right."""

    title: str
    points: list[Point]


SCALES: dict[str, Scale] = {
    "binary": Scale(
        "A or B",
        [
            _left("1", "better", 2, keys="ArrowLeft", rest=""),
            _right("2", "better", 2, keys="ArrowRight", rest=""),
        ],
    ),
    "three": Scale(
        "A, about the same, or B",
        [
            _left("1", "better", 2, keys="ArrowLeft", rest=""),
            Point("2", "2 ArrowDown", "", "same", before="About the"),
            _right("3", "better", 2, keys="ArrowRight", rest=""),
        ],
    ),
    "four": Scale(
        "Four strengths for A and for B, no tie",
        [
            _left("1", "significantly", 3),
            _left("2", "clearly", 2, keys="ArrowLeft"),
            _left("3", "slightly", 1),
            _left("4", "negligibly", 0),
            _right("5", "negligibly", 0),
            _right("6", "slightly", 1),
            _right("7", "clearly", 2, keys="ArrowRight"),
            _right("8", "significantly", 3),
        ],
    ),
    "seven": Scale(
        "Seven points from A much better to B much better",
        [
            _left("1", "much", 3),
            _left("2", "better", 2, keys="ArrowLeft", rest=""),
            _left("3", "slightly", 1),
            Point("4", "4 ArrowDown", "", "same", before="About the"),
            _right("5", "slightly", 1),
            _right("6", "better", 2, keys="ArrowRight", rest=""),
            _right("7", "much", 3),
        ],
    ),
}
"""Every scale by its name, which projects keep. Strengths go up to
MAX_STRENGTH of annotate.models.assignment, keys count from 1.
Laid out as the hand lies on the keys: left is A, right is B."""


def titles() -> list[tuple[str, str]]:
    """Name and title of every scale, for a form."""
    return [(name, scale.title) for name, scale in SCALES.items()]


def points(scale: str) -> list[Point]:
    """The buttons of a scale from left to right; "both bad" stands apart from them."""
    return SCALES[scale].points


def both_bad(scale: str) -> Point:
    """The button that every scale has, on the key after its last."""
    key = str(len(points(scale)) + 1)
    return Point(key, key, "", "Both bad", choice="both_bad")


def all_points(scale: str) -> dict[str, Point]:
    """Every button of the vote bar by its key."""
    return {point.key: point for point in (*points(scale), both_bad(scale))}


def scale_choices(scale: str) -> dict[str, tuple[ScreenChoice, int]]:
    """Key -> what it votes: the side of the screen and the strength."""
    return {key: (point.choice, point.strength) for key, point in all_points(scale).items()}


def off_scale(scale: str, side: str, strength: int) -> dict[str, str]:
    """Problems of a vote on this scale, by field; none where it has such a button."""
    votes = scale_choices(scale).values()
    strengths = sorted(how for one, how in votes if one == side)
    if not strengths:
        return {"choice": "This project's scale has no tie: choose left, right or both_bad."}
    if side in ("left", "right") and strength not in strengths:
        known = ", ".join(map(str, strengths))
        return {"strength": f"Not on this project's scale, which has {known}."}
    return {}


def said(scale: str, side: str, strength: int | None) -> str:
    """The caption of a vote, also of one that was cast on another scale of the project.

    Without a strength, as a file may give it, one side is plainly better.
    """
    strength = 2 if strength is None else strength
    other = [one for one in SCALES if one != scale]
    for each in (scale, "seven", *other):
        for point in all_points(each).values():
            if point.choice == side and (
                side not in ("left", "right") or point.strength == strength
            ):
                return point.caption
    raise ValueError(f"{side!r} is no vote")


def stated(scale: str, choice: str, strength: int | None) -> str:
    """The caption of a vote about the completions, and not about the sides of anybody's screen.

    Without a strength, as a file may give it: "A better".
    """
    if choice in ("a", "b") and strength is None:
        return f"{choice.upper()} better"
    return said(scale, SIDES.get(choice, choice), strength)


SIDES = {"a": "left", "b": "right"}
"""The side of the screen on which scales have a completion."""


class SkipReason(NamedTuple):
    """Why somebody gave a pair up, and what follows beyond their not seeing it again."""

    name: str
    title: str
    key: str
    retires: bool = False
    """Two people who say so take the pair out of the queue; otherwise others are asked."""
    flag: str = ""
    """The warning it files."""


SKIPS = [
    SkipReason("hard", "Too hard or not my field", "t"),
    SkipReason("broken", "Unreadable or broken", "b", retires=True),
    SkipReason("identical", "Both are the same", "i", retires=True),
    SkipReason("unsafe", "Unsafe content", "x", flag=Flag.Kind.UNSAFE),
    SkipReason("other", "Other", "o"),
]
SKIP_REASONS: dict[str, str] = {reason.name: reason.title for reason in SKIPS}
FLAGS: dict[str, str] = {kind.value: str(kind.label) for kind in Flag.Kind}
RETIRING_SKIPS = tuple(reason.name for reason in SKIPS if reason.retires)
RETIRING_FLAG = Flag.Kind.UNSAFE.value
ENOUGH = 2
"""People who have to object before a pair leaves the queue: one may be mistaken."""


def on_screen(choice: str, *, left: str) -> str:
    """A choice in the letters of the screen, on which A is whatever stands on the left."""
    if choice in ("a", "b"):
        return f"{'A' if choice == left else 'B'} is better"
    return {"tie": "About the same", "both_bad": "Both are bad"}[choice]
