"""The policy in use: gates before a version is promoted, people's judgement after it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from annotate import exchange
from training.models import Decision, LoopEvent, ModelVersion, Run, StageResult
from training.rlhf.config import GateConfig
from training.rlhf.delivery import model_folder_checks
from training.rlhf.metrics.intervals import wilson
from training.rlhf.round import Gate, gates

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = logging.getLogger(__name__)

CANDIDATE, PROMOTED, RETIRED = ModelVersion.State.values
MIN_JUDGEMENTS = 20
"""Blind judgements before people's verdict can demote: a first unlucky few must not."""


class Refused(Exception):
    """A version cannot change its state so; the message is for people."""


def publish(version: ModelVersion) -> None:
    """Tell the labelling side, which never asks."""
    exchange.publish_model_version(
        version.project,
        name=version.name,
        kind=version.kind,
        state=version.state,
        dataset_version=version.dataset_version,
        metrics=version.metrics,
    )


def adopt_starter(project: exchange.Project, path: str, *, run: Run | None = None) -> ModelVersion:
    """Make a model the project's first policy, reward-model base and KL reference.

    Args:
        path: relative to PAIRLOOP_HOME, an absolute folder, or a hub id.
    """
    version, created = ModelVersion.objects.get_or_create(
        project=project,
        kind=ModelVersion.POLICY,
        number=0,
        defaults={
            "path": path,
            "run": run,
            "state": PROMOTED,
            "promoted_at": timezone.now(),
        },
    )
    if created:
        publish(version)
    return version


def judge(version: ModelVersion, bounds: GateConfig) -> None:
    """Hold a candidate policy against the gates of its round, and promote it if it may be.

    Args:
        bounds: those of the run that made it.
    """
    metrics = {row.stage: row.metrics for row in StageResult.objects.filter(run=version.run)}
    judged = gates(metrics, bounds)
    version.gates = [dataclasses.asdict(gate) for gate in judged]
    version.save(update_fields=["gates"])
    with transaction.atomic():
        _lock(version)
        _tell_failed(version, judged)
        if version.state == CANDIDATE:  # else an admin was ahead of the gates, and that stands
            against = _against(version, judged)
            if against:
                _set_state(version, CANDIDATE, note=against)
                _tell_held_back(version, judged, against)
            else:
                promote(version, reason="Passed every gate.")
    _judge_reward_model(version, judged)


def _tell_failed(version: ModelVersion, judged: list[Gate]) -> None:
    """Let the project's webhooks know of gates that a new policy fails."""
    if failed := [gate.name for gate in judged if not gate.passed]:
        exchange.tell_webhooks(
            version.project_id,
            exchange.WebhookEvent.GATE_FAILED,
            {"model": version.name, "gates": failed},
            {"url": ("model", version.pk), "api_url": ("api-models",)},
        )


def _tell_held_back(version: ModelVersion, judged: list[Gate], why: str) -> None:
    """Write down that a candidate is not in use: by the gates' word, or until people decide."""
    waits = all(gate.passed for gate in judged)
    kind = LoopEvent.Kind.WAITING if waits else LoopEvent.Kind.REFUSED
    round_ = version.run.round if version.run else None
    LoopEvent.objects.tell(version.project_id, kind, f"{version.name}: {why}", round_=round_)
    if waits:
        _tell(version, exchange.WebhookEvent.POLICY_WAITING)


def _tell(version: ModelVersion, event: exchange.WebhookEvent) -> None:
    links = {"url": ("model", version.pk), "api_url": ("api-models",)}
    exchange.tell_webhooks(version.project_id, event, {"model": version.name}, links)


def _against(version: ModelVersion, judged: list[Gate]) -> str:
    """Why a candidate is not promoted by itself; empty when it is."""
    if failed := [gate.text for gate in judged if not gate.passed]:
        return "Not promoted. " + "; ".join(failed) + "."
    if version.project.promotion == "human":
        return "Passed every gate; an admin decides."
    if (rival := _in_use_instead(version)) is not None:
        return (
            f"Passed every gate against {version.parent or 'its parent'}, but {rival} is in use "
            "now; an admin decides."
        )
    return ""


def _in_use_instead(version: ModelVersion) -> ModelVersion | None:
    """A promoted policy that the candidate was not compared with.

    An old round that was retried, or a change by hand while the round ran.
    """
    promoted = ModelVersion.objects.policies().promoted().filter(project=version.project_id)
    return next((one for one in promoted if one.pk != version.parent_id), None)


def _judge_reward_model(policy: ModelVersion, judged: list[Gate]) -> None:
    """The reward model of the same run is in use when its own gate passed, and else never."""
    accuracy = next((gate for gate in judged if gate.name == "reward_accuracy"), None)
    candidates = ModelVersion.objects.rewards().filter(run=policy.run, state=CANDIDATE)
    reward = candidates.first()
    if accuracy is None or reward is None:
        return
    if accuracy.passed:
        promote(reward, reason="Passed its gate.")
    else:
        retire(reward, note=f"Not promoted. {accuracy.text}.")


