"""A new policy against the one before it: one reply each to every held-out prompt.

The win rate is that of the judge, a second reward model which PPO never saw. Beside it stand the
signs of a reward that was gamed: KL to the starter, length, variety, repetition, broken replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.rlhf import rows
from training.rlhf.completions.sampling import require_both
from training.rlhf.completions.writers import Settings
from training.rlhf.config import ConfigError, EvaluateConfig
from training.rlhf.evaluation import comparison_report, comparison_table
from training.rlhf.evaluation.comparison_table import ALL, Answer, Resampling
from training.rlhf.evaluation.measured_replies import Contest, gather
from training.rlhf.rows import Prompt
from training.rlhf.run.work import Work

BEFORE, AFTER = "before", "after"
RENAMED = {
    "win_rate_judge": "win_rate",
    "win_rate_reward": "reward_win_rate",
    "score_reward": "reward_after",
    "score_judge": "judge_after",
}
"""Measures that rounds know by another name."""


@dataclass(frozen=True)
class Models:
    """Folders of everything an evaluation needs."""

    policy: str
    before: str
    starter: str
    reward: str
    judge: str


def run(
    folders: Models,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
    out: Path,
    work: Work,
) -> dict[str, float]:
    """Compare two policies; write samples.jsonl and the files of `measure` into `out`.

    Returns:
        win_rate with win_rate_low and win_rate_high (95 %), reward_win_rate, reward_before,
        reward_after, judge_before, judge_after, prompts, and every other measure of
        `measures.TEXT` that applies, of the new policy and, with the ending _before, of the other.

    Raises:
        ConfigError: there is no held-out prompt, or the endpoint names only one of two policies.
        EndpointError: a server failed; what was finished is kept.
    """
    require_both(config.endpoint)
    contest = Contest(
        {BEFORE: folders.before, AFTER: folders.policy},
        folders.starter,
        {"reward": folders.reward, "judge": folders.judge},
        config.judge,
        config.endpoint,
        refusals=config.refusals,
    )
    asked = choose(prompts, config.prompts, seed=work.seed)
    table, answers = measure(contest, asked, config, out, work)
    _write_samples(answers, out / "samples.jsonl", n=config.samples)
    return _metrics(table)


def measure(
    contest: Contest, asked: Sequence[Prompt], config: EvaluateConfig, out: Path, work: Work
) -> tuple[dict[str, Any], dict[str, list[Answer]]]:
    """Measure every model on the same prompts.

    Writes comparison.json (the table), replies.jsonl (every reply with its numbers), report.md and
    report.html into `out`; returns the table and the replies.
    """
    settings = Settings(config.temperature, config.max_new_tokens, config.batch_size)
    answers = gather(contest, asked, settings, work)
    found = comparison_table.measures(contest.scorers, judged=contest.judge is not None)
    table = comparison_table.table(answers, found, Resampling(config.resamples, work.seed))
    table["about"] = {
        "folders": contest.models,
        "starter": contest.starter,
        "scorers": contest.scorers,
        "temperature": config.temperature,
        "max_new_tokens": config.max_new_tokens,
        "resamples": config.resamples,
        "seed": work.seed,
    }
    work.guard()
    comparison_report.write(out, table, answers, samples=config.samples)
    return table, answers


def choose(prompts: Sequence[Prompt], n: int, *, seed: int) -> list[Prompt]:
    """Up to `n` held-out prompts, drawn by seed."""
    held_out = [prompt for prompt in prompts if prompt.held_out]
    if not held_out:
        raise ConfigError("there is no held-out prompt to evaluate on")
    order = np.random.default_rng([seed, 4]).permutation(len(held_out))
    return [held_out[i] for i in order[:n]]


def _metrics(table: Mapping[str, Any]) -> dict[str, float]:
    """The whole table of two policies as one flat list."""
    whole = table["groups"][ALL]
    found: dict[str, float] = {"prompts": float(whole["prompts"])}
    for name, cell in whole["models"][AFTER].items():
        if cell["value"] is not None:
            found[RENAMED.get(name, name)] = cell["value"]
    for name, cell in whole["models"][BEFORE].items():
        if cell["value"] is not None:
            found[f"{RENAMED.get(name, name).removesuffix('_after')}_before"] = cell["value"]
    judged = whole["models"][AFTER]["win_rate_judge"]
    return found | {f"win_rate_{end}": judged[end] for end in ("low", "high") if end in judged}


def _write_samples(answers: Mapping[str, Sequence[Answer]], path: Path, *, n: int) -> None:
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
            for before, after in list(zip(answers[BEFORE], answers[AFTER], strict=True))[:n]
        ),
    )
