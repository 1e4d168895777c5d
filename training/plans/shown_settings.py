"""The settings of a round that its form shows, out of all that there are.

Names, types, defaults and sentences are the engine's; here stand titles, units and their order.
Whatever is not listed is set by file, API or command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training.rlhf.config import RoundConfig, Setting, settings_of


@dataclass(frozen=True)
class Shown:
    """A setting as a field of the form."""

    name: str
    title: str
    unit: str = ""

    @property
    def setting(self) -> Setting:
        return settings_of(RoundConfig)[self.name]


@dataclass(frozen=True)
class Group:
    """Fields that stand together; `section` is that of the optimisers that read them, or empty."""

    title: str
    fields: tuple[Shown, ...]
    section: str = ""


def _weights(section: str) -> tuple[Shown, ...]:
    return (
        Shown(f"{section}.lora", "Weights that are trained"),
        Shown(f"{section}.lora.r", "Rank of the adapters"),
        Shown(f"{section}.dtype", "Number format"),
    )


def _sampled(section: str) -> tuple[Shown, ...]:
    return (
        Shown(f"{section}.max_new_tokens", "Longest reply", "tokens"),
        Shown(f"{section}.max_prompt_length", "Longest prompt", "tokens"),
    )


GROUPS = (
    Group(
        "Policy, by PPO",
        (
            Shown("ppo.updates", "Updates", "updates"),
            Shown("ppo.kl_coef", "Held to the starter (KL)", "of the score per nat"),
            Shown("ppo.learning_rate", "Learning rate", "per step"),
            Shown("ppo.batch_size", "Replies per update", "replies"),
            *_sampled("ppo"),
            *_weights("ppo"),
        ),
        section="ppo",
    ),
    Group(
        "Policy, by DPO, KTO or ORPO",
        (
            Shown("pairs.epochs", "Passes", "passes"),
            Shown("pairs.beta", "Held to the starter (beta)"),
            Shown("pairs.learning_rate", "Learning rate", "per step"),
            Shown("pairs.batch_size", "Pairs per step", "pairs"),
            Shown("pairs.max_length", "Longest prompt and reply", "tokens"),
            *_weights("pairs"),
        ),
        section="pairs",
    ),
    Group(
        "Policy, by RLOO or GRPO",
        (
            Shown("groups.updates", "Updates", "updates"),
            Shown("groups.beta", "Held to the starter (KL)", "of the score per nat"),
            Shown("groups.learning_rate", "Learning rate", "per step"),
            Shown("groups.batch_size", "Replies per update", "replies"),
            Shown("groups.group_size", "Replies per prompt", "replies"),
            *_sampled("groups"),
            *_weights("groups"),
        ),
        section="groups",
    ),
    Group(
        "Reward model",
        (
            Shown("reward.linear_probe", "Linear probe"),
            Shown("reward.judge", "Train a judge, too"),
            Shown("reward.epochs", "Passes", "passes"),
            Shown("reward.learning_rate", "Learning rate", "per step"),
            Shown("reward.batch_size", "Pairs per step", "pairs"),
            Shown("reward.max_length", "Longest prompt and reply", "tokens"),
            *_weights("reward"),
        ),
    ),
    Group(
        "Measuring",
        (
            Shown("evaluate.prompts", "Held-out prompts", "prompts"),
            Shown("evaluate.max_new_tokens", "Longest reply", "tokens"),
            Shown("evaluate.temperature", "Temperature"),
            Shown("evaluate.dtype", "Number format"),
            Shown("evaluate.endpoint.url", "Address of the server that writes"),
            Shown("evaluate.endpoint.model", "Its name of the new policy"),
            Shown("evaluate.endpoint.other", "Its name of the policy before"),
        ),
    ),
    Group(
        "Replies for people",
        (
            Shown("sample.prompts", "Prompts", "prompts"),
            Shown("sample.per_prompt", "Replies per prompt", "replies"),
            Shown("sample.max_new_tokens", "Longest reply", "tokens"),
            Shown("sample.temperature", "Temperature"),
            Shown("sample.dtype", "Number format"),
            Shown("propose.pairs", "Pairs to queue", "pairs"),
            Shown("sample.endpoint.url", "Address of the server that writes"),
            Shown("sample.endpoint.model", "Its name of the new policy"),
            Shown("sample.endpoint.other", "Its name of the starter"),
        ),
    ),
    Group("Machine", (Shown("device", "Device"),)),
)
SHOWN = {shown.name: shown for group in GROUPS for shown in group.fields}


def flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted names. That of adapters is a section, and True."""
    for key, value in config.items():
        name = f"{before}{key}"
        if not isinstance(value, Mapping):
            yield name, value
            continue
        if key == "lora":
            yield name, True
        yield from flat(value, f"{name}.")


def value_at(config: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested settings; None where its section is off."""
    place: Any = config
    for part in name.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def worded(value: Any, unit: str = "") -> str:
    """A value as people read it."""
    if isinstance(value, Mapping):
        return "adapters" if "r" in value else "as below"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        value = f"{value:g}"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    return f"{value} {unit}".strip() or "none"
