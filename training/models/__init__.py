"""Tables: rounds and runs, saved settings of rounds, model versions, the playground's trials, and
the loop's schedule and events.

May import: no other room.
"""

from __future__ import annotations

from training.models.loop import LoopEvent, LoopSchedule
from training.models.model_version import LONGEST_PATH, Decision, ModelVersion
from training.models.run import Lost, Metric, Run, RunKind, StageResult, Worker, WorkerBeat
from training.models.training_round import Plan, Round
from training.models.trial import Trial

__all__ = [
    "LONGEST_PATH",
    "Decision",
    "LoopEvent",
    "LoopSchedule",
    "Lost",
    "Metric",
    "ModelVersion",
    "Plan",
    "Round",
    "Run",
    "RunKind",
    "StageResult",
    "Trial",
    "Worker",
    "WorkerBeat",
]
