"""The training side's tables: rounds and runs, model versions, the playground's trials.

One module per group of tables that change together. Imports no other room.
"""

from __future__ import annotations

from training.models.run import (
    LONGEST_PATH,
    Decision,
    Lost,
    Metric,
    ModelVersion,
    Plan,
    Round,
    Run,
    StageResult,
    WorkerBeat,
)
from training.models.trial import Trial

__all__ = [
    "LONGEST_PATH",
    "Decision",
    "Lost",
    "Metric",
    "ModelVersion",
    "Plan",
    "Round",
    "Run",
    "StageResult",
    "Trial",
    "WorkerBeat",
]
