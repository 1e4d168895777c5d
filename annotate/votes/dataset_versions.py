"""Reading a dataset version back exactly; annotate.exporting.freezing makes one.

Version N holds the standing votes with frozen_from <= N and the revisions with
frozen_from <= N <= frozen_until. A later correction or undo moves a frozen vote to a revision
row, so what a version holds never changes.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

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
COLUMNS = LEASE + JUDGEMENT
# The rest of a vote is copied into its revision, because a new lease overwrites it.
ON_ASSIGNMENT = ("pair_id", "annotator_id", "token", "left")


def votes_in(
    version: DatasetVersion, *, include_simulated: bool, columns: tuple[str, ...] = COLUMNS
) -> QuerySet[Assignment, tuple[Any, ...]]:
    """The version's votes as tuples of `columns` (pair_id and seq among them), pair by pair.

    One statement, so that a vote taken back meanwhile is seen once: as it stood, or as its
    revision.
    """
    number = version.number
    standing = Assignment.objects.in_project(version.project).voted()
    standing = standing.filter(frozen_from__lte=number)
    revised = VoteRevision.objects.filter(
        assignment__pair__project=version.project,
        frozen_from__lte=number,
        frozen_until__gte=number,
    )
    if not include_simulated:
        standing = standing.filter(simulated=False)
        revised = revised.filter(simulated=False)
    from_revision = [
        f"assignment__{column}" if column in ON_ASSIGNMENT else column for column in columns
    ]
    return (
        standing.values_list(*columns)
        .union(revised.values_list(*from_revision), all=True)
        .order_by("pair_id", "seq")
    )
