"""Comparisons as the engine leaves them, made of a few fixed replies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.rlhf.evaluation import comparison_metrics, comparison_report, comparison_table
from training.rlhf.evaluation.comparison_metrics import MeasuredReply
from training.rlhf.evaluation.comparison_table import Resampling

TEXTS = {
    "policy-0": "No <idea> about {i}.",
    "policy-1": "We will ship order {i} today.",
    "policy-2": "Sorry! We will ship order {i} today, and write to you.",
}


def answers(model: str) -> list[MeasuredReply]:
    found = []
    for i in range(12):
        text = TEXTS[model].format(i=i)
        numbers = comparison_metrics.text_numbers(text, "", finished=True, tokens=len(text.split()))
        found.append(
            MeasuredReply(
                model=model,
                prompt_id=f"p{i}",
                messages=[{"role": "user", "content": f"Where is order {i}?"}],
                tags=("toxic",) if i < 3 else (),
                text=text,
                finished=True,
                fault="",
                numbers=numbers | {"score_reward": len(text) / 10 + i % 3},
            )
        )
    return found


def write(folder: Path, names: dict[str, str]) -> None:
    """The files of a comparison as the engine leaves them; `names` maps theirs to policies."""
    found = {
        name: [replace(answer, model=name) for answer in answers(policy)]
        for name, policy in names.items()
    }
    first, *others = found
    for name in others:
        for mine, base in zip(found[name], found[first], strict=True):
            mine.numbers["win_rate_reward"] = comparison_metrics.points(mine, base, scorer="reward")
        for judged in found[name][:5]:
            judged.numbers["people_win_rate"] = 1.0
    table = comparison_table.table(found, comparison_metrics.metrics(["reward"]), Resampling(50))
    table["about"] = {
        "scorers": {"reward": "runs/reward"},
        "temperature": 0.7,
        "max_new_tokens": 64,
        "resamples": 50,
        "seed": 0,
        "starter": "starter",
    }
    folder.mkdir(parents=True)
    comparison_report.write(folder, table, found, samples=2)
