"""The checkpoints of one PPO run: all that a learner needs to go on, and the metrics so far."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from training.rlhf.config import ConfigError, to_dict
from training.rlhf.language import pretrained
from training.rlhf.ppo.best_checkpoint import Candidates
from training.rlhf.ppo.load_and_save import require_finite_weights, trained_weights
from training.rlhf.ppo.losses_gae_kl import RunningScale
from training.rlhf.ppo.update import PPO
from training.rlhf.run import checkpoints, ranks


class OtherSettings(ConfigError):
    """The checkpoints in this folder were made with other settings, data or models."""


class RunCheckpoints:
    """The checkpoints in a folder, of one learner and its candidates."""

    def __init__(
        self, folder: Path, learner: PPO, candidates: Candidates, made_of: dict[str, str]
    ) -> None:
        """Args:
        made_of: see `made_of`; checkpoints of another run are refused by it.
        """
        self.folder, self.learner, self.made_of = folder, learner, made_of
        self.candidates = candidates

    def save(self, history: list[dict[str, float]]) -> None:
        """Write the state after the last update in `history`; Diverged when it is not finite."""
        require_finite_weights(self.learner.actor)
        if ranks.rank() != 0:
            return
        state = learner_state(self.learner) | {"history": history, "made_of": self.made_of}
        state["candidates"] = self.candidates.state()
        tensors = trained_weights(self.learner.actor) | self.candidates.tensors()
        checkpoints.save(self.folder, len(history), tensors, state)

    def resume(self) -> list[dict[str, float]]:
        """Restore the newest good state; return the metrics of the updates done."""
        saved = checkpoints.latest(self.folder)
        if saved is None:
            return []
        known = saved.state.get("made_of", {})
        other = [name for name, digest in self.made_of.items() if known.get(name) != digest]
        if other:
            raise OtherSettings(
                f"{self.folder} holds checkpoints of a run that differs in {', '.join(other)}: "
                "put back what it began with, or remove the folder to start anew"
            )
        restore_learner(self.learner, saved)
        self.candidates.restore(saved.tensors, saved.state["candidates"])
        return list(saved.state["history"])


def learner_state(learner: PPO) -> dict[str, Any]:
    """All that `PPO.step` reads or changes besides the weights."""
    return {
        "optimizer": learner.optimizer.state_dict(),
        "kl_coef": learner.kl.coef,
        "scale": dataclasses.asdict(learner.scale),
        "skipped": learner.skipped,
        "rng": torch.get_rng_state(),  # for score functions that draw
    }


@torch.no_grad()
def restore_learner(learner: PPO, saved: checkpoints.Checkpoint) -> None:
    """Give a learner the weights and the state of a checkpoint."""
    for name, parameter in trained_weights(learner.actor).items():
        parameter.copy_(saved.tensors[name])
    learner.optimizer.load_state_dict(saved.state["optimizer"])
    learner.kl.coef = saved.state["kl_coef"]
    learner.scale = RunningScale(**saved.state["scale"])
    learner.skipped = saved.state["skipped"]
    torch.set_rng_state(saved.state["rng"])


def made_of(learner: PPO, folders: dict[str, str | Path]) -> dict[str, str]:
    """Hashes of settings, prompts and the models in `folders`, by name."""
    settings = to_dict(learner.config)
    settings.pop("checkpoint_every")
    return {
        "settings": _digest([settings, learner.seed]),
        "prompts": _digest(learner.rollouts.prompts),
        **{name: pretrained.digest(folder) for name, folder in folders.items()},
    }


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
