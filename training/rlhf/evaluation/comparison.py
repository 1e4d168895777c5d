"""Any number of models beside each other on the same prompts: one table, every reply, a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.config import CompareJob
from training.rlhf.config.config_file import require
from training.rlhf.evaluation import before_after, blind_pairs
from training.rlhf.evaluation.comparison_table import ALL, Answer
from training.rlhf.evaluation.measured_replies import Contest
from training.rlhf.rows import Prompt
from training.rlhf.run.work import Work


def run(
    config: CompareJob,
    prompts: Sequence[Prompt],
    verdicts: blind_pairs.Verdicts,
    out: Path,
    work: Work,
) -> dict[str, float]:
    """Measure the models of `config` on its held-out prompts; see `evaluate.measure` for the files,
    beside which stands pairs.jsonl: blind pairs for people to vote on.

    Returns:
        `MODEL.MEASURE` of every model, and the number of prompts.

    Raises:
        ConfigError: fewer than two models, no held-out prompt, or a server with names for two.
        EndpointError: a server failed; what was finished is kept.
    """
    require(len(config.models) >= 2, "models must name at least two models")
    endpoint = config.evaluate.endpoint
    named = endpoint is not None and bool(endpoint.model or endpoint.other)
    require(not named, "a server of any number of models loads them by path: leave its names empty")
    asked = before_after.choose(prompts, config.evaluate.prompts, seed=work.seed)
    contest = Contest(
        config.models,
        config.starter or next(iter(config.models.values())),
        config.reward_models,
        config.evaluate.judge,
        endpoint,
        verdicts,
        config.evaluate.refusals,
    )
    table, answers = before_after.measure(contest, asked, config.evaluate, out, work)
    rows.write(out / "pairs.jsonl", _blind_pairs(answers, seed=work.seed))
    whole = table["groups"][ALL]
    found = {
        f"{model}.{name}": cell["value"]
        for model, cells in whole["models"].items()
        for name, cell in cells.items()
        if cell["value"] is not None
    }
    return {"prompts": float(whole["prompts"])} | found


def _blind_pairs(answers: Mapping[str, Sequence[Answer]], *, seed: int) -> Iterator[dict[str, Any]]:
    """Every model against the first. The authors stand in the file for whoever imports it, so that
    policies can be told apart afterwards, and are shown to nobody who votes."""
    first, *others = answers
    for name in others:
        for a, b in blind_pairs.sides(*(map(vars, answers[m]) for m in (name, first)), seed=seed):
            yield blind_pairs.question(a, b) | {"model_a": a["model"], "model_b": b["model"]}
