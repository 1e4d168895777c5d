"""Freezing a project's votes as a numbered dataset version, sealed by their hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, Q

from annotate.exporting import people_in_version, seal
from annotate.models import Adjudication, Assignment, DatasetVersion, Project, VoteRevision
from annotate.statements.statement_timeout import take_time

if TYPE_CHECKING:
    from django.contrib.auth.models import User


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
    unfrozen = Assignment.objects.in_project(version.project).voted().filter(frozen_from=None)
    replaced = VoteRevision.objects.filter(
        assignment__pair__project=version.project, frozen_until=version.number
    )
    if unfrozen.exists() or replaced.exists():
        return True
    decisions: dict[str, list[object]] = version.decisions
    if _decisions(version.project) != decisions:
        return True
    weights = version.project.memberships.values_list("user_id", "weight")
    kept = {int(user): known[0] for user, known in version.people.items()}
    # Who joined since has no votes in it, and reliabilities follow the votes.
    return any(kept.get(user, weight) != weight for user, weight in weights)


def _decisions(project: Project) -> dict[str, list[object]]:
    """Reviewers' decisions as a version keeps them: few pairs, so a copy is the simplest."""
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
    frozen = Assignment.objects.in_project(project).voted().exclude(frozen_from=None)
    sizes = frozen.aggregate(
        n_pairs=Count("pair_id", distinct=True),
        n_votes=Count("id"),
        n_simulated=Count("id", filter=Q(simulated=True)),
    )
    return DatasetVersion.objects.create(
        project=project,
        number=number,
        sha256="",
        created_by=by,
        decisions=_decisions(project),
        people=people_in_version.as_they_are(project),
        **sizes,
    )


def _seal(version: DatasetVersion) -> None:
    """Store the hash of the version's votes."""
    version.sha256 = seal.sha256(version)
    version.save(update_fields=["sha256"])