def promote(version: ModelVersion, *, by: User | None = None, reason: str = "") -> None:
    """Make a version its project's current one; the one before is retired.

    Also by hand, for a policy that did not pass a gate.

    Args:
        reason: why somebody promotes it.

    Raises:
        Refused: it is current already, its weights were removed, or it was added and rounds cannot
            go on from it.
    """
    if version.added and version.kind == ModelVersion.POLICY:
        _require_kinship(version)
    with transaction.atomic():
        _lock(version)
        if version.state == PROMOTED:
            raise Refused(f"{version.name} is in use already.")
        if version.pruned_at is not None:
            raise Refused(f"The weights of {version.name} were removed to save space.")
        same = ModelVersion.objects.filter(project=version.project_id, kind=version.kind)
        for other in same.promoted():
            _set_state(other, RETIRED, note=f"Replaced by {version.name}.")
        note = signed("Promoted", by, reason) if by is not None else reason
        _set_state(version, PROMOTED, note=note, promoted_at=timezone.now())
        if version.kind == ModelVersion.POLICY:
            _tell(version, exchange.WebhookEvent.POLICY_PROMOTED)
            text = f"{version.name}: {note}"
            LoopEvent.objects.tell(version.project_id, LoopEvent.Kind.PROMOTED, text)


def _require_kinship(version: ModelVersion) -> None:
    """The next round starts from the policy in use, and measures its KL to the starter.

    Raises:
        Refused: there is no starter, or KL to it is not defined.
    """
    if reason := obstacle(version.project, version.location):
        raise Refused(
            f"{version.name} can be tried and compared, but rounds cannot go on from it: {reason} "
            "Begin a project with it instead."
        )


def obstacle(project: exchange.Project, location: str) -> str:
    """Why rounds could not go on from a policy, in a sentence; empty when they can."""
    starter = ModelVersion.objects.policies().filter(project=project, number=0).first()
    if starter is None:
        return f"{project.slug} has no starter that rounds could hold on to."
    try:
        reason = model_folder_checks.difference(Path(location), Path(starter.location))
    except model_folder_checks.Unusable as error:
        reason = f"whether it has the tokens of {starter.name} cannot be told ({error})"
    return reason and f"{reason}."


def signed(what: str, by: User, reason: str) -> str:
    """A note on what somebody did by hand, and why."""
    return f"{what} by {by.get_username()}" + (f": {reason}" if reason else ".")


def retire(version: ModelVersion, *, note: str = "Retired.") -> None:
    """Put a candidate aside.

    Raises:
        Refused: it is the current one, which `demote` takes back, or retired already.
    """
    with transaction.atomic():
        _lock(version)
        if version.state == PROMOTED:
            raise Refused(f"{version.name} is in use; demote it instead.")
        if version.state == RETIRED:
            raise Refused(f"{version.name} is retired already.")
        _set_state(version, RETIRED, note=note)


def demote(version: ModelVersion, *, note: str) -> ModelVersion:
    """Take a promoted policy back and restore the one it was trained from.

    Returns:
        the restored version.

    Raises:
        Refused: it is not promoted, or there is nothing to go back to.
    """
    with transaction.atomic():
        _lock(version)
        if version.state != PROMOTED:
            raise Refused(f"{version.name} is not in use.")
        before = fallback(version)
        if before is None:
            raise Refused(f"{version.name} has no version before it to go back to.")
        _set_state(version, RETIRED, note=note)
        LoopEvent.objects.tell(
            version.project_id, LoopEvent.Kind.DEMOTED, f"{version.name}: {note}"
        )
        after = f"Restored after {version.name}."
        _set_state(before, PROMOTED, note=after, promoted_at=timezone.now())
        return before


def fallback(version: ModelVersion) -> ModelVersion | None:
    """The version to restore when this one is demoted, if that still has its weights."""
    before = version.parent
    return before if before is not None and before.pruned_at is None else None


def review(version: ModelVersion) -> bool:
    """Read people's blind judgements of a promoted policy; True when it was demoted.

    The policy is compared with the reference policy; ties count half. It is demoted when the
    95 % interval (Wilson) lies below one half.
    """
    results = exchange.evaluation_results(version.project, policy=version.name)
    wins, losses, ties = (results[key] for key in ("wins", "losses", "ties"))
    n = wins + losses + ties
    if not n:
        return False
    rate = (wins + ties / 2) / n
    low, high = wilson(rate, n)
    human: dict[str, float] = {"wins": wins, "losses": losses, "ties": ties}
    human |= {"win_rate": rate, "win_rate_low": low, "win_rate_high": high}
    if version.metrics.get("human") != human:
        version.metrics = version.metrics | {"human": human}
        version.save(update_fields=["metrics"])
        publish(version)
    if n < MIN_JUDGEMENTS or high >= 0.5:
        return False
    note = (
        f"Demoted: people preferred it to the reference policy in {rate:.0%} of {n} blind "
        f"comparisons (95 % interval {low:.0%} to {high:.0%})."
    )
    try:
        demote(version, note=note)
    except Refused as refusal:
        log.info("%s stays in use: %s", version, refusal)
        return False
    return True


def _lock(version: ModelVersion) -> None:
    """Hold the project against other decisions and removals, and see how things stand."""
    exchange.lock(version.project)
    version.refresh_from_db(fields=["state", "parent", "pruned_at"])


def _set_state(version: ModelVersion, state: str, *, note: str, **fields: Any) -> None:
    for name, value in {"state": state, "note": note, **fields}.items():
        setattr(version, name, value)
    version.save(update_fields=["state", "note", *fields])
    Decision.objects.create(version=version, state=state, note=note)
    publish(version)
