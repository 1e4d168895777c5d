"""The rows in which a project's criteria are compared, above the overall vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from annotate.models import Assignment, Project
from annotate.queue.vote import completion
from annotate.votes.scales import points

CAPTIONS = {"left": "A", "tie": "Same", "right": "B"}
# On every scale, also where the vote itself knows no tie.
TIE = "ArrowDown"


class Answer(NamedTuple):
    """One of a row's three buttons; the first of its keys is printed on it."""

    side: str
    caption: str
    keys: str


class Row(NamedTuple):
    """A criterion with what was said of it before; the `active` one takes the keys.

    A phone shows one row at a time.
    """

    name: str
    given: str
    active: bool
    shown: bool


def answers(scale: str) -> list[Answer]:
    """The buttons of a row, pressed by the keys of the scale that speak for the same side."""
    keys: dict[str, list[str]] = {side: [] for side in CAPTIONS}
    for point in points(scale):
        # The plain key of a side is the one that has an arrow as well.
        first = 0 if " " in point.keys else len(keys[point.choice])
        keys[point.choice][first:first] = point.keys.split()
    keys["tie"] = keys["tie"] or [TIE]
    return [Answer(side, caption, " ".join(keys[side])) for side, caption in CAPTIONS.items()]


def rows(project: Project, assignment: Assignment) -> list[Row]:
    """A row per criterion; a vote that was just taken back has filled them in."""
    given = [_side(assignment, assignment.taken_back, name) for name in project.criteria]
    turn = given.index("") if "" in given else len(given)
    shown = min(turn, len(given) - 1)
    return [
        Row(name, side, number == turn, number == shown)
        for number, (name, side) in enumerate(zip(project.criteria, given, strict=True))
    ]


def _side(assignment: Assignment, taken_back: Mapping[str, str], name: str) -> str:
    choice = taken_back.get(name, "")
    sides: Sequence[str] = ("left", "right", "tie")
    return next((side for side in sides if completion(side, assignment.left) == choice), "")
