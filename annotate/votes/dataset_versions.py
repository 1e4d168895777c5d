"""Dataset versions: freezing a project's votes, and reading a version back exactly.

Version N holds the standing votes with frozen_from <= N and the revisions with
frozen_from <= N <= frozen_until. A later correction or undo moves a frozen vote to a revision
row, so what a version holds never changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from annotate.models import Adjudication, Assignment, DatasetVersion, Project, VoteRevision
from annotate.models.statement_timeout import take_time

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A vote as a version holds it: what the assignment says of the lease, then of the judgement.
LEASE = ("pair_id", "annotator_id", "token", "left", "stream", "propensity", "leased_at")
JUDGEMENT = (
    "simulated",
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


def freeze(project: Project, *, by: User | None = None) -> DatasetVersion:
    """Number the votes that stand now; an unchanged state gets its old version again."""
    with transaction.atomic():
        # The first version numbers every vote there is.
        take_time()
        # One freeze at a time: the second waits here and then finds nothing new.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        latest = project.dataset_versions.first()
        if latest is None or _changed_since(latest):
            latest = _next_version(project, latest.number + 1 if latest else 1, by)
    if not latest.sha256:
        # Outside the lock, because reading every vote takes seconds on a large project: what the
        # version holds is fixed by now. A crash in between is made good by the next call.
        _seal(latest)
    return latest


def version_or_live(project: Project, number: int | None = None) -> DatasetVersion:
    """The numbered version, or without a number the votes that stand now, frozen.

    Raises DatasetVersion.DoesNotExist.
    """
    if number is None:
        return freeze(project)
    version = project.dataset_versions.get(number=number)
    version.project = project
    return version


def _changed_since(version: DatasetVersion) -> bool:
    unfrozen = _standing(version.project).filter(frozen_from=None)
    replaced = VoteRevision.objects.filter(
        assignment__pair__project=version.project, frozen_until=version.number
    )
    if unfrozen.exists() or replaced.exists():
        return True
    return _decisions(version.project) != version.decisions


def _decisions(project: Project) -> dict[str, list[object]]:
    """What reviewers decided, as a version keeps it: few pairs, so a copy is the simplest."""
    rows = Adjudication.objects.filter(pair__project=project).order_by("pair_id")
    return {
        str(pair): [choice, strength]
        for pair, choice, strength in rows.values_list("pair_id", "choice", "strength")
    }


def _next_version(project: Project, number: int, by: User | None) -> DatasetVersion:
    # Every condition is on the row itself: PostgreSQL checks those again after it waited for an
    # undo, but not those inside a subquery, which a join would become in an UPDATE.
    Assignment.objects.filter(
        pair_id__in=project.pairs.values("id"), state=Assignment.State.VOTED, frozen_from=None
    ).update(frozen_from=number)
    held = (
        _standing(project)
        .exclude(frozen_from=None)
        .aggregate(
            n_pairs=Count("pair_id", distinct=True),
            n_votes=Count("id"),
            n_simulated=Count("id", filter=Q(simulated=True)),
        )
    )
    return DatasetVersion.objects.create(
        project=project,
        number=number,
        sha256="",
        created_by=by,
        decisions=_decisions(project),
        **held,
    )


def _seal(version: DatasetVersion) -> None:
    """Store the hash of the version's votes export."""
    from annotate.exporting import votes_format

    version.sha256 = votes_format.sha256(version)
    version.save(update_fields=["sha256"])


def _standing(project: Project) -> QuerySet[Assignment]:
    return Assignment.objects.filter(pair__project=project, state=Assignment.State.VOTED)


def votes_in(
    version: DatasetVersion, *, include_simulated: bool, columns: tuple[str, ...] = COLUMNS
) -> QuerySet[Assignment, tuple[object, ...]]:
    """The version's votes as tuples of `columns` (pair_id and seq among them), pair by pair.

    One statement, so that a vote taken back meanwhile is seen once: as it stood, or as its
    revision.
    """
    number = version.number
    standing = _standing(version.project).filter(frozen_from__lte=number)
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
