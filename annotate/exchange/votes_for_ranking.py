"""Single votes, the arms they came from, and pairs that wait: all that a ranking reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Exists, OuterRef

from annotate import queue
from annotate.models import Assignment, Pair, Project
from annotate.models.assignment import AssignmentQuerySet

UNKNOWN_STRENGTH = 2
VALUE = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
Vote = tuple[str, int, float, float, float]
"""A row of `single_votes`."""


def single_votes(project: Project, *, include_simulated: bool) -> Iterator[Vote]:
    """Standing votes that teach: key of the pair, annotator, value, mass and side.

    The value is 1 for A, 0 for B, 0.5 for a tie; the mass goes by strength, as in a reward model's
    soft labels; the side is 1 where A was on the left, 0 where B was, 0.5 where nobody knows.
    """
    votes = _teaching(project, include_simulated)
    columns = ("pair__key", "annotator_id", "choice", "strength", "left")
    for row in votes.order_by().values_list(*columns).iterator():
        yield single_vote(*row)


def single_vote(key: str, annotator: int, choice: str, strength: int | None, left: str) -> Vote:
    """The row of `single_votes` that a vote becomes."""
    value = VALUE[choice]
    known = value != 0.5 and strength is not None
    mass = ((strength or 0.5) if known else UNKNOWN_STRENGTH) / 2
    return key, annotator, value, mass, {"a": 1.0, "b": 0.0}.get(left, 0.5)


def single_vote_count(project: Project, *, include_simulated: bool) -> int:
    """The number of votes that `single_votes` tells."""
    return _teaching(project, include_simulated).count()


ArmVote = tuple[str, int, int, str, str]
"""A row of `votes_of_arms`."""


def votes_of_arms(project: Project, *, include_simulated: bool) -> Iterator[ArmVote]:
    """Key of the pair, annotator, prompt, arm of the lease and acquisition that ranked the pair, of
    the votes that `single_votes` tells."""
    votes = _teaching(project, include_simulated).order_by()
    columns = ("pair__key", "annotator_id", "pair__prompt_id", "stream", "acquisition")
    yield from votes.values_list(*columns).iterator()


def _teaching(project: Project, include_simulated: bool) -> AssignmentQuerySet:
    votes = Assignment.objects.in_project(project).standing().filter(pair__kind__in=Pair.TEACHING)
    return votes if include_simulated else votes.filter(simulated=False)


def vote_coverage(
    project: Project, votes: Iterable[tuple[int, str]], *, most_tags: int
) -> dict[str, Any]:
    """Prompts with pairs, and those of them with a vote, by arm; the same of each tag.

    Args:
        votes: prompt and arm of each.
        most_tags: the commonest so many.

    Returns:
        `prompts`, a row, and `tags`, a list of rows with their `tag`. A row has `all`, `voted`,
        `random` and `active`.
    """
    arms: dict[int, set[str]] = {}
    for prompt, arm in votes:
        arms.setdefault(prompt, set()).add(arm)
    whole, of_tags = _Counted(), dict[str, _Counted]()
    asked = project.prompts.filter(Exists(project.pairs.filter(prompt=OuterRef("pk"))))
    for prompt, tags in asked.order_by().values_list("pk", "tags").iterator():
        for counted in (whole, *(of_tags.setdefault(tag, _Counted()) for tag in set(tags))):
            counted.add(arms.get(prompt, set()))
    common = sorted(of_tags.items(), key=lambda one: (-one[1]["all"], one[0]))[:most_tags]
    return {"prompts": dict(whole), "tags": [{"tag": tag, **row} for tag, row in common]}


class _Counted(dict[str, int]):
    """Counts of prompts: `all`, and those with a vote, by arm."""

    def __init__(self) -> None:
        super().__init__(all=0, voted=0, random=0, active=0)

    def add(self, arms: set[str]) -> None:
        self["all"] += 1
        self["voted"] += bool(arms)
        self["random"] += "random" in arms
        self["active"] += "active" in arms


def open_priorities(project: Project) -> dict[str, float]:
    """The priorities of the pairs that still want votes and may be ranked, by their keys."""
    pairs = Pair.objects.filter(project=project, state=Pair.State.OPEN, kind__in=Pair.TEACHING)
    return dict(pairs.order_by().values_list("key", "priority"))


def may_be_asked_again(project: Project) -> set[str]:
    """Keys of pairs with one vote on which a ranking may ask for another, or has asked for it."""
    there = queue.may_be_asked_again(project) | queue.asked_again(project)
    return set(there.values_list("key", flat=True))


def leased_pair_keys(project: Project) -> set[str]:
    """Keys of the pairs that are on somebody's screen now."""
    leases = Assignment.objects.in_project(project).leased()
    return set(leases.values_list("pair__key", flat=True))


def queue_depth(project: Project) -> int:
    """Number of pairs with a free slot."""
    free = Pair.objects.filter(project=project, open_slots__gt=0)
    return free.exclude(arms=Pair.Arms.CHECK).count()
