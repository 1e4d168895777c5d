"""The accuracy of reward models on real text: HH-RLHF, harmless, 500 pairs held out.

`PAIRLOOP_DATA=DATA python -m benchmarks reward_on_hh --base=FOLDER [--base=FOLDER ...]
[--fine-tune]`. Of 2,312 pairs (Bai et al. 2022, arXiv 2204.05862) the first 500 of
`random.Random(0).shuffle` are held out; the others train a linear probe on each base, with
`--fine-tune` the base too. Beside it: the longer reply as the better one.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.result import Result
from training.rlhf.config import RewardConfig
from training.rlhf.data import data_files, soft_labels
from training.rlhf.metrics import calibration, intervals
from training.rlhf.reward import held_out_report, reward_training
from training.rlhf.rows import Preference
from training.rlhf.run.work import Work

FILE = "hh_rlhf/harmless-base-test.jsonl.gz"
HELD_OUT = 500
PROBE = RewardConfig(linear_probe=True, pooling="mean", max_length=256, dtype="auto")
FINE_TUNED = RewardConfig(
    pooling="mean", max_length=256, dtype="auto", epochs=2.0, learning_rate=2e-5, batch_size=32
)
"""From the probe's head on, all weights; the epoch that is best on a tenth of the prompts."""


def benchmark(arguments: list[str]) -> Result:
    """Accuracy, AUC and calibration on the held-out pairs, for every base."""
    bases = [Path(one.partition("=")[2]) for one in arguments if one.startswith("--base=")]
    data = Path(os.environ.get("PAIRLOOP_DATA", "")) / FILE
    if not bases or not data.is_file():
        raise SystemExit(f"reward_on_hh wants --base=FOLDER, and PAIRLOOP_DATA with {FILE}")
    pairs = split(data)
    result = Result({"pairs_held_out": float(sum(pair.held_out for pair in pairs))})
    longer(pairs, result)
    methods = {"probe": PROBE} | ({"fine_tuned": FINE_TUNED} if "--fine-tune" in arguments else {})
    for base in bases:
        for name, config in methods.items():
            measure(f"{base.name}_{name}", base, pairs, config, result)
    return result


def split(file: Path) -> list[Preference]:
    """All pairs, HELD_OUT of them held out."""
    pairs = list(data_files.preferences(file, held_out_share=0.0))
    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)
    held_out = set(order[:HELD_OUT])
    return [replace(pair, held_out=place in held_out) for place, pair in enumerate(pairs)]


def longer(pairs: list[Preference], result: Result) -> None:
    """The accuracy of taking the longer reply for the better one."""
    held_out = [pair for pair in pairs if pair.held_out]
    more = np.array([float(len(pair.completion_a) - len(pair.completion_b)) for pair in held_out])
    better = np.array([float(soft_labels.verdict(pair) == "a") for pair in held_out])
    result.figures["longer_reply_accuracy"] = calibration.accuracy(more, better)


def measure(
    name: str, base: Path, pairs: list[Preference], config: RewardConfig, result: Result
) -> None:
    """Train on a base, and what its model says of the held-out pairs."""
    wall, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        work = Work.in_folder(folder, silent=True, threads=torch.get_num_threads())
        model, trained = reward_training.train(base, pairs, config, Path(folder) / "model", work)
        seen = held_out_report.held_out(model, [pair for pair in pairs if pair.held_out]).metrics()
    kept = ("accuracy", "auc", "ece", "pairs_held_out")
    result.figures |= {f"{name}_{key}": seen[key] for key in kept} | {
        f"{name}_pairs_train": trained["pairs_train"],
        f"{name}_best_step": trained["best_step"],
        f"{name}_seconds": time.monotonic() - wall,
        f"{name}_cpu_seconds": time.process_time() - cpu,
    }
    bounds = intervals.wilson(seen["accuracy"], int(seen["pairs_held_out"]))
    result.intervals[f"{name}_accuracy"] = bounds
