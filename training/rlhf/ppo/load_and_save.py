"""The weights that PPO trains: loaded from model folders, written to them, and named one by one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.rlhf.config import PPOConfig
from training.rlhf.language.lora_adapters import base_model
from training.rlhf.language.policy_and_reference import load_policy_and_reference
from training.rlhf.ppo.actor_critic import ActorCritic
from training.rlhf.run.device import seed_everything
from training.rlhf.run.failures import Diverged

VALUE_HEAD = "value_head.safetensors"


def load(
    policy: str | Path, reference: str | Path, config: PPOConfig, *, device: torch.device, seed: int
) -> ActorCritic:
    """Load a policy to train, with its critic, and its reference from their folders.

    Full training takes two models; with LoRA one trunk serves both wherever it can: see
    language/policy_and_reference.py.

    Raises:
        ModelError: a folder without a model, or two models whose vocabularies differ.
    """
    seed_everything(seed)
    # float32 weights under autocast: steps of 1e-6 vanish in bfloat16 weights.
    mixed = config.lora is None and config.dtype != "float32"
    model, anchor = load_policy_and_reference(
        policy, reference, lora=config.lora, dtype=config.dtype, device=device
    )
    if isinstance(anchor, str):
        model.load_adapter(anchor, adapter_name="reference", is_trainable=False)
        anchor = "reference"
    actor = ActorCritic(model, anchor, autocast=getattr(torch, config.dtype) if mixed else None)
    load_value_head(actor, Path(policy))
    if config.gradient_checkpointing:
        base_model(actor.model).activation_checkpointing_enable({"use_reentrant": False})
    return actor


def load_value_head(actor: ActorCritic, folder: Path) -> None:
    """Go on from the critic of the round before, when it is there and fits."""
    if (folder / VALUE_HEAD).exists():
        saved = load_file(str(folder / VALUE_HEAD))
        mine = actor.value_head.state_dict()
        if all(saved[name].shape == mine[name].shape for name in mine):
            actor.value_head.load_state_dict(saved)


def save_value_head(actor: ActorCritic, folder: Path) -> None:
    """Write the critic's head beside the policy."""
    save_file(actor.value_head.state_dict(), str(folder / VALUE_HEAD))


def trained_weights(actor: ActorCritic) -> dict[str, Tensor]:
    """All trained weights of policy and critic by name; not copies."""
    policy: dict[str, Tensor] = {f"policy.{name}": p for name, p in actor.parameters().items()}
    head = {f"value_head.{name}": p for name, p in actor.value_head.named_parameters()}
    return {**policy, **head}


def require_finite_weights(actor: ActorCritic) -> None:
    """Raise Diverged when a weight is not finite: such a policy is neither kept nor resumed."""
    for name, tensor in trained_weights(actor).items():
        if not bool(tensor.isfinite().all()):
            raise Diverged(f"{name} is no longer finite: lower ppo.learning_rate")
