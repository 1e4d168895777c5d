"""Doubts about people that training's model of the votes raises, kept with their memberships."""

from __future__ import annotations

from collections.abc import Mapping

from annotate.models import Project
from annotate.queue import write

TOLD = 3
"""Digits of a chance; a smaller change is not written."""


def set_head_doubts(project: Project, doubts: Mapping[int, float]) -> None:
    """Keep each person's chance of being honest nevertheless; whoever is not named has none.

    Args:
        doubts: by annotator; see `Membership.head_doubt`.
    """
    wanted = {annotator: round(chance, TOLD) for annotator, chance in doubts.items()}
    kept = project.memberships.values_list("pk", "user_id", "head_doubt")
    changed = [(pk, wanted.get(user)) for pk, user, was in kept if was != wanted.get(user)]
    for pk, chance in changed:
        # A row at a time: whoever locks several members at once does so in an order of its own.
        with write():
            project.memberships.filter(pk=pk).update(head_doubt=chance)
