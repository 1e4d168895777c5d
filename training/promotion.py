"""Which policy is the project's: gates before promotion, people's judgement after it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from annotate import exchange
from training import folders
from training.models import ModelVersion, StageResult
from training.rlhf import round as engine
from training.rlhf.config import RoundConfig, from_dict

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CANDIDATE, PROMOTED, RETIRED = ModelVersion.State.values
MIN_JUDGEMENTS = 20
"""Blind judgements before people's verdict can demote: a first unlucky few must not."""


class NotPromotable(Exception):
    """This version cannot become the project's policy."""


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


def judge(version: ModelVersion, config: dict[str, Any]) -> None:
    """Hold a candidate policy against the gates of its round, and promote it if it may be.

    Args:
        config: of the round, as stored.
    """
    metrics = {row.stage: row.metrics for row in StageResult.objects.filter(run=version.run)}
    gates = engine.gates(metrics, from_dict(RoundConfig, config).gates)
    version.gates = [dataclasses.asdict(gate) for gate in gates]
    failed = [gate.text for gate in gates if not gate.passed]
    if failed:
        version.note = "Not promoted. " + "; ".join(failed) + "."
    elif version.project.promotion == "human":
        version.note = "Passed every gate; an admin decides."
    elif (rival := _in_use_instead(version)) is not None:
        version.note = (
            f"Passed every gate against {version.parent or 'its parent'}, but {rival} is in use "
            "now; an admin decides."
        )
    version.save(update_fields=["gates", "note"])
    if not version.note:
        promote(version)
    _promote_reward_model(version, gates)


def _in_use_instead(version: ModelVersion) -> ModelVersion | None:
    """A promoted policy that the candidate was not compared with.

    An old round that was retried, or a change by hand while the round ran.
    """
    promoted = ModelVersion.objects.policies().promoted().filter(project=version.project_id)
    return promoted.exclude(pk=version.parent_id).first()


def _promote_reward_model(policy: ModelVersion, gates: list[engine.Gate]) -> None:
    """The reward model of the same run is in use when its own gate passed, and else never."""
    accuracy = next((gate for gate in gates if gate.name == "reward_accuracy"), None)
    reward = ModelVersion.objects.rewards().filter(run=policy.run).first()
    if accuracy is None or reward is None:
        return
    if accuracy.passed:
        promote(reward)
    else:
        retire(reward, note=f"Not promoted. {accuracy.text}.")


def promote(version: ModelVersion, *, by: User | None = None, reason: str = "") -> None:
    """Make a version its project's current one; the one before is retired.

    Also by hand, for a policy that did not pass a gate.

    Args:
        reason: why somebody promotes it.

    Raises:
        NotPromotable: it is current already, its weights were removed, or it was added and rounds
            cannot go on from it.
    """
    if version.added and version.kind == ModelVersion.POLICY:
        _require_kinship(version)
    with transaction.atomic():
        current = _lock(version).promoted()
        if version.state == PROMOTED:
            raise NotPromotable(f"{version.name} is promoted already.")
        if version.pruned_at is not None:
            raise NotPromotable(f"The weights of {version.name} were removed to save space.")
        for other in current:
            _set_state(other, RETIRED)
        note = signed("Promoted", by, reason) if by is not None else reason
        _set_state(version, PROMOTED, note=note, promoted_at=timezone.now())


def _require_kinship(version: ModelVersion) -> None:
    """The next round starts from the policy in use, and measures its KL to the starter.

    Raises:
        NotPromotable: there is no starter, or KL to it is not defined.
    """
    starter = ModelVersion.objects.policies().filter(project=version.project_id, number=0).first()
    if starter is None:
        raise NotPromotable(f"{version.project.slug} has no starter that rounds could hold on to.")
    here = [Path(one.location) for one in (version, starter)]
    try:
        reason = folders.difference(*here)
    except folders.Unusable as error:
        reason = f"whether it has the tokens of {starter.name} cannot be told ({error})"
    if reason:
        raise NotPromotable(
            f"{version.name} can be tried and compared, but rounds cannot go on from it: {reason}. "
            "Begin a project with it instead."
        )


def signed(what: str, by: User, reason: str) -> str:
    """A note on what somebody did by hand, and why."""
    return f"{what} by {by.get_username()}" + (f": {reason}" if reason else ".")


def retire(version: ModelVersion, *, note: str = "Retired.") -> None:
    """Put a candidate aside.

    Raises:
        NotPromotable: it is the current one; `demote` restores the one before.
    """
    with transaction.atomic():
        _lock(version)
        if version.state == PROMOTED:
            raise NotPromotable(f"{version.name} is promoted; demote it instead.")
        _set_state(version, RETIRED, note=note)


def demote(version: ModelVersion, *, reason: str) -> ModelVersion | None:
    """Take a promoted policy back and restore the one it was trained from.

    Returns:
        the restored version, or None when the version was not promoted, or has no parent whose
        weights are still there.
    """
    with transaction.atomic():
        if not _lock(version).promoted().filter(pk=version.pk).exists():
            return None
        if version.parent is None or version.parent.pruned_at is not None:
            return None
        _set_state(version, RETIRED, note=reason)
        _set_state(version.parent, PROMOTED, note=f"Restored after {version.name}.")
        return version.parent


def review(version: ModelVersion) -> bool:
    """Read people's blind judgements of a promoted policy; True when it was demoted.

    The policy is compared with the reference policy; ties count half. It is demoted when the
    95 % interval (Wilson) lies below one half.
    """
    found = exchange.evaluation_results(version.project, policy=version.name)
    wins, losses, ties = (int(found[key]) for key in ("wins", "losses", "ties"))
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
    reason = (
        f"Demoted: people preferred it to the reference policy in {rate:.0%} of {n} blind "
        f"comparisons (95 % interval {low:.0%} to {high:.0%})."
    )
    return demote(version, reason=reason) is not None


def wilson(rate: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), 95 % by default."""
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (centre - half) / scale, (centre + half) / scale


def _lock(version: ModelVersion) -> Any:
    """All versions of the project and kind, locked against another promotion."""
    same = ModelVersion.objects.filter(project_id=version.project_id, kind=version.kind)
    list(same.select_for_update().values_list("pk"))
    version.refresh_from_db(fields=["state", "parent", "pruned_at"])
    return same


def _set_state(version: ModelVersion, state: str, **fields: Any) -> None:
    for name, value in {"state": state, **fields}.items():
        setattr(version, name, value)
    version.save(update_fields=["state", *fields])
    publish(version)
