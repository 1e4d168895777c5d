"""Use the engine's examples of docs/extending.md, by its commands.

For a process of its own, in the copy.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import training.rlhf
from tests.training.rlhf import tiny, world
from training.rlhf import acquire, rows
from training.rlhf.__main__ import main
from training.rlhf.config import ProposeConfig
from training.rlhf.evaluation.comparison_metrics import text_numbers
from training.rlhf.round import SAMPLE, STAGES, RunDirectory

HERE = Path.cwd()
REPLIES = ["Yes.", "- One\n- Two\n- Three", "word " * 80]


def use_all() -> None:
    with tempfile.TemporaryDirectory() as folder:
        use_each(Path(folder))


def use_each(folder: Path) -> None:
    assert Path(training.rlhf.__file__).is_relative_to(HERE), "this is not the copy"
    starter = tiny.llama(folder / "starter")
    rows.write(folder / "replies.jsonl", [{"prompt": "Hi", "completion": r} for r in REPLIES])
    rows.write(folder / "prompts.jsonl", world.prompts(8))
    rows.write(folder / "preferences.jsonl", world.preferences(8))
    use_command(folder)
    use_reward(folder)
    use_acquisition()
    use_stage(folder, starter)
    use_metric(folder, starter)
    use_optimiser(folder, starter)


def metrics_of(name: str, folder: Path, **settings: Any) -> dict[str, float]:
    """The metrics of `python -m training.rlhf NAME`, with the folder's files and these settings."""
    config, out = folder / f"{name}.json", folder / "out" / name
    config.write_text(json.dumps(settings | {"device": "cpu", "threads": 1}))
    assert main([name, "--config", str(config), "--out", str(out)]) == 0
    metrics: dict[str, float] = json.loads((out / "meta.json").read_text())["metrics"]
    return metrics


def use_command(folder: Path) -> None:
    metrics = metrics_of("lengths", folder, replies=str(folder / "replies.jsonl"))
    assert metrics == {"replies": 3, "median": 6, "longest": 80}


def use_reward(folder: Path) -> None:
    rule = "house_rules:brief"
    replies = str(folder / "replies.jsonl")
    metrics = metrics_of("score", folder, replies=replies, reward_function=rule)
    assert (metrics["score_min"], metrics["score_max"]) == (0.5, 1.0)


def use_acquisition() -> None:
    rng = np.random.default_rng(0)
    labelled, pool = rng.normal(size=(40, 2)), rng.normal(size=(60, 2))
    labelled[:, 1] = 0.0  # nothing is known of the second feature
    config = ProposeConfig(acquisition="widest", cold_start_votes=0)
    votes, everything = (labelled[:, 0] > 0) * 1.0, np.ones(60, dtype=bool)
    ranking = acquire.rerank(labelled, votes, pool, everything, config, n=5, seed=0)
    unknown = np.abs(pool[:, 1])
    assert unknown[ranking.order].min() > np.quantile(unknown, 0.8)


def use_stage(folder: Path, starter: Path) -> None:
    run = RunDirectory(world.run_directory(folder / "round", starter))
    texts = [("p0", "Hello."), ("p0", "Hello."), ("p1", "Hello.")]
    said = [rows.Completion(key=str(i), prompt_id=p, text=t) for i, (p, t) in enumerate(texts)]
    with run.claim():
        for stage in STAGES[:-1]:  # all but the new one are finished
            partial = run.partial(stage.name)
            if stage.name == SAMPLE:
                rows.write(partial / "completions.jsonl", said)
            run.publish(stage.name, run.meta(stage.name, {}, {}, {}))
    assert not run.done("repeats")
    assert main(["round", str(run.path)]) == 0
    meta = run.stage_meta("repeats")
    assert meta and meta["metrics"] == {"completions": 3, "repeats": 1}


def use_metric(folder: Path, starter: Path) -> None:
    metrics = metrics_of(
        "compare",
        folder,
        models={"one": str(starter), "other": str(starter)},
        prompts=str(folder / "prompts.jsonl"),
        evaluate={"prompts": 2, "max_new_tokens": 4, "resamples": 0},
    )
    assert metrics["one.list_rate"] == metrics["other.list_rate"] == 0.0
    assert "Replies with a list" in (folder / "out/compare/report.md").read_text()
    listed = [text_numbers(r, "", finished=True, tokens=9)["listed"] for r in REPLIES]
    assert listed == [0.0, 1.0, 0.0]


def use_optimiser(folder: Path, starter: Path) -> None:
    metrics = metrics_of(
        "ipo",
        folder,
        starter=str(starter),
        preferences=str(folder / "preferences.jsonl"),
        pairs={"batch_size": 4, "learning_rate": 1e-3},
    )
    # (h - 1 / (2 beta))^2 is 25 for an untrained policy, where DPO's loss is log 2.
    assert 20 < metrics["loss"] < 30
    assert (folder / "out/ipo/model/config.json").is_file()
