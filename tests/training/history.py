"""Rounds as a supervisor leaves them, written straight into the tables."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from annotate.models import Project
from training.models import Metric, ModelVersion, Round, Run, StageResult
from training.rlhf.config import RoundConfig, to_dict
from training.rlhf.round import STAGES, gates

HABITS = ("refusal", "flattery", "hedging", "markdown")
NUMBERS: dict[str, dict[str, float | None]] = {
    "train_reward": {"accuracy": 0.81, "auc": 0.87, "judge_accuracy": 0.78, "pairs_held_out": 80},
    "train_policy": {"reward_first": 0.3, "reward_last": 1.8, "kl": 11.0, "updates": 3},
    "evaluate": {
        "win_rate": 0.66,
        "win_rate_low": 0.59,
        "win_rate_high": 0.72,
        "reward_gain": 1.4,
        "reward_gain_low": 0.9,
        "reward_gain_high": 1.8,
        "kl": 11.5,
        "length": 22.0,
        "length_before": 21.0,
        "distinct2": 0.6,
        "distinct2_before": 0.62,
        "length_starter": 24.0,
        "distinct2_starter": 0.7,
        **{f"{habit}_rate{end}": 0.1 for habit in HABITS for end in ("", "_starter")},
        "repetition": 0.03,
        "broken_rate": 0.0,
    },
    "sample": {"completions": 800},
    "propose": {"pairs": 300},
}
SAMPLE = {
    "prompt_id": "p",
    "messages": [{"role": "user", "content": "Where is my <b>order</b>?"}],
    "before": "No idea.",
    "after": "It arrives\ntomorrow.",
    "reward_before": -0.5,
    "reward_after": 1.25,
}


def make_round(
    project: Project, number: int, state: str = "done", *, done: int = 5, **run_columns: Any
) -> Round:
    """A round whose first `done` stages are finished, a minute each."""
    start = timezone.now() - timedelta(hours=1)
    config = to_dict(RoundConfig(number=number))
    round_ = Round.objects.create(
        project=project, number=number, state=state, dataset_version=number, config=config
    )
    lease = timezone.now() + timedelta(minutes=1)
    held = {"owner": "host:1", "lease_until": lease} if state == "running" else {}
    started = {} if state == "queued" else {"started_at": start, "attempts": 1, "host": "gpu-1"}
    columns = {"state": state, **held, **started, **run_columns}
    run = Run.objects.create(round=round_, project=project, **columns)
    for i, stage in enumerate(STAGES[:done], start=1):
        result = StageResult.objects.create(run=run, stage=stage.name, metrics=NUMBERS[stage.name])
        finished = start + timedelta(minutes=i)
        StageResult.objects.filter(pk=result.pk).update(finished_at=finished)
    return round_


def add_curve(run: Run, rewards: list[float | None]) -> None:
    """One metric row per PPO update, from 1."""
    Metric.objects.bulk_create(
        Metric(
            run=run,
            stage="train_policy",
            step=step,
            values={"reward": reward, "kl": 2.0 * step, "entropy": 1.2, "length": 20.0},
        )
        for step, reward in enumerate(rewards, start=1)
    )


def add_policy(round_: Round, *, state: str = "promoted", kl: float = 11.5) -> ModelVersion:
    """The policy of a finished round, judged by the real gates."""
    run = Run.objects.get(round=round_)
    numbers = NUMBERS | {"evaluate": NUMBERS["evaluate"] | {"kl": kl}}
    judged = gates(numbers, RoundConfig().gates)
    failed = [gate.text for gate in judged if not gate.passed]
    return ModelVersion.objects.create(
        project=round_.project,
        kind="policy",
        number=round_.number,
        state=state,
        path=f"runs/{run.uuid}/train_policy/model",
        parent=ModelVersion.objects.policies().filter(project=round_.project).first(),
        run=run,
        dataset_version=round_.dataset_version,
        metrics=numbers["evaluate"],
        gates=[dataclasses.asdict(gate) for gate in judged],
        note="Not promoted. " + "; ".join(failed) + "." if failed else "",
        promoted_at=timezone.now() if state == "promoted" else None,
    )


def add_starter(project: Project) -> ModelVersion:
    """policy-0, in use."""
    return ModelVersion.objects.create(
        project=project, kind="policy", number=0, path="starter", state="promoted"
    )


def write_samples(run: Run, *samples: dict[str, Any]) -> None:
    """RUN_DIR/evaluate/samples.jsonl."""
    folder = run.directory / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    (folder / "samples.jsonl").write_text(lines)
