"""Proximal policy optimisation of a language model against a score.

Schulman et al. 2017 (arXiv 1707.06347) as Ziegler et al. 2019 (arXiv 1909.08593) applied it to
text; `update.PPO.step` is one update. The score is any function of chats and replies, so a reward
model may have its own tokenizer, and a rule in Python will do.

Everything random in update n is a function of the seed and n, and everything that training changes
is in a checkpoint: on a CPU with a fixed number of threads a run that was killed and resumed equals
the uninterrupted one bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from training.rlhf.config import PPOConfig, to_dict
from training.rlhf.language import pretrained
from training.rlhf.metrics import reward_hacking
from training.rlhf.ppo import load_and_save
from training.rlhf.ppo.best_checkpoint import Candidates, Judge
from training.rlhf.ppo.experience import Rollouts
from training.rlhf.ppo.ppo_checkpoints import RunCheckpoints, made_of
from training.rlhf.ppo.update import PPO
from training.rlhf.reward.score_functions import Score
from training.rlhf.rows import Prompt
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import memory_advice
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work

MEMORY_ADVICE = (
    "raise ppo.gradient_accumulation, switch ppo.gradient_checkpointing on, or lower "
    "ppo.batch_size or ppo.max_new_tokens"
)


def train(
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[Prompt],
    score: Score,
    config: PPOConfig,
    out: str | Path,
    work: Work,
    *,
    score_digest: str = "",
    judge: Judge | None = None,
) -> dict[str, float]:
    """Train a policy and write it to `out`: a Hugging Face folder, or a PEFT folder with LoRA.

    Args:
        policy: folder to start from. KL is always to `reference`, the supervised starter.
        prompts: held-out ones are left out.
        score: chats and replies to one number each.
        work: told and asked at the edge of every update; training goes on from its checkpoints.
        score_digest: of what `score` is made of; checkpoints of another score are refused.
        judge: picks the checkpoint that is written; None writes the last.

    Returns:
        reward_hacking.summary with the alarms of the policy that is written; stopped_early (1.0
        when stop_kl ended it); prompts_truncated (prompts that lost tokens from their left); with
        a judge, its judge_reward and best_update.

    Raises:
        Diverged: scores or gradients stopped being finite.
        ConfigError: minibatches that cannot be dealt out to the launcher's processes.
        OtherSettings: the checkpoints belong to another run.
        OutOfMemory: with what to lower.
        ModelError, NoChatTemplate: the model cannot be trained here.
    """
    distributed.require_whole_model("ppo")
    distributed.per_process(config.minibatch_size, "ppo.minibatch_size")
    actor = load_and_save.load(policy, reference, config, device=work.device, seed=work.seed)
    tokenizer = pretrained.load_tokenizer(policy)
    rollouts = Rollouts(actor, tokenizer, prompts, score=score, config=config, seed=work.seed)
    learner = PPO(rollouts)
    sources = made_of(learner, {"policy": policy, "reference": reference})
    sources |= {"score": score_digest} | ({} if judge is None else {"judge": judge.digest})
    saved = RunCheckpoints(work.checkpoints, learner, Candidates(learner, judge), sources)
    history = saved.resume()
    _advance(learner, saved, history, work)
    summary = _summary(history, learner, saved.candidates)
    saved.candidates.restore_best()
    _write(learner, history, Path(out))
    return summary


def _advance(
    learner: PPO,
    saved: RunCheckpoints,
    history: list[dict[str, float]],
    work: Work,
) -> None:
    """Do the updates that `history` lacks, and append their metrics to it."""
    config, candidates = learner.config, saved.candidates
    work.guard()
    candidates.begin()
    while len(history) < config.updates and not (history and learner.beyond(history[-1])):
        with memory_advice(MEMORY_ADVICE):
            metrics = learner.step(len(history))
        history.append(metrics)
        metrics |= reward_hacking.metrics(history, config)
        ended = len(history) == config.updates or learner.beyond(metrics)
        # A policy that never stops does so in every candidate: the gate tells, the judge chooses.
        gamed = metrics["alarms"] > metrics["alarm_endless"]
        metrics |= candidates.consider(len(history), ended=ended, gamed=gamed)
        work.report(len(history), config.updates, metrics)
        try:
            work.guard()
        except Stopped:
            saved.save(history)
            raise
        if ended or len(history) % config.checkpoint_every == 0:
            saved.save(history)


def _write(learner: PPO, history: list[dict[str, float]], out: Path) -> None:
    load_and_save.require_finite_weights(learner.actor)
    if ranks.rank() != 0:
        return
    pretrained.save_model(learner.actor.model, learner.rollouts.tokenizer, out)
    load_and_save.save_value_head(learner.actor, out)
    stopped = "kl" if learner.beyond(history[-1]) else ""
    record = {
        "config": to_dict(learner.config),
        "seed": learner.seed,
        "updates": len(history),
        "stopped": stopped,
    }
    (out / "ppo.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _summary(
    history: list[dict[str, float]], learner: PPO, candidates: Candidates
) -> dict[str, float]:
    written = history[candidates.update - 1] if candidates.update else history[-1]
    summary = reward_hacking.summary(history, written=written) | {
        "stopped_early": float(learner.beyond(history[-1])),
        "prompts_truncated": float(learner.rollouts.truncated),
    }
    if "judge_reward" in written:
        summary["judge_reward"] = written["judge_reward"]
        summary["best_update"] = float(candidates.update or len(history))
    return summary
