"""Policies beside each other on the same held-out prompts: a round's two, or any number of models.

One reply each to every prompt, one table, a report. The win rate of a round is that of the judge, a
second reward model which PPO never saw. Beside it stand the signs of a reward that was gamed: KL to
the starter, length, variety, repetition, broken replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.rlhf import rows
from training.rlhf.completions.sampling import require_both
from training.rlhf.completions.writers import Settings
from training.rlhf.config import CompareJob, ConfigError, EvaluateConfig
from training.rlhf.config.config_file import require
from training.rlhf.evaluation import (
    comparison_metrics,
    comparison_report,
    comparison_table,
    human_evaluation,
)
from training.rlhf.evaluation.comparison_metrics import MeasuredReply
from training.rlhf.evaluation.comparison_table import ALL, Resampling
from training.rlhf.evaluation.human_evaluation import Verdicts
from training.rlhf.evaluation.measured_replies import ComparisonSetup, measure_replies
from training.rlhf.rows import Prompt
from training.rlhf.run.work import Work

BEFORE, AFTER, FIRST = "before", "after", "starter"
BESIDE_STARTER = (
    *("length", "distinct2", "repetition", "refusal_rate", "flattery_rate", "hedging_rate"),
    *("markdown_rate", "broken_rate"),
)
"""Metrics that a round also tells of the starter, so that what creeps from round to round shows."""
RENAMED = {
    "win_rate_judge": "win_rate",
    "win_rate_reward": "reward_win_rate",
    "score_reward": "reward_after",
    "score_judge": "judge_after",
}
"""Metrics that rounds know by another name."""


@dataclass(frozen=True)
class Models:
    """Folders of everything that the evaluation of a round needs."""

    policy: str
    before: str
    starter: str
    reward: str
    judge: str = ""
    """Empty where the round trained none."""


def evaluate(
    folders: Models, prompts: Sequence[Prompt], config: EvaluateConfig, out: Path, work: Work
) -> dict[str, float]:
    """Compare a policy with the one before; write samples.jsonl and the files of `measure`.

    Returns:
        win_rate with win_rate_low and win_rate_high (95 %), reward_win_rate, reward_before,
        reward_after, their mean difference reward_gain with reward_gain_low and reward_gain_high
        (95 %, paired), judge_before, judge_after, prompts, and every other metric of
        `comparison_metrics.METRICS` that applies, of the new policy and, with the ending _before,
        of the other; those of BESIDE_STARTER with the ending _starter too.

    Raises:
        ConfigError: there is no held-out prompt, or the endpoint names only one of two policies.
        EndpointError: a server failed; what was finished is kept.
    """
    require_both(config.endpoint)
    judge = {"judge": folders.judge} if folders.judge else {}
    setup = ComparisonSetup(
        {BEFORE: folders.before, AFTER: folders.policy} | _starter_beside(folders, config),
        folders.starter,
        {"reward": folders.reward} | judge,
        config.judge,
        config.endpoint,
        refusals=config.refusals,
        dtype=config.dtype,
    )
    asked = held_out_prompts(prompts, config.prompts, seed=work.seed)
    table, replies = measure(setup, asked, config, out, work)
    _write_samples(replies, out / "samples.jsonl", n=config.samples)
    return _round_metrics(table)


def _starter_beside(folders: Models, config: EvaluateConfig) -> dict[str, str]:
    """The starter as a third policy, where it is not the one before; a server that knows two
    policies by name cannot write for it."""
    named = config.endpoint is not None and bool(config.endpoint.other)
    return {} if named or folders.starter == folders.before else {FIRST: folders.starter}


def compare(
    config: CompareJob,
    prompts: Sequence[Prompt],
    out: Path,
    work: Work,
    *,
    verdicts: Verdicts | None = None,
) -> dict[str, float]:
    """Compare any number of models on the held-out prompts.

    Writes the files of `measure`, and pairs.jsonl beside them: blind pairs for people to vote on.

    Args:
        verdicts: people's votes on the blind pairs of an earlier run, by `human_evaluation.read`.

    Returns:
        `MODEL.METRIC` of every model, and the number of prompts.

    Raises:
        ConfigError: fewer than two models, no held-out prompt, or a server with names for two.
        EndpointError: a server failed; what was finished is kept.
    """
    require(len(config.models) >= 2, "models must name at least two models")
    endpoint = config.evaluate.endpoint
    named = endpoint is not None and bool(endpoint.model or endpoint.other)
    require(not named, "a server of any number of models loads them by path: leave its names empty")
    asked = held_out_prompts(prompts, config.evaluate.prompts, seed=work.seed)
    setup = ComparisonSetup(
        config.models,
        config.starter or next(iter(config.models.values())),
        config.reward_models,
        config.evaluate.judge,
        endpoint,
        verdicts or {},
        config.evaluate.refusals,
        config.evaluate.dtype,
    )
    table, replies = measure(setup, asked, config.evaluate, out, work)
    rows.write(out / "pairs.jsonl", _blind_pairs(replies, seed=work.seed))
    whole = table["groups"][ALL]
    metrics = {
        f"{model}.{name}": cell["value"]
        for model, cells in whole["models"].items()
        for name, cell in cells.items()
        if cell["value"] is not None
    }
    return {"prompts": float(whole["prompts"])} | metrics


def measure(
    setup: ComparisonSetup, asked: Sequence[Prompt], config: EvaluateConfig, out: Path, work: Work
) -> tuple[dict[str, Any], dict[str, list[MeasuredReply]]]:
    """Measure every model on the same prompts.

    Writes comparison.json (the table), replies.jsonl (every reply with its numbers), report.md and
    report.html into `out`; returns the table and the replies.
    """
    settings = Settings(config.temperature, config.max_new_tokens, config.batch_size)
    replies = measure_replies(setup, asked, settings, work)
    metrics = comparison_metrics.metrics(setup.scorers, judged=setup.judge is not None)
    table = comparison_table.table(replies, metrics, Resampling(config.resamples, work.seed))
    table["about"] = {
        "folders": setup.models,
        "starter": setup.starter,
        "scorers": setup.scorers,
        "temperature": config.temperature,
        "max_new_tokens": config.max_new_tokens,
        "resamples": config.resamples,
        "seed": work.seed,
    }
    work.guard()
    comparison_report.write(out, table, replies, samples=config.samples)
    return table, replies


def held_out_prompts(prompts: Sequence[Prompt], n: int, *, seed: int) -> list[Prompt]:
    """Up to `n` held-out prompts, drawn by seed.

    Raises:
        ConfigError: there is none.
    """
    held_out = [prompt for prompt in prompts if prompt.held_out]
    if not held_out:
        raise ConfigError("there is no held-out prompt to evaluate on")
    order = np.random.default_rng([seed, 4]).permutation(len(held_out))
    return [held_out[i] for i in order[:n]]


def _round_metrics(table: Mapping[str, Any]) -> dict[str, float]:
    """The whole table of two policies as one flat list."""
    whole = table["groups"][ALL]
    metrics: dict[str, float] = {"prompts": float(whole["prompts"])}
    for name, cell in whole["models"][AFTER].items():
        if cell["value"] is not None:
            metrics[RENAMED.get(name, name)] = cell["value"]
    for name, cell in whole["models"][BEFORE].items():
        if cell["value"] is not None:
            metrics[f"{RENAMED.get(name, name).removesuffix('_after')}_before"] = cell["value"]
    first = whole["models"].get(FIRST, whole["models"][BEFORE])
    for name in BESIDE_STARTER:
        if first.get(name, {}).get("value") is not None:
            metrics[f"{name}_starter"] = first[name]["value"]
    judged = whole["models"][AFTER].get("win_rate_judge", {})
    metrics |= {f"win_rate_{end}": judged[end] for end in ("low", "high") if end in judged}
    return metrics | _gain(whole["models"][AFTER]["score_reward"])


def _gain(cell: Mapping[str, float | None]) -> dict[str, float]:
    """The gain in reward on the same prompts, as far as it can be told."""
    named = {"difference": "", "difference_low": "_low", "difference_high": "_high"}
    told = {f"reward_gain{end}": cell.get(name) for name, end in named.items()}
    return {name: value for name, value in told.items() if value is not None}


def _write_samples(replies: Mapping[str, Sequence[MeasuredReply]], path: Path, *, n: int) -> None:
    rows.write(
        path,
        (
            {
                "prompt_id": after.prompt_id,
                "messages": after.messages,
                "before": before.text,
                "after": after.text,
                "reward_before": before.numbers["score_reward"],
                "reward_after": after.numbers["score_reward"],
            }
            for before, after in list(zip(replies[BEFORE], replies[AFTER], strict=True))[:n]
        ),
    )


def _blind_pairs(
    replies: Mapping[str, Sequence[MeasuredReply]], *, seed: int
) -> Iterator[dict[str, Any]]:
    """Pair every model with the first.

    The authors stand in the file for whoever imports it, so that policies can be told apart
    afterwards, and are shown to nobody who votes.
    """
    first, *others = replies
    for name in others:
        mine, base = (map(vars, replies[model]) for model in (name, first))
        for a, b in human_evaluation.sides(mine, base, seed=seed):
            yield human_evaluation.question(a, b) | {"model_a": a["model"], "model_b": b["model"]}
