"""From nothing to a first pair and a quick look with a real model, by the product's commands.

`python -m benchmarks quick_look --model=FOLDER [--pairs=60] [--preset=quick]`, in a home and a
database of its own: quickstart until the first pairs are there, a worker until there are enough of
them, votes of simulated people, and a round by PPO. CPU seconds beside the seconds say what a busy
machine adds. Replies before and after go to var/bench/quick_look.md.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.loop import PROJECT, ROOT, Row, round_folder, timed
from benchmarks.result import Result

ANNOTATORS, VOTES_PER_PAIR = 12, 2.5
GOALS = {"first_pair_seconds": 180.0, "round_seconds": 900.0, "peak_gib": 6.0}
SHOWN = 6
OUT = Path(os.environ.get("PAIRLOOP_HOME", ROOT / "var")) / "bench" / "quick_look.md"
METRICS = ("kl", "reward_gain", "win_rate", "win_rate_low", "length", "length_before", "prompts")


def benchmark(arguments: list[str]) -> Result:
    """Seconds and CPU seconds of every step, the round's memory, and what its policy gained."""
    given = dict(argument.lstrip("-").partition("=")[::2] for argument in arguments)
    if unknown := sorted(set(given) - {"model", "pairs", "preset"}):
        raise SystemExit(f"quick_look takes --model=FOLDER, --pairs=N and --preset=NAME: {unknown}")
    if not Path(given.get("model", "")).is_dir() or not given.get("model"):
        raise SystemExit("quick_look wants --model=FOLDER (.ci/real_model.py makes one)")
    pairs, preset = int(given.get("pairs", 60)), given.get("preset", "quick")
    with tempfile.TemporaryDirectory(prefix="pairloop-real-") as folder:
        home = Path(folder)
        row = timed("first_pair", home, "quickstart", "--model", given["model"])
        row["first_pairs"] = float(waiting(home))
        row |= told(row) | filled(home, pairs) | told({})
        row |= voted_and_trained(home, pairs, preset)
        return measured(row, round_folder(home, 1))


def voted_and_trained(home: Path, pairs: int, preset: str) -> Row:
    """Votes of simulated people, and a round by PPO."""
    people = ("--annotators", str(ANNOTATORS), "--votes", str(int(VOTES_PER_PAIR * pairs)))
    row = timed("votes", home, "simulate", *PROJECT, *people)
    settings = ("--preset", preset, "--set", "optimiser=ppo")
    return row | told(timed("round", home, "run_round", *PROJECT, *settings))


def told(row: Row) -> Row:
    """A row, printed: a run that is stopped has told what it knew."""
    print(json.dumps(row), flush=True)
    return row


def filled(home: Path, pairs: int) -> Row:
    """Let a worker write completions until so many pairs wait; its seconds."""
    begun = time.monotonic()
    environment = os.environ | {
        "PAIRLOOP_HOME": str(home),
        "DATABASE_URL": f"sqlite:///{home / 'db.sqlite3'}",
    }
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "worker", "--gpu"], env=environment, cwd=ROOT
    )
    while waiting(home) < pairs and worker.poll() is None:
        time.sleep(1)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    there = waiting(home)
    if there < pairs:
        raise SystemExit(f"the worker ended with {there} of {pairs} pairs")
    return told({"pairs": float(there), "pairs_seconds": time.monotonic() - begun})


def waiting(home: Path) -> int:
    """Pairs in the database."""
    with sqlite3.connect(home / "db.sqlite3", timeout=30) as database:
        return int(database.execute("select count(*) from annotate_pair").fetchone()[0])


def measured(row: Row, folder: Path) -> Result:
    """The stages' seconds and memory, what the round gained, and its replies for people."""
    stages = {file.parent.name: _read(file) for file in folder.glob("*/meta.json")}
    for name, meta in stages.items():
        row[f"{name}_seconds"] = meta["measured"]["seconds"]
        row[f"{name}_peak_gib"] = meta["measured"]["peak_gib"]
    row["peak_gib"] = max(row[f"{name}_peak_gib"] for name in stages)
    gained = stages["evaluate"]["metrics"]
    row |= {name: gained[name] for name in METRICS if name in gained}
    row["updates"] = stages["train_policy"]["metrics"]["updates"]
    row["reward_accuracy"] = stages["train_reward"]["metrics"]["accuracy"]
    row |= {f"{name}_goal": goal for name, goal in GOALS.items()}
    result = Result(row)
    if "reward_gain_low" in gained:
        result.intervals["reward_gain"] = (gained["reward_gain_low"], gained["reward_gain_high"])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(replies(folder / "evaluate" / "samples.jsonl"), "utf-8")
    return result


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8")))


def replies(file: Path) -> str:
    """Replies to the same held-out prompts before and after, as Markdown."""
    parts = []
    for line in file.read_text("utf-8").splitlines()[:SHOWN]:
        sample = json.loads(line)
        asked = sample["messages"][-1]["content"]
        sides = (
            f"**{side.title()}** (score {sample[f'reward_{side}']:.2f}): {sample[side]}"
            for side in ("before", "after")
        )
        parts.append("\n\n".join((f"> {asked}", *sides)))
    return "\n\n---\n\n".join(parts) + "\n"
