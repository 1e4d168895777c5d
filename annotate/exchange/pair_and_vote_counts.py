"""Counts of pairs and votes: the progress of labelling, and what a next version would add."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from annotate.exchange.rows_for_training import TEACHES
from annotate.models import Assignment, Label, Pair, Project
from annotate.models.assignment import AssignmentQuerySet
from annotate.overview import home_figures
from annotate.quality.agreement_counts import Summary


def counts(project: Project) -> dict[str, int]:
    """pairs_open, pairs_resolved and votes: those that count, simulated ones included; in large
    projects as last counted."""
    return _counts(home_figures.progress(project))


def counts_and_fresh(project: Project, version: int | None) -> tuple[dict[str, int], int]:
    """`counts`, and the pairs that were `resolved_since` the version, as last counted alike."""
    progress, fresh = home_figures.progress_and_fresh(project, version)
    return _counts(progress), resolved_since(project, version) if fresh is None else fresh


def _counts(progress: Summary) -> dict[str, int]:
    return {
        "pairs_open": progress.open,
        "pairs_resolved": progress.resolved,
        "votes": progress.votes,
    }


def dataset_sizes(project: Project) -> dict[int, dict[str, int]]:
    """Pairs, votes and simulated votes of each dataset version, by its number."""
    rows = project.dataset_versions.values_list("number", "n_pairs", "n_votes", "n_simulated")
    return {
        number: {"pairs": pairs, "votes": votes, "simulated": simulated}
        for number, pairs, votes, simulated in rows
    }


def resolved_since(project: Project, version: int | None, *, most: int | None = None) -> int:
    """Resolved pairs that would teach something `version` does not hold (None: anything), counted
    no further than `most`."""
    fresh = training_votes(project).filter(pair=OuterRef("pk"))
    if version is not None:
        fresh = fresh.filter(Q(frozen_from=None) | Q(frozen_from__gt=version))
    pairs = Pair.objects.filter(TEACHES, project=project, prompt__held_out=False)
    # One that is only asked again has its label, and teaches what it taught.
    wanted, limit, agree = Pair.ADAPTIVE
    adaptive = Q(state=Pair.State.OPEN, wanted=wanted, limit=limit, agree=agree)
    asked_again = adaptive & Exists(Label.objects.filter(pair=OuterRef("pk")))
    pairs = pairs.filter(Q(state=Pair.State.RESOLVED) | asked_again)
    return pairs.filter(Exists(fresh)).order_by()[:most].count()


def training_pairs(project: Project, *, most: int) -> int:
    """Pairs of training prompts on which the next version would hold a vote for a side, resolved or
    not, counted no further than `most`."""
    sided = training_votes(project).filter(surplus=False, choice__in=("a", "b"))
    pairs = Pair.objects.filter(
        TEACHES,
        Exists(sided.filter(pair=OuterRef("pk"))),
        project=project,
        prompt__held_out=False,
    )
    return pairs.order_by()[:most].count()


def training_votes(project: Project) -> AssignmentQuerySet:
    """Standing votes that count: those of simulated colleagues in the sample project alone."""
    votes = Assignment.objects.in_project(project).standing()
    return votes if project.train_on_simulated else votes.filter(simulated=False)
