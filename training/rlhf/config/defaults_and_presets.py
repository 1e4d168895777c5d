"""Settings of a round that follow the model's size and the project's texts, and presets of them.

`defaults_for` sets every optimiser's section, whichever is chosen, before or after the model:
none may fall back on training all weights of a real model in float32. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.rlhf.config.config_file import changes, from_dict, merged, to_dict
from training.rlhf.config.job_config import RoundConfig, sample_round_config
from training.rlhf.config.model_size import ModelFacts

Settings = dict[str, Any]

TINY = 20_000_000
"""Parameters up to which all weights are trained, in float32 and in seconds: made on the spot."""
LARGE, HUGE = 3_000_000_000, 30_000_000_000
"""Parameters from which activations are computed twice, and steps are smaller."""
STEP = 64
"""Lengths are multiples of it."""
SHORTEST, LONGEST = 128, 1024
"""Tokens of a reply: fewer cut a chat model off in mid-sentence, more are rarely read."""
TEMPLATE = 64
"""Tokens that a chat's roles and system prompt take beside its text."""
BATCH = 16
PASS = 1.5 * 2**30
"""Bytes that one pass may keep for its backward pass: together with a small model under 6 GiB."""
FEWEST_TOKENS, MOST_TOKENS = 512, 8192
PROJECTS_OWN = ("starter", "policy", "last_reward", "number", "seed")
"""Settings that follow from a project's state."""


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """Lengths of a project's texts in tokens, all but the longest twentieth; 0: not known."""

    prompt: int = 0
    reply: int = 0


def defaults_for(facts: ModelFacts | None, texts: TextFacts = TextFacts()) -> Settings:
    """Settings of a round that differ from `RoundConfig` for this model and these texts.

    Args:
        facts: None where the model cannot be read here: it is taken for a real one.
    """
    if facts is not None and facts.parameters <= TINY:
        usual, tiny = to_dict(RoundConfig()), to_dict(sample_round_config(starter=""))
        differing = {key: value for key, value in tiny.items() if value != usual[key]}
        return {key: value for key, value in differing.items() if key not in PROJECTS_OWN}
    return _real(facts, texts)


