"""Does the loop work: from an empty machine to a policy that changed because people voted.

`python -m benchmarks loop [--seeds=5] [--votes=400] [--rounds=1]`. For each seed, in a home and a
database of its own, the product's commands: quickstart, simulate, run_round. Then the hidden
rubric judges what nobody voted on: the reward model on fresh pairs of the starter, and the new
policy's replies against the starter's, both on held-out prompts.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.result import Result

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ("--project", "support-desk")
ANNOTATORS, PROMPTS = 12, 200
LABEL_TEMPERATURE, TEMPERATURE, MAX_NEW_TOKENS = 0.9, 0.7, 64
WON = 0.65
"""Win rate from which a seed counts as won."""

Row = dict[str, float]


def benchmark(arguments: list[str]) -> Result:
    """Run the loop for every seed; figures are means over seeds unless their name says else."""
    options = {"seeds": 5, "votes": 400, "rounds": 1}
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name not in options or not value.isdigit():
            raise SystemExit(f"loop takes --{'=N, --'.join(options)}=N; not {argument}")
        options[name] = int(value)
    by_seed = []
    for seed in range(options["seeds"]):
        with tempfile.TemporaryDirectory(prefix="pairloop-loop-") as home:
            by_seed.append(one_seed(Path(home), seed, options["votes"], rounds=options["rounds"]))
        print(json.dumps({"seed": seed, **by_seed[-1]}), flush=True)
    return summary(by_seed)


def one_seed(home: Path, seed: int, votes: int, *, rounds: int) -> Row:
    """The commands a newcomer would use, and what the rubric says afterwards."""
    row: Row = {}
    row |= timed("quickstart", home, "quickstart", "--seed", str(seed))
    asked = ("--annotators", str(ANNOTATORS), "--votes", str(votes))
    for number in range(1, rounds + 1):
        given = ("--seed", str(seed * 100 + number))
        row |= timed("simulate", home, "simulate", *PROJECT, *asked, *given)
        row |= timed("round", home, "run_round", *PROJECT, *given)
    state = json.loads(manage(home, "status", *PROJECT, "--json"))
    folder = round_folder(home, rounds)
    return row | gates(state) | stage_seconds(folder) | judged(folder, home, seed)


def timed(name: str, home: Path, *arguments: str) -> Row:
    """Run a command; its wall and CPU seconds (with all its child processes)."""
    wall, cpu = time.monotonic(), _child_seconds()
    manage(home, *arguments)
    return {
        f"{name}_seconds": time.monotonic() - wall,
        f"{name}_cpu_seconds": _child_seconds() - cpu,
    }


def manage(home: Path, *arguments: str) -> str:
    """Run a management command in a home of its own; what it printed."""
    environment = {
        **os.environ,
        "PAIRLOOP_HOME": str(home),
        "DATABASE_URL": f"sqlite:///{home / 'db.sqlite3'}",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        check=False,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def round_folder(home: Path, number: int) -> Path:
    """The run directory of a round."""
    for file in home.glob("runs/*/propose/meta.json"):
        folder = file.parent.parent
        if json.loads((folder / "config.json").read_text("utf-8"))["number"] == number:
            return folder
    raise SystemExit(f"round {number} left no finished run in {home}")


def gates(state: dict[str, Any]) -> Row:
    """The figures that the product itself measured, as `status` tells it."""
    metrics = max(state["rounds"], key=lambda one: one["number"])["metrics"]
    result, reward = metrics["evaluate"], metrics["train_reward"]
    return {
        "promoted": float(state["policy"] != "policy-0"),
        "pairs_resolved": float(state["pairs_resolved"]),
        "pairs_train": reward["pairs_train"],
        "judge_win_rate": result["win_rate"],
        "judge_win_rate_low": result["win_rate_low"],
        "kl": result["kl"],
        "length_ratio": result["length"] / result["length_before"],
        "distinct2_ratio": result["distinct2"] / result["distinct2_before"],
        "repetition": result["repetition"],
        "accuracy_on_votes": reward["accuracy"],
    }


def stage_seconds(folder: Path) -> Row:
    """Wall seconds of each stage, from its progress lines."""
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    times: dict[str, list[float]] = {}
    for line in lines:
        times.setdefault(line["stage"], []).append(line["time"])
    return {f"{stage}_seconds": max(seen) - min(seen) for stage, seen in times.items()}


def judged(folder: Path, home: Path, seed: int) -> Row:
    """The rubric's verdict on reward model and policy, on held-out prompts."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from annotate.sample import rubric
    from training.rlhf import rows
    from training.rlhf.completions import sampling
    from training.rlhf.reward import reward_model

    torch.set_num_threads(1)
    disable_progress_bar()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    starter = home / config["starter"]
    prompts = [p for p in rows.read(rows.Prompt, folder / "prompts.jsonl") if p.held_out][:PROMPTS]
    chats = [prompt.messages for prompt in prompts]

    def write(policy: Path, temperature: float, *, draw: int) -> list[str]:
        settings = sampling.Settings(temperature, MAX_NEW_TOKENS, batch_size=64)
        writer = sampling.Policy(policy, device=torch.device("cpu"))
        return [reply.text for reply in writer.reply(chats, settings, seed=seed * 10 + draw)]

    left, right = (write(starter, LABEL_TEMPERATURE, draw=draw) for draw in (1, 2))
    model = reward_model.load(folder / "train_reward" / "model", device=torch.device("cpu"))
    scores = zip(model.score(chats, left), model.score(chats, right), strict=True)
    truth = [rubric.prefers(*row) for row in zip(chats, left, right, strict=True)]
    right_order = [(a > b) == (t > 0) for (a, b), t in zip(scores, truth, strict=True) if t]

    def points(policy: Path, *, draw: int) -> list[float]:
        replies = write(policy, TEMPERATURE, draw=draw)
        return [rubric.utility(*row) for row in zip(chats, replies, strict=True)]

    before, after = points(starter, draw=3), points(folder / "train_policy" / "model", draw=4)
    wins = [(a > b) + (a == b) / 2 for a, b in zip(after, before, strict=True)]
    return {
        "reward_accuracy": statistics.mean(right_order),
        "reward_pairs": float(len(right_order)),
        "win_rate": statistics.mean(wins),
        "win_rate_error": statistics.stdev(wins) / math.sqrt(len(wins)),
        "points_before": statistics.mean(before),
        "points_after": statistics.mean(after),
    }


