"""Format `project`: everything a project holds, which an import brings back with the same hash.

Simulated votes are always in it, weights of models, leases, accounts and sessions never.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Q

from annotate.exporting.project.project_file_writer import project_lines
from annotate.models import (
    Adjudication,
    Assignment,
    Completion,
    DatasetVersion,
    Flag,
    VoteRevision,
)

PARTS = {"project": "the whole project, a line for each thing in it"}


def lines(
    version: DatasetVersion, *, part: str = "project", include_simulated: bool
) -> Iterator[bytes]:
    """The project's lines: JSON of several types, a header before and a hash behind them."""
    return project_lines(version)


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Numbers of the things in it."""
    project = version.project
    acts = Assignment.objects.in_project(project)
    revisions = VoteRevision.objects.filter(assignment__pair__project=project)
    return {
        "prompts": project.prompts.count(),
        "completions": Completion.objects.filter(prompt__project=project).count(),
        "pairs": project.pairs.count(),
        **acts.aggregate(
            votes=Count("pk", filter=Q(state=Assignment.State.VOTED)),
            skips=Count("pk", filter=Q(state=Assignment.State.SKIPPED)),
        ),
        "revisions": revisions.count(),
        "decisions": Adjudication.objects.filter(pair__project=project).count(),
        "flags": Flag.objects.filter(pair__project=project).count(),
        "versions": project.dataset_versions.filter(number__lte=version.number).count(),
    }
