"""Records of rounds, runs and model versions, for the file in which a whole project leaves.

Figures and lineage, no weights: those leave as model folders. What still runs is none yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from annotate import exchange
from training.models import ModelVersion, Round, Run, StageResult

Record = tuple[str, str, dict[str, Any]]
"""Kind, name and figures."""


def project_records(project: exchange.Project, **_: Any) -> Iterator[Record]:
    """Every round, run and model version of a project, each in the order in which they came."""
    for one in _plain(_rounds(project)), _plain(_runs(project)), _plain(_models(project)):
        yield from one


def _plain(records: Iterator[Record]) -> Iterator[Record]:
    """The records with times as text."""
    for kind, name, record in records:
        yield kind, name, json.loads(json.dumps(record, default=_time))


def _time(moment: Any) -> str:
    assert isinstance(moment, datetime)
    return moment.isoformat()


def _rounds(project: exchange.Project) -> Iterator[Record]:
    columns = ("number", "state", "trigger", "dataset_version", "config")
    ended = Round.objects.filter(project=project).exclude(pk__in=Round.objects.live())
    for row in ended.order_by("number").values(*columns, "created_at", "finished_at"):
        yield "round", f"round-{row['number']}", dict(row)


def _runs(project: exchange.Project) -> Iterator[Record]:
    final = (Run.State.DONE, Run.State.FAILED, Run.State.CANCELLED)
    columns = ("kind", "state", "exit_code", "created_at", "started_at", "finished_at")
    runs = Run.objects.filter(project=project, state__in=final).order_by("pk")
    for row in runs.values("pk", "uuid", "round__number", *columns):
        pk, uuid, number = row.pop("pk"), str(row.pop("uuid")), row.pop("round__number")
        stages = StageResult.objects.filter(run=pk).order_by("pk")
        kept = [dict(one) for one in stages.values("stage", "metrics", "finished_at")]
        yield "run", uuid, {"round": number, **row, "stages": kept}


def _models(project: exchange.Project) -> Iterator[Record]:
    versions = ModelVersion.objects.filter(project=project).select_related("parent", "run")
    for one in versions.prefetch_related("decisions").order_by("pk"):
        decisions = [
            {"state": made.state, "note": made.note, "at": made.at} for made in one.decisions.all()
        ]
        yield (
            "model",
            one.name,
            {
                "kind": one.kind,
                "number": one.number,
                "state": one.state,
                "parent": one.parent.name if one.parent else None,
                "run": str(one.run.uuid) if one.run else None,
                "dataset_version": one.dataset_version,
                "metrics": one.metrics,
                "gates": one.gates,
                "note": one.note,
                "created_at": one.created_at,
                "promoted_at": one.promoted_at,
                "decisions": decisions,
            },
        )
