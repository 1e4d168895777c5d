"""Proximal policy optimisation of a language model against a score.

Schulman et al. 2017 (arXiv 1707.06347) as Ziegler et al. 2019 (arXiv 1909.08593) applied it to
text; `learner.PPO` is one update. The score is any function of chats and replies, so a reward
model may have its own tokenizer, and a rule in Python will do.

Everything random in update n is a function of the seed and n, and everything that training changes
is in a checkpoint: on a CPU with a fixed number of threads a run that was killed and resumed equals
the uninterrupted one bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.rlhf.config import ConfigError, PPOConfig, to_dict
from training.rlhf.language import pretrained
from training.rlhf.metrics import reward_hacking
from training.rlhf.ppo import actor_critic
from training.rlhf.ppo.best_checkpoint import Candidates, Judge
from training.rlhf.ppo.update import PPO
from training.rlhf.reward.score_functions import Score
from training.rlhf.run import checkpoints as disk
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import memory_advice
from training.rlhf.run.failures import Diverged
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work

__all__ = ["PPO", "Diverged", "Judge", "OtherSettings", "Score", "train"]

MEMORY_ADVICE = (
    "raise ppo.gradient_accumulation, switch ppo.gradient_checkpointing on, or lower "
    "ppo.batch_size or ppo.max_new_tokens"
)


class OtherSettings(ConfigError):
    """The checkpoints in this folder were made with other settings, data or models."""


def train(
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[dict[str, Any]],
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
        prompts: rows with `messages`; rows with a true `held_out` are left out.
        score: chats and replies to one number each.
        work: told and asked at the edge of every update; training goes on from its checkpoints.
        score_digest: what `score` is made of; checkpoints of another score are refused.
        judge: what picks the checkpoint that is written; None writes the last.

    Returns:
        alarms.summary with the alarms of the policy that is written, stopped_early (1.0 when
        stop_kl ended it), prompts_truncated (prompts that lost tokens from their left); with a
        judge, its judge_reward and best_update.

    Raises:
        Diverged: scores or gradients stopped being finite.
        ConfigError: minibatches that cannot be dealt out to the launcher's processes.
        OtherSettings: the checkpoints belong to another run.
        OutOfMemory: with what to lower.
        ModelError, NoChatTemplate: the model cannot be trained here.
    """
    distributed.require_whole_model("ppo")
    distributed.per_process(config.minibatch_size, "ppo.minibatch_size")
    actor = actor_critic.load(policy, reference, config, device=work.device, seed=work.seed)
    tokenizer = pretrained.load_tokenizer(policy)
    learner = PPO(actor, tokenizer, prompts, score=score, config=config, seed=work.seed)
    folders = {"policy": policy, "reference": reference}
    made_of = _made_of(learner, folders) | {"score": score_digest}
    if judge is not None:
        made_of["judge"] = judge.digest
    journal = Journal(work.checkpoints, learner, Candidates(learner, judge), made_of)
    history = journal.resume()
    _advance(learner, journal, history, work)
    found = _summary(history, learner, journal.candidates)
    journal.candidates.restore_best()
    _write(learner, history, Path(out))
    return found


def _advance(
    learner: PPO,
    journal: Journal,
    history: list[dict[str, float]],
    work: Work,
) -> None:
    """Do the updates that `history` lacks, and append their metrics to it."""
    config, candidates = learner.config, journal.candidates
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
            journal.save(history)
            raise
        if ended or len(history) % config.checkpoint_every == 0:
            journal.save(history)


class Journal:
    """The checkpoints of one run: what a learner needs to go on, and the metrics so far."""

    def __init__(
        self, folder: Path, learner: PPO, candidates: Candidates, made_of: dict[str, str]
    ) -> None:
        self.folder, self.learner, self.made_of = folder, learner, made_of
        self.candidates = candidates

    def save(self, history: list[dict[str, float]]) -> None:
        """Write the state after the last update in `history`; Diverged when it is not finite."""
        self.learner.check_weights()
        if ranks.rank() != 0:
            return
        state = self.learner.state() | {"history": history, "made_of": self.made_of}
        state["candidates"] = self.candidates.state()
        tensors = self.learner.tensors() | self.candidates.tensors()
        disk.save(self.folder, len(history), tensors, state)

    def resume(self) -> list[dict[str, float]]:
        """Restore the newest good state; return the metrics of the updates done."""
        saved = disk.latest(self.folder)
        if saved is None:
            return []
        known = saved.state.get("made_of", {})
        other = [name for name, digest in self.made_of.items() if known.get(name) != digest]
        if other:
            raise OtherSettings(
                f"{self.folder} holds checkpoints of a run that differs in {', '.join(other)}: "
                "put back what it began with, or remove the folder to start anew"
            )
        self.learner.restore(saved)
        self.candidates.restore(saved.tensors, saved.state["candidates"])
        return list(saved.state["history"])


def _made_of(learner: PPO, folders: dict[str, str | Path]) -> dict[str, str]:
    settings = to_dict(learner.config)
    settings.pop("checkpoint_every")
    return {
        "settings": _digest([settings, learner.seed]),
        "prompts": _digest(learner.collector.prompts),
        **{name: pretrained.digest(folder) for name, folder in folders.items()},
    }


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _write(learner: PPO, history: list[dict[str, float]], out: Path) -> None:
    learner.check_weights()
    if ranks.rank() != 0:
        return
    pretrained.save_model(learner.actor.model, learner.collector.tokenizer, out)
    learner.actor.save_value_head(out)
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
    found = reward_hacking.summary(history, written=written) | {
        "stopped_early": float(learner.beyond(history[-1])),
        "prompts_truncated": float(learner.collector.truncated),
    }
    if "judge_reward" in written:
        found["judge_reward"] = written["judge_reward"]
        found["best_update"] = float(candidates.update or len(history))
    return found
