"""New votes of all projects, looked for every second without reading the old ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from django.db.models import F, Max, Q

from annotate.exchange.votes_for_ranking import Vote, single_vote
from annotate.models import Assignment, Pair

MOST = 500
"""Votes of one look. More come from a file, and wait for the next ranking of all pairs."""


@dataclass
class Seen:
    """Votes and leases of a project since the last look."""

    votes: list[Vote] = field(default_factory=list)
    open: dict[str, bool] = field(default_factory=dict)
    """True when pairs that were touched still want votes, by their keys."""
    on_screen: set[str] = field(default_factory=set)
    """Keys of all pairs that somebody looks at now."""


class VoteWatch:
    """Tells of votes by the leases that ended and the rows that are new.

    A row that is leased a second time and voted on between two looks is missed, and so is a vote
    that was taken back or changed: the next ranking of all pairs knows them.
    """

    def __init__(self) -> None:
        self._leased: set[int] = set()
        self._newest = Assignment.objects.aggregate(newest=Max("pk"))["newest"] or 0
        self.look()

    def look(self) -> dict[int, Seen]:
        """Votes and leases since the last look, by the ids of the projects that had any."""
        seen: dict[int, Seen] = defaultdict(Seen)
        leases = Assignment.objects.leased().values_list("pk", "pair__project_id", "pair__key")
        now = list(leases)
        leased = {pk for pk, _, _ in now}
        self._tell(seen, Q(pk__in=sorted(self._leased - leased)[:MOST]) | Q(pk__gt=self._newest))
        fresh = {project for pk, project, _ in now if pk not in self._leased}
        for _, project, key in now:
            if project in seen or project in fresh:
                seen[project].on_screen.add(key)
        self._leased = leased
        return seen

    def _tell(self, seen: dict[int, Seen], which: Q) -> None:
        columns = ("choice", "strength", "left", "state", "surplus", "simulated")
        rows = (
            Assignment.objects.filter(which)
            .order_by("pk")
            .values_list(
                *("pk", "annotator_id", "pair__project_id", "pair__key", "pair__kind"),
                *("pair__open_slots", F("pair__project__train_on_simulated"), *columns),
            )[: 2 * MOST]
        )
        for pk, annotator, project, key, kind, slots, trains, *rest in rows:
            choice, strength, left, state, surplus, simulated = rest
            self._newest = max(self._newest, pk)
            seen[project].open[key] = slots > 0
            counts = state == Assignment.State.VOTED and not surplus and kind in Pair.TEACHING
            if counts and (trains or not simulated):
                seen[project].votes.append(single_vote(key, annotator, choice, strength, left))
