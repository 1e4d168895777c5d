"""A training program that keeps the run directory's contract and computes nothing.

    fake_engine.py [anything] round RUN_DIR --fence N
    fake_engine.py [anything] {sft,sample} --config FILE --out RUN_DIR/STAGE

Works through the real stages in small steps with checkpoints, as fast as RUN_DIR/behaviour.json
says: {"pause": seconds per step, "steps": per stage, "exit": {stage: code}, "kill": {stage: step},
"ignore_term": bool}. Every step appends "pid stage step" to RUN_DIR/trace.txt.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.rlhf import rows
from training.rlhf.round import STAGES, Fenced, Locked, RunDirectory, Stopped, stop_on_signals


def main(arguments: list[str]) -> int:
    fence: int | None = None
    if "round" in arguments:
        directory, fence = Path(arguments[arguments.index("round") + 1]), int(arguments[-1])
        stages = [stage.name for stage in STAGES]
    else:
        directory, stages = Path(arguments[-1]).parent, [Path(arguments[-1]).name]
    run = RunDirectory(directory)
    try:
        with run.claim(fence), stop_on_signals(run.request_stop):
            print(f"fake engine, fence {run.fence}", flush=True)
            work(run, behaviour(directory), stages)
    except Fenced:
        return 3
    except Stopped:
        return 4
    except Locked:
        return 75
    except (RuntimeError, LookupError) as error:
        run.fail("train_policy", error, "no traceback")
        return 1 if isinstance(error, RuntimeError) else 2
    return 0


def behaviour(directory: Path) -> dict[str, Any]:
    defaults = {"pause": 0.0, "steps": 3, "exit": {}, "kill": {}, "ignore_term": False}
    path = directory / "behaviour.json"
    if not path.is_file():  # one for all runs of a home
        path = directory.parent / "behaviour.json"
    return defaults | (json.loads(path.read_text()) if path.is_file() else {})


def work(run: RunDirectory, how: dict[str, Any], stages: list[str]) -> None:
    if how["ignore_term"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for stage in stages:
        if not run.done(stage):
            run_stage(run, stage, how)


def run_stage(run: RunDirectory, stage: str, how: dict[str, Any]) -> None:
    checkpoint = run.checkpoints(stage) / "step"
    first = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    for step in range(first + 1, how["steps"] + 1):
        run.check()
        with (run.path / "trace.txt").open("a") as trace:
            trace.write(f"{os.getpid()} {stage} {step}\n")
        time.sleep(how["pause"])
        run.record(stage, step, {"reward": step / 10, "nan": float("nan")})
        run.report(stage, step, how["steps"], f"step {step}")
        die_once(run.path, stage, step, how)
        (checkpoint.parent / "tmp").write_text(str(step))
        (checkpoint.parent / "tmp").rename(checkpoint)
    if stage in how["exit"]:
        if how["exit"][stage] == 1:
            raise RuntimeError("CUDA out of memory")
        if how["exit"][stage] == 2:
            raise LookupError("there is no model")
        sys.exit(how["exit"][stage])
    write(stage, run, run.partial(stage))
    run.publish(stage, run.meta(stage, {}, {}, METRICS.get(stage, {})))


def die_once(directory: Path, stage: str, step: int, how: dict[str, Any]) -> None:
    died = directory / f"died-{stage}-{step}"
    if how["kill"].get(stage) == step and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


HABITS = ("refusal", "flattery", "hedging", "markdown")
METRICS = {
    "train_reward": {
        "accuracy": 0.8,
        "accuracy_low": 0.7,
        "accuracy_high": 0.9,
        "pairs_held_out": 80.0,
        "auc": 0.85,
        "pairs_train": 40.0,
        "judge_independent": 1.0,
    },
    "train_policy": {"reward_last": 1.0, "kl": 3.0},
    "evaluate": {
        "win_rate": 0.7,
        "win_rate_low": 0.6,
        "win_rate_high": 0.8,
        "kl": 3.0,
        "length": 20.0,
        "length_starter": 20.0,
        "distinct2": 0.5,
        "distinct2_starter": 0.5,
        **{f"{habit}_rate{end}": 0.1 for habit in HABITS for end in ("", "_starter")},
        "repetition": 0.01,
        "broken_rate": 0.0,
    },
}


def write(stage: str, run: RunDirectory, out: Path) -> None:
    """The files that the other side reads."""
    if stage in ("train_reward", "train_policy", "starter"):
        (out / "model").mkdir()
    if stage in ("sample", "first_pairs"):
        rows.write(out / "completions.jsonl", completions(run))
    if stage == "propose":
        rows.write(out / "candidates.jsonl", candidates(run))


def completions(run: RunDirectory) -> list[dict[str, Any]]:
    prompts = islice(rows.read(rows.Prompt, run.path / "prompts.jsonl"), 320)
    fence = run.path.name
    return [
        {
            "key": rows.completion_key(prompt.prompt_id, text),
            "prompt_id": prompt.prompt_id,
            "text": text,
            "policy": policy,
            "seed": 0,
            "temperature": 0.9,
            "top_p": 1.0,
            "n_tokens": 5,
            "finish_reason": "stop",
        }
        for prompt in prompts
        for policy, text in (("new", f"New {fence}"), ("new", f"Other {fence}"), ("starter", "Old"))
    ]


def candidates(run: RunDirectory) -> list[dict[str, Any]]:
    written = list(rows.read(rows.Completion, run.folder("sample") / "completions.jsonl"))
    found = []
    for new, other, old in zip(written[::3], written[1::3], written[2::3], strict=True):
        found.append(candidate(new, other, "normal", "active"))
        found.append(candidate(new, old, "evaluation", "random"))
    return found


def candidate(a: Any, b: Any, kind: str, stream: str) -> dict[str, Any]:
    return {
        "key": rows.candidate_key(a.key, b.key),
        "prompt_id": a.prompt_id,
        "completion_a": a.key,
        "completion_b": b.key,
        "kind": kind,
        "stream": stream,
        "score": 1.0,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
