"""The commands that read models and train none: functions of (config, out, work)."""

from __future__ import annotations

from pathlib import Path

from training.rlhf.completions import sampling
from training.rlhf.config import CompareJob, EvaluateJob, SampleJob, ScoreJob
from training.rlhf.data import data_files
from training.rlhf.evaluation import comparison, completion_scores, human_evaluation
from training.rlhf.reward import reward_model, score_functions
from training.rlhf.rows import Author
from training.rlhf.run.work import Work

Metrics = dict[str, float]


def evaluate(config: EvaluateJob, out: Path, work: Work) -> Metrics:
    """Compare two policies."""
    prompts = data_files.prompts(config.prompts, held_out_share=config.held_out_share)
    folders = comparison.Models(
        policy=config.policy,
        before=config.before or config.starter,
        starter=config.starter,
        reward=config.reward_model,
        judge=config.judge,
    )
    return comparison.evaluate(folders, prompts, config.evaluate, out, work)


def compare(config: CompareJob, out: Path, work: Work) -> Metrics:
    """Put any number of models beside each other."""
    prompts = data_files.prompts(config.prompts, held_out_share=config.held_out_share)
    verdicts = (
        human_evaluation.read_verdicts(config.votes, config.undecided) if config.votes else {}
    )
    return comparison.compare(config, prompts, out, work, verdicts=verdicts)


def sample(config: SampleJob, out: Path, work: Work) -> Metrics:
    """Sample completions."""
    prompts = data_files.prompts(config.prompts, held_out_share=config.held_out_share)
    others: dict[Author, str | Path] = {"starter": config.starter} if config.starter else {}
    return sampling.sample_completions(
        config.policy, others, prompts, config.sample, out, work, compared=config.sample.prompts
    )


def score(config: ScoreJob, out: Path, work: Work) -> Metrics:
    """Score the replies of a file into `out`/scores.jsonl."""
    chats = data_files.chats(config.replies, held_out_share=config.held_out_share)
    judge = (
        score_functions.from_path(config.reward_function)
        if config.reward_function
        else reward_model.load(config.reward_model, device=work.device).score
    )
    scored = completion_scores.score_file(chats, judge, out, work, batch_size=config.batch_size)
    return scored | chats.counted
