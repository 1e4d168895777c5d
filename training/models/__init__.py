"""Tables: rounds and runs, saved settings of rounds, model versions, the playground's trials, the
loop's schedule and events, and the state of active learning.

May import: no other room.
"""

from __future__ import annotations

from training.models.active_state import ActiveState
from training.models.loop import LoopEvent, LoopSchedule
from training.models.model_version import LONGEST_PATH, Decision, ModelVersion
from training.models.run import Lost, Metric, Run, RunKind, StageResult, Worker, WorkerBeat
from training.models.training_round import Plan, Round
from training.models.trial import Trial

__all__ = [
    "LONGEST_PATH",
    "ActiveState",
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
