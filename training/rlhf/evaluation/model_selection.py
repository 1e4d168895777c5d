"""Model selection: the best of several checkpoints by their scores in a comparison. Torch-free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from training.rlhf import rows
from training.rlhf.config.config_file import require
from training.rlhf.metrics.texts import diversity_and_refusals
from training.rlhf.run.hard_links import link_folder


def link_best(
    replies: str, score: str, candidates: Mapping[str, str], out: Path
) -> dict[str, float]:
    """Link the candidate with the highest mean score to `out`/model.

    Args:
        replies: replies.jsonl of a comparison.
        score: the number of a reply to choose by, such as `score_judge`; not that of the reward
            model which the candidates were trained to please.
        candidates: folders by their names in the comparison.

    Returns:
        score_NAME and chosen_NAME (1.0 for one of them) of every candidate.

    Raises:
        RowError: the file cannot be read.
        ConfigError: a candidate or the score is not in it.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for _, row in rows.read_json(replies):
        require(score in row["numbers"], f"{replies}: replies have no number {score}")
        scores[row["model"]].append(row["numbers"][score])
    for name in candidates:
        require(name in scores, f"{replies} has no replies of {name}")
    means = {name: diversity_and_refusals.mean(scores[name]) for name in candidates}
    best = max(means, key=means.__getitem__)
    link_folder(Path(candidates[best]), out / "model")
    return {f"score_{name}": mean for name, mean in means.items()} | {
        f"chosen_{name}": float(name == best) for name in means
    }