def summary(by_seed: list[Row]) -> Result:
    """Means over the seeds, the worst of what has a goal, and intervals over the prompts."""
    n = len(by_seed)
    result = Result({key: statistics.mean(row[key] for row in by_seed) for key in by_seed[0]})
    error = result.figures.pop("win_rate_error")
    result.intervals["win_rate"] = _around(
        result.figures["win_rate"], math.hypot(*(row["win_rate_error"] for row in by_seed)) / n
    )
    accuracy = result.figures["reward_accuracy"]
    pairs = sum(row["reward_pairs"] for row in by_seed)
    result.intervals["reward_accuracy"] = _around(
        accuracy, math.sqrt(accuracy * (1 - accuracy) / pairs)
    )
    result.figures |= {
        "seeds": float(n),
        "seeds_won": float(sum(row["win_rate"] >= WON for row in by_seed)),
        "win_rate_worst": min(row["win_rate"] for row in by_seed),
        "win_rate_half_width_of_one_seed": 1.96 * error,
        "reward_accuracy_worst": min(row["reward_accuracy"] for row in by_seed),
        "round_seconds_worst": max(row["round_seconds"] for row in by_seed),
        "quickstart_seconds_worst": max(row["quickstart_seconds"] for row in by_seed),
    }
    return result


def _around(mean: float, error: float) -> tuple[float, float]:
    return mean - 1.96 * error, mean + 1.96 * error
