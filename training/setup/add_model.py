"""Models that were trained elsewhere, by a recipe or by other programs, become versions.

They are candidates like those of rounds: listed, tried in the playground, compared, downloaded and,
where their tokens are the starter's, promoted. Their folders stay where they are, and are never
removed from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from annotate import exchange
from training.models import LONGEST_PATH, Decision, ModelVersion
from training.rounds import start_and_cancel
from training.setup import doctor_checks, quickstart, stack_probe
from training.versions import model_folder_checks, promotion


class Refused(Exception):
    """The model cannot be added; the message says why."""


class Known(Refused):
    """The project has the model already."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(f"It is {version.name} of {version.project.slug} already.")
        self.version = version


def add(
    project: exchange.Project, model: str, *, kind: str = "", note: str = ""
) -> tuple[ModelVersion, str]:
    """Make a folder or hub id a candidate of the project.

    Args:
        kind: policy or reward; empty: what the folder says, of a hub id a policy.
        note: more about where it comes from.

    Returns:
        the version, and what its trial showed, or why there was none.

    Raises:
        Refused: no usable model of this kind is there.
        Known: the project has it already.
    """
    path, kind = _inspect(model, kind)
    if known := _known(project, path, kind):
        raise Known(known)
    trial = _try(path, kind)
    with transaction.atomic():
        exchange.lock(project)  # a round that starts beside this takes another number
        starter = project.model_versions.policies().filter(number=0).first()
        version = ModelVersion.objects.create(
            project=project,
            kind=kind,
            number=start_and_cancel.next_number(project),
            path=path,
            parent=starter if kind == ModelVersion.POLICY else None,
            note=" ".join(filter(None, (f"Added from {model}.", note))),
        )
        Decision.objects.create(version=version, state=version.state, note=version.note)
        promotion.publish(version)
    return version, trial


def _inspect(model: str, kind: str) -> tuple[str, str]:
    """The model's folder or hub id as it is stored, and its kind."""
    try:
        path = quickstart.model_path(model)
        if len(path) > LONGEST_PATH:
            raise Refused(f"{path} is longer than {LONGEST_PATH} characters.")
        actual = (
            model_folder_checks.kind(Path(path))
            if Path(path).is_absolute()
            else kind or model_folder_checks.POLICY
        )
    except (quickstart.SetupFailed, model_folder_checks.Unusable) as error:
        raise Refused(str(error)) from error
    if kind and kind != actual:
        raise Refused(f"{model} is a {actual} model by its architecture, not a {kind} model.")
    return path, actual


def _known(project: exchange.Project, path: str, kind: str) -> ModelVersion | None:
    versions = project.model_versions.filter(kind=kind, pruned_at=None)
    return next((one for one in versions if _same(one.location, path)), None)


def _same(one: str, other: str) -> bool:
    return one == other or (Path(one).is_absolute() and Path(one).resolve() == Path(other))


def _try(path: str, kind: str) -> str:
    """Let a process with the training stack use the model once; what it says.

    Raises:
        Refused: it cannot be loaded, or does not do what its kind should.
    """
    if error := stack_probe.stack().get("error"):
        return f"Not tried: there is no training stack here ({error})."
    answer = stack_probe.reward(path) if kind == ModelVersion.REWARD else stack_probe.model(path)
    if problem := answer.get("error"):
        raise Refused(str(problem))
    return _scored(answer) if kind == ModelVersion.REWARD else _written(answer)


def _scored(answer: Mapping[str, Any]) -> str:
    score = float(answer["score"])
    if not math.isfinite(score):
        raise Refused(f"It scores a reply {score}: its weights are damaged.")
    return f"It scores a sample reply {score:.3g}."


def _written(answer: Mapping[str, Any]) -> str:
    finding = doctor_checks.judge("model", answer)
    if finding.level == doctor_checks.Level.FAIL:
        raise Refused(f"The model {finding.text}.")
    return f"It {finding.text}. {finding.advice}".strip()
