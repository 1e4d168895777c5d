"""The commands that read and write files and compute nothing: functions of (config, out).

Torch-free but for adapters that have to be merged.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from training.rlhf.config import (
    BlindJob,
    HumanJob,
    PushJob,
    RedditJob,
    SaveJob,
    SelectJob,
    SuccessJob,
)
from training.rlhf.data.reddit import make_pairs
from training.rlhf.delivery import hub_upload, model_folder
from training.rlhf.evaluation import human_evaluation, model_selection, success_rates

Metrics = dict[str, float]


def reddit(config: RedditJob, out: Path) -> Metrics:
    """Make `out`/pairs.jsonl of a dump."""
    return make_pairs(config.submissions, config.comments, config.reddit, out)


def success(config: SuccessJob, out: Path) -> Metrics:
    """Count how often the models of a comparison score above a bar."""
    return success_rates.success_rates(
        config.replies, config.score, config.baseline, config.threshold, seed=config.seed
    )


def select(config: SelectJob, out: Path) -> Metrics:
    """Link the best of several checkpoints to `out`/model."""
    return model_selection.link_best(config.replies, config.score, config.candidates, out)


def blind(config: BlindJob, out: Path) -> Metrics:
    """Make blind pairs for people of the replies of a comparison."""
    return human_evaluation.write_blind_pairs(
        config.replies, config.model, config.other, out, seed=config.seed
    )


def human(config: HumanJob, out: Path) -> Metrics:
    """Read back what people said of blind pairs."""
    return human_evaluation.human_win_rate(config.key, config.votes, config.undecided)


def save(config: SaveJob, out: Path) -> Metrics:
    """Write models as whole folders with cards."""
    return model_folder.save_parts(config.parts, out)


def push(config: PushJob, out: Path) -> Metrics:
    """Upload a model; an adapter is merged beside the result, and the whole model is not kept."""
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        return hub_upload.push(config, out, scratch=Path(scratch))
