"""The weight of a vote in training: the one an admin set times the trust in its author."""

from __future__ import annotations

from django.db.models import Count

from annotate.models import Assignment, Membership, Project

LEAST_TRUST = 0.05


def pseudonyms_and_weights(
    project: Project, *, include_simulated: bool
) -> dict[int, tuple[str, float]]:
    """Pseudonym of every member, and the weight of each of their votes in training.

    The weight that an admin set, times the trust 2 r - 1 in somebody of reliability r over the
    mean trust of all votes, so that votes weigh 1 on average.
    """
    members = Membership.objects.filter(project=project)
    rows = list(members.values_list("user_id", "pseudonym", "weight", "reliability"))
    trust = _trust([(user, r) for user, _, _, r in rows])
    mean = _mean(project, trust, include_simulated)
    return {
        user: (pseudonym, round(weight * trust.get(user, mean) / mean, 4))
        for user, pseudonym, weight, _ in rows
    }


def mean_trust(project: Project, *, include_simulated: bool) -> float | None:
    """The trust in its author of the average vote; None before any reliability is known."""
    members = Membership.objects.filter(project=project)
    trust = _trust(list(members.values_list("user_id", "reliability")))
    return _mean(project, trust, include_simulated) if trust else None


def _trust(reliabilities: list[tuple[int, float | None]]) -> dict[int, float]:
    return {user: max(2 * r - 1, LEAST_TRUST) for user, r in reliabilities if r is not None}


def _mean(project: Project, trust: dict[int, float], include_simulated: bool) -> float:
    votes = Assignment.objects.in_project(project).standing().filter(annotator__in=trust)
    if not include_simulated:
        votes = votes.filter(simulated=False)
    cast = dict(votes.order_by().values_list("annotator_id").annotate(n=Count("pk")))
    total = sum(cast.values())
    return sum(trust[user] * n for user, n in cast.items()) / total if total else 1.0
