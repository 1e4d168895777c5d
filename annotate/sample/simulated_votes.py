"""Simulated annotators: they vote through the same queue as people, and their votes say so."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.contrib.auth.models import User
from django.utils.text import slugify

from annotate import queue
from annotate.models import Membership, Project
from annotate.sample.colleagues import Colleague, colleague


@dataclass(frozen=True)
class Member:
    user: User
    colleague: Colleague


def cast_votes(
    project: Project,
    *,
    annotators: int,
    votes: int,
    seed: int = 0,
    taste: str = "",
    report: Callable[[int], None] = lambda cast: None,
) -> int:
    """Cast up to `votes` votes by `annotators` simulated people; return how many were cast.

    `taste` is a name of `tastes.TASTES` that all of them have, for trials of the gates.

    Stops when no place is left for any of them. `report` gets the number cast so far.
    """
    rng = random.Random(seed)
    people = [replace(colleague(i, seed=seed), taste=taste) for i in range(annotators)]
    waiting = [join(project, one) for one in people]
    cast = 0
    while cast < votes and waiting:
        member = waiting[rng.randrange(len(waiting))]
        if vote_once(project, member, rng=rng):
            cast += 1
            report(cast)
        else:
            waiting.remove(member)
    return cast


def join(project: Project, person: Colleague) -> Member:
    """Make an account that nobody can sign in to, and a membership, for a simulated person."""
    # No person can take the name: the sign-up form refuses the slash.
    user, created = User.objects.get_or_create(username=f"simulated/{slugify(person.name)}")
    if created:
        user.first_name, _, user.last_name = person.name.partition(" ")
        user.set_unusable_password()
        user.save(update_fields=["first_name", "last_name", "password"])
    Membership.objects.get_or_create(
        project=project,
        user=user,
        defaults={"simulated": True, "pseudonym": f"sim-{slugify(person.name)}"},
    )
    return Member(user, person)


def vote_once(project: Project, member: Member, *, rng: random.Random) -> bool:
    """Lease a pair, judge it as it stands on the screen, vote. False when there is no pair."""
    with queue.write():
        assignment = queue.next_pair(project, member.user, rng=rng)
        if assignment is None:
            return False
        screen = queue.shown(assignment)
        side, strength = member.colleague.judge(
            screen["prompt"], screen["left"], screen["right"], rng=rng
        )
        queue.vote_side(member.user, assignment.token, side, strength=strength, simulated=True)
    return True