def _real(facts: ModelFacts | None, texts: TextFacts) -> Settings:
    size, context = (facts.parameters, facts.context) if facts else (0, 4096)
    reply = _length(texts.reply, SHORTEST, min(LONGEST, context // 2))
    room = max(SHORTEST, context - reply)
    prompt = _length(texts.prompt and texts.prompt + TEMPLATE, 256, room)
    whole = min(prompt + reply, context)
    lean: Settings = {
        "lora": {"r": 16, "alpha": 32},
        "dtype": "auto",
        "gradient_checkpointing": size >= LARGE,
    }
    sampled = {"max_new_tokens": reply, "max_prompt_length": prompt}
    # Adapters take ten times the steps of all weights; the larger the model, the smaller.
    rate = 3e-4 if size < LARGE else 1e-4 if size < HUGE else 5e-5
    gentle = float(f"{rate / 3:.1g}")
    few = {"batch_size": BATCH, "minibatch_size": BATCH}
    rows, tokens = _pass(facts, whole, checkpointing=bool(lean["gradient_checkpointing"]))
    parts = {"gradient_accumulation": BATCH // _divisor(BATCH, rows)}
    return {
        "reward": {
            **{name: lean[name] for name in ("lora", "dtype")},
            "learning_rate": rate,
            "max_length": whole,
            "pass_tokens": tokens,
        },
        "ppo": lean | sampled | few | parts | {"epochs": 2, "learning_rate": rate},
        "pairs": lean
        | {"gradient_accumulation": BATCH // _divisor(BATCH, max(1, rows // 2))}
        | {"learning_rate": gentle, "max_length": whole},
        "groups": lean | sampled | few | parts | {"learning_rate": gentle},
        "evaluate": {"prompts": 100, "max_new_tokens": reply, "batch_size": 16},
        "sample": {"prompts": 100, "per_prompt": 3, "max_new_tokens": reply, "batch_size": 16},
        "propose": {"pairs": 200},
    }


def _pass(facts: ModelFacts | None, length: int, *, checkpointing: bool) -> tuple[int, int]:
    """Rows of this length that a pass of the policy reads, and tokens that one of the reward model
    does, with what they keep within PASS, or the model's own size where that is more."""
    if facts is None:
        return 1, FEWEST_TOKENS
    budget = max(PASS, facts.parameters)
    rows = budget / (length * facts.kept_per_token(lora=True, checkpointing=checkpointing))
    tokens = int(budget / facts.kept_per_token(lora=True)) // STEP * STEP
    return max(1, int(rows)), min(max(tokens, FEWEST_TOKENS), MOST_TOKENS)


def _length(tokens: int, least: int, most: int) -> int:
    """A fifth more than what is there, as a multiple of STEP, within bounds."""
    wanted = -(-tokens * 6 // (5 * STEP)) * STEP
    return max(min(max(wanted, least), most), 1)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A choice of how long a round may take, over the defaults of its model."""

    title: str
    text: str
    change: Callable[[RoundConfig], Settings]
    """Settings that it sets, of a round with the defaults."""


def _quick(base: RoundConfig) -> Settings:
    ppo, groups, shorter = base.ppo, base.groups, min(base.ppo.max_new_tokens, 64)
    few = {"batch_size": 8, "minibatch_size": 8} if ppo.lora else {}
    parts = {"gradient_accumulation": min(ppo.gradient_accumulation, 4)} if ppo.lora else {}
    pace = {"updates": 20, "max_new_tokens": shorter, **few}
    looks: Settings = {"select_every": 10, "select_prompts": 16} if ppo.lora else {}
    # So few replies say little of each step: larger ones lead a real model into gibberish.
    looks |= {"learning_rate": float(f"{ppo.learning_rate / 3:.1g}")} if ppo.lora else {}
    # A head on a real trunk as it is takes minutes less, and tells as much of a few hundred pairs.
    reward = {"epochs": 1.0, "linear_probe": base.reward.lora is not None}
    return {
        "reward": reward,
        "ppo": pace | parts | looks | {"epochs": min(ppo.epochs, 2)},
        "groups": pace | {"epochs": groups.epochs},
        "evaluate": {"prompts": min(base.evaluate.prompts, 32)},
        "sample": {"prompts": min(base.sample.prompts, 32), "per_prompt": 2},
        "propose": {"pairs": min(base.propose.pairs, 60), "evaluation_pairs": 60},
    }


def _careful(base: RoundConfig) -> Settings:
    ppo, pairs, groups = base.ppo, base.pairs, base.groups
    return {
        "ppo": {
            "updates": 2 * ppo.updates,
            "learning_rate": ppo.learning_rate / 2,
            "kl_coef": 2 * ppo.kl_coef,
        },
        "pairs": {"epochs": 2 * pairs.epochs, "learning_rate": pairs.learning_rate / 2},
        "groups": {
            "updates": 2 * groups.updates,
            "learning_rate": groups.learning_rate / 2,
            "beta": 2 * groups.beta,
        },
        "evaluate": {"prompts": 2 * base.evaluate.prompts},
    }


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        title="Quick look",
        text="Few prompts; by PPO, RLOO and GRPO 20 updates with short replies. Shows whether "
        "everything works.",
        change=_quick,
    ),
    "balanced": Preset(
        title="Balanced",
        text="What suits this model and the texts of this project.",
        change=lambda base: {},
    ),
    "careful": Preset(
        title="Careful",
        text="Smaller steps, measured on more prompts. PPO, RLOO and GRPO make twice the updates, "
        "nearer to the starter; DPO, KTO and ORPO twice the passes.",
        change=_careful,
    ),
}
"""By the name that is stored with a round."""
USUAL = "balanced"


def preset_settings(
    name: str, facts: ModelFacts | None, texts: TextFacts = TextFacts()
) -> Settings:
    """Settings of a preset that differ from `RoundConfig` for this model and these texts.

    Raises:
        KeyError: there is no such preset.
    """
    base = defaults_for(facts, texts)
    return merged(base, PRESETS[name].change(from_dict(RoundConfig, base)))


def settled(base: Settings, given: Settings) -> Settings:
    """`base` with what was given, and what has to follow from it.

    A batch is read in minibatches, and those in passes: sizes that nobody gave divide it.
    """
    whole = merged(to_dict(RoundConfig()), merged(base, given))
    for section, name, divides in FOLLOWING:
        part, chosen = whole.get(section), given.get(section)
        if isinstance(part, dict) and not (isinstance(chosen, dict) and name in chosen):
            of, into = part.get(divides), part.get(name)
            if isinstance(of, int) and isinstance(into, int) and of > 0 < into:
                part[name] = _divisor(of, into)
    return whole


FOLLOWING = (
    ("ppo", "minibatch_size", "batch_size"),
    ("ppo", "gradient_accumulation", "minibatch_size"),
    ("pairs", "gradient_accumulation", "batch_size"),
    ("groups", "minibatch_size", "batch_size"),
    ("groups", "gradient_accumulation", "minibatch_size"),
)


def _divisor(of: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return next(n for n in range(min(of, most), 0, -1) if of % n == 0)


def differing(before: Settings, now: Settings) -> dict[str, tuple[Any, Any]]:
    """Settings of two rounds that differ, without those that follow from a project's state."""
    told = changes(before, now)
    return {name: values for name, values in told.items() if name not in PROJECTS_OWN}
