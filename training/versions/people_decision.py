"""People's decision on a policy: what their blind comparisons do to the version in use."""

from __future__ import annotations

import logging

from django.db import transaction

from annotate import exchange
from training.figures.run_progress import failed_gates
from training.models import Decision, LoopEvent, ModelVersion
from training.versions import people_verdict, promotion

log = logging.getLogger(__name__)

CANDIDATE, PROMOTED, _ = ModelVersion.State.values
Project = exchange.Project


def review(version: ModelVersion) -> bool:
    """Read people's blind comparisons of a policy; True when they decided.

    A candidate that people prefer to the policy before is promoted where people's word counts
    (`Project.promotion`), one that they prefer less, to that or to the starter, is put aside; the
    policy in use that they prefer less is demoted. Until then it goes on collecting.
    """
    seen = people_verdict.comparisons(version)
    if not seen:
        return False
    human = people_verdict.kept(seen)
    if version.metrics.get("human") != human:
        version.metrics = version.metrics | {"human": human}
        version.save(update_fields=["metrics"])
        promotion.publish(version)
    if people_verdict.outcome(version, seen) == "undecided":
        return False
    try:
        with transaction.atomic():
            promotion.lock(version)  # what was seen before may be older than an admin's decision
            return _decide(version)
    except promotion.Refused as refusal:
        log.info("%s stays as it is: %s", version, refusal)
        return False


def _decide(version: ModelVersion) -> bool:
    """Do what people say, as things stand now; True where something changed.

    An admin who put it in use knew the votes until then: later ones alone may say otherwise.
    """
    admin = _put_in_use_by_admin(version)
    seen = people_verdict.comparisons(version, since=admin.at if admin else None)
    outcome = people_verdict.outcome(version, seen)
    if outcome == "undecided" or version.state not in (CANDIDATE, PROMOTED):
        return False
    return _act(version, outcome, people_verdict.reason(version, seen))


def _put_in_use_by_admin(version: ModelVersion) -> Decision | None:
    """An admin's decision by which the version is in use."""
    latest = version.decisions.last()
    by_admin = latest is not None and latest.decided_by == Decision.By.ADMIN
    return latest if by_admin and version.state == PROMOTED else None


def _act(version: ModelVersion, outcome: str, note: str) -> bool:
    """Do what people decided; True where something changed."""
    if outcome == "worse" and version.state == PROMOTED:
        promotion.demote(version, note=f"Demoted. {note}", decided_by=Decision.By.PEOPLE)
    elif outcome == "worse":
        promotion.retire(version, note=f"Not promoted. {note}", decided_by=Decision.By.PEOPLE)
        text = f"{version.name}: {version.note}"
        LoopEvent.objects.tell(version.project_id, LoopEvent.Kind.REFUSED, text)
    elif version.state == CANDIDATE and people_promote(version):
        promotion.promote(version, reason=note, decided_by=Decision.By.PEOPLE)
        exchange.retire_evaluation(version.project, policy=version.name)
        if version.run and version.run.round:
            exchange.retire_untouched(version.project, before_source=version.run.round.name)
    else:
        return False
    return True


def people_promote(version: ModelVersion) -> bool:
    """True where people's preference puts this candidate in use.

    Not where an admin promotes by hand, nor where a gate was failed and gates count, nor where
    another policy is in use than the one that it was compared with.
    """
    if version.project.promotion == Project.Promotion.HUMAN or promotion.in_use_instead(version):
        return False
    if version.project.promotion == Project.Promotion.PEOPLE:
        return True
    return not failed_gates(version.gates)


def asks_people(version: ModelVersion) -> bool:
    """True where people's comparisons of a policy with others may still change what is in use."""
    if version.state != CANDIDATE:
        return version.state == PROMOTED
    return version.project.promotion == Project.Promotion.HUMAN or people_promote(version)
