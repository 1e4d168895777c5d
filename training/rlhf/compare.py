"""Any number of models beside each other on the same prompts: one table, every reply, a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.rlhf import evaluate, people, rows
from training.rlhf.answers import Contest, Place
from training.rlhf.config import CompareJob
from training.rlhf.configfile import require
from training.rlhf.measures import ALL
from training.rlhf.rows import Preference, Prompt


def run(
    config: CompareJob,
    prompts: Sequence[Prompt],
    votes: Sequence[Preference],
    out: Path,
    place: Place,
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
    asked = evaluate.choose(prompts, config.evaluate.prompts, seed=place.seed)
    contest = Contest(
        config.models,
        config.starter or next(iter(config.models.values())),
        config.reward_models,
        config.evaluate.judge,
        endpoint,
        tuple(votes),
    )
    table, answers = evaluate.measure(contest, asked, config.evaluate, out, place)
    rows.write(out / "pairs.jsonl", people.blind_pairs(answers))
    whole = table["groups"][ALL]
    found = {
        f"{model}.{name}": cell["value"]
        for model, cells in whole["models"].items()
        for name, cell in cells.items()
        if cell["value"] is not None
    }
    return {"prompts": float(whole["prompts"])} | found
