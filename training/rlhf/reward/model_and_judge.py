"""The two reward models of a round, model and judge, with their report and learning curve.

The stage `train_reward` and the command `reward` are calls of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.rlhf import rows
from training.rlhf.config import RewardConfig, RewardJob
from training.rlhf.data import data_files, soft_labels
from training.rlhf.reward import (
    held_out_report,
    learning_curve,
    out_of_fold,
    reward_training,
    votes_for_the_judge,
)
from training.rlhf.reward.optimiser_loop import Features
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.rows import Preference, Rating
from training.rlhf.run import ranks
from training.rlhf.run.work import Work


def command(config: RewardJob, out: Path, work: Work) -> dict[str, float]:
    """Train `out`/model and `out`/judge on a file of pairs or ratings; the metrics.

    Raises:
        RowError, ConfigError: the file is broken, or teaches nothing.
    """
    share, sizes = config.held_out_share, config.learning_curve
    if config.reward.loss == "regression":
        ratings = data_files.ratings(config.ratings, held_out_share=share)
        return fit_rewards(config.starter, ratings, config.reward, out, work) | ratings.counted
    pairs = data_files.preferences(config.preferences, held_out_share=share)
    if sizes:
        learning_curve.check(pairs, sizes, seed=config.seed)
    metrics = fit_rewards(config.starter, pairs, config.reward, out, work)
    if sizes:
        metrics |= draw_learning_curve(
            config.starter, pairs, config.reward, sizes, out, work, whole=metrics
        )
    return metrics | pairs.counted


def fit_rewards(
    base: str,
    data: Sequence[Preference] | Sequence[Rating],
    config: RewardConfig,
    out: Path,
    work: Work,
) -> dict[str, float]:
    """Write `out`/model, `out`/judge unless it is left out, and for pairs `out`/heldout.jsonl; the
    metrics of both.

    accuracy and its kin are those of held-out prompts, or of all pairs out of fold while these are
    few (accuracy_folds models then, else 0).
    """
    pairs = [row for row in data if isinstance(row, Preference)]
    parted = votes_for_the_judge.part(pairs, share=config.judge_share if config.judge else 0.0)
    features: Features = {}

    def fit(name: str, *, before: int) -> tuple[RewardModel, dict[str, float]]:
        first = not before

        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            prefix = "" if first else "judge_"
            named = {f"{prefix}{key}": value for key, value in metrics.items()}
            # The judge, with fewer distinct pairs, may take fewer steps than the first model.
            ahead = total if first and config.judge else 0
            work.report(before + done, before + total + ahead, named)

        own = list(map(soft_labels.with_ai_votes, parted.model)) if first else parted.judge
        trunk = base if first else config.judge_base or base
        return reward_training.train(
            trunk,
            own if pairs else data,
            # Nothing climbs the judge's score: it says what it thinks, and not less where it
            # is not sure.
            config if first else replace(config, heads=1),
            out / name,
            replace(
                work,
                seed=work.seed if first else work.seed + 1,
                checkpoints=work.checkpoints / name,
                report=report,
            ),
            resample=not first and not parted.prompts_apart,
            features=features if trunk == base else None,
        )

    model, metrics = fit("model", before=0)
    metrics |= _votes_of_models_apart(parted.model, metrics)
    metrics |= _held_out(model, data, out / "heldout.jsonl") | {"accuracy_folds": 0.0}
    if out_of_fold.wanted(parted.model, config):
        folded = out_of_fold.out_of_fold(base, parted.model, config, work, features=features)
        metrics |= folded.metrics() | {"accuracy_folds": float(config.folds)} if folded else {}
    if not config.judge:
        return metrics
    if parted.people_apart and ranks.rank() == 0:
        judges = sorted(
            {v.annotator for row in parted.judge for v in row.votes if not row.held_out}
        )
        rows.write(out / "judge_people.jsonl", ({"annotator": one} for one in judges))
    judge, judged = fit("judge", before=max(1, int(metrics["steps"])))
    return metrics | {
        "judge_accuracy": _held_out(judge, data)["accuracy"],
        "judge_steps": judged["steps"],
        "judge_votes": judged.get("votes_train", 0.0),
        "judge_prompts_apart": float(parted.prompts_apart),
        "judge_independent": float(parted.independent),
        "judge_trunk_apart": float(config.judge_base not in ("", base)),
    }


def _votes_of_models_apart(
    rows_: Sequence[Preference], metrics: dict[str, float]
) -> dict[str, float]:
    """The numbers of votes and of who cast them, for people and models apart; none to change where
    no model has voted."""
    learnt = [row for row in rows_ if not row.held_out and row.kind != "evaluation"]
    votes = [vote for row in learnt for vote in row.ai_votes]
    if not votes:
        return {}
    return {
        "ai_votes_train": float(len(votes)),
        "votes_train": metrics["votes_train"] - len(votes),
        "annotators": metrics["annotators"] - len({vote.annotator for vote in votes}),
    }


def _held_out(
    model: RewardModel, data: Sequence[Preference] | Sequence[Rating], file: Path | None = None
) -> dict[str, float]:
    """The metrics on what is held out; the logits of pairs into `file`."""
    ratings = [row for row in data if isinstance(row, Rating)]
    if ratings:
        return held_out_report.held_out_ratings(model, ratings)
    seen = held_out_report.held_out(model, [row for row in data if isinstance(row, Preference)])
    if file is not None and ranks.rank() == 0:
        logits = zip(seen.pair_ids, seen.logits.tolist(), strict=True)
        rows.write(file, ({"pair_id": pair, "logit": logit} for pair, logit in logits))
    return seen.metrics()


def draw_learning_curve(
    base: str,
    preferences: Sequence[Preference],
    config: RewardConfig,
    sizes: Sequence[int],
    out: Path,
    work: Work,
    *,
    whole: dict[str, float],
) -> dict[str, float]:
    """Write `out`/learning_curve.jsonl, the whole data's point last; accuracies by votes.

    Args:
        whole: metrics of the model that was trained on everything.
    """
    points = learning_curve.points(
        base,
        preferences,
        config,
        sizes,
        work,
        before=int(whole["steps"] + whole.get("judge_steps", 0.0)),
    )
    points.append(learning_curve.point(whole, whole))
    if ranks.rank() == 0:
        rows.write(out / "learning_curve.jsonl", points)
    return {f"accuracy_{point['votes']:.0f}_votes": point["accuracy"] for point in points}
