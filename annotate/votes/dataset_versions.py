"""Reading a dataset version back exactly; annotate.exporting.freezing makes one.

Version N holds the standing votes with frozen_from <= N and the revisions with
frozen_from <= N <= frozen_until. A later correction or undo moves a frozen vote to a revision
row, so what a version holds never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from annotate.models import Assignment, DatasetVersion, VoteRevision

# A vote as a version holds it: what the assignment says of the lease, then of the judgement.
LEASE = ("pair_id", "annotator_id", "token", "left", "stream", "propensity", "leased_at")
JUDGEMENT = (
    "simulated",
    "imported",
    "metadata",
    "choice",
    "strength",
    "reasons",
    "comment",
    "criteria",
    "criteria_asked",
    "voted_at",
    "seq",
    "active_ms",
    "first_key_ms",
    "wall_ms",
    "input",
    "guideline_version",
    "surplus",
    "revision",
)
TEXTS = {"leased_at_text", "voted_at_text"}
"""Times as the database writes them, which takes less than making objects of them."""
COLUMNS = LEASE + JUDGEMENT
# The rest of a vote is copied into its revision, because a new lease overwrites it.
ON_ASSIGNMENT = ("pair_id", "annotator_id", "token", "left")


def votes_in(
    version: DatasetVersion,
    *,
    include_simulated: bool,
    columns: tuple[str, ...] = COLUMNS,
    weighing: bool | None = None,
    pairs: Iterable[int] | None = None,
    **only: Any,
) -> QuerySet[Assignment, tuple[Any, ...]]:
    """The version's votes as tuples of `columns` (pair_id and seq among them), pair by pair.

    `weighing` takes those whose authors had a weight above 0 when the version was made, or (False)
    only the others; `pairs` those on these pairs of its project; `only` are conditions on columns
    that a vote and its revision have.

    One statement, so that a vote taken back meanwhile is seen once: as it stood, or as its
    revision.
    """
    number = version.number
    standing = Assignment.objects.voted().filter(frozen_from__lte=number)
    revised = VoteRevision.objects.filter(frozen_from__lte=number, frozen_until__gte=number)
    if not include_simulated:
        only["simulated"] = False
    if pairs is not None:
        pairs = list(pairs)
    texts = {name: Cast(name.removesuffix("_text"), TextField()) for name in TEXTS & {*columns}}
    standing = standing.filter(_by_whom_on_what(version, weighing, pairs, ""), **only)
    revised = revised.filter(_by_whom_on_what(version, weighing, pairs, "assignment__"), **only)
    of_revision = [f"assignment__{name}" if name in ON_ASSIGNMENT else name for name in columns]
    return (
        standing.annotate(**texts)
        .values_list(*columns)
        .union(revised.annotate(**texts).values_list(*of_revision), all=True)
        .order_by("pair_id", "seq")
    )


def _by_whom_on_what(
    version: DatasetVersion, weighing: bool | None, pairs: list[int] | None, at: str
) -> Q:
    """Votes as `votes_in` wants them; `at` leads from the queried rows to the assignment."""
    if pairs is None:
        wanted = Q(**{f"{at}pair__project": version.project})
    else:
        # Without the project, which says no more: SQLite would begin with all of its pairs.
        wanted = Q(**{f"{at}pair_id__in": pairs})
    if weighing is not None:
        weightless = [user for user, (weight, *_) in version.people.items() if weight == 0]
        by_them = Q(**{f"{at}annotator__in": weightless})
        wanted &= ~by_them if weighing else by_them
    return wanted
