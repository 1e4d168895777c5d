"""Memory and work of a whole round, by arithmetic on its settings and its model. Torch-free.

Memory is that of the stage that needs most. Work is counted in tokens that are written and read, so
that the time of one round tells that of another one.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.rlhf.config import (
    EVALUATE,
    OPTIMISERS,
    PROPOSE,
    SAMPLE,
    TRAIN_POLICY,
    TRAIN_REWARD,
    GroupConfig,
    ModelFacts,
    PPOConfig,
    RoundConfig,
)
from training.rlhf.delivery.memory_table import ADAM_STATES, GIB, HALF, SINGLE, logits_bytes

PROCESS = 0.7 * GIB
"""Python with torch and transformers, before a model is there."""
SMALL = 1_000_000_000
"""As in language/weight_dtype.py: up to so many parameters a CPU may compute in float32. One with
instructions for bfloat16 takes half of that; this process need not run where the round will."""
TRAINED = SINGLE * (2 + ADAM_STATES)
"""Bytes of a trained weight: itself, its gradient and Adam's two means."""
LOGITS_TRL = 3
"""Copies of the logits that TRL's trainers hold at a time, where ours go slice by slice."""
BACKWARD, BACKWARD_LORA = 2.0, 1.4
"""Readings that a backward pass takes; with adapters most weights have no gradient."""
READ_SHARE = 0.6
"""Of the time of a token that is written: one that is read, among many at once."""


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """Rows that a round works on, and the usual lengths of their texts in tokens."""

    pairs: int
    """With votes, for training."""
    held_out: int
    """Prompts that only measure."""
    waiting: int = 0
    """Pairs without votes that the queue's order is computed for."""
    prompt: int = 100
    reply: int = 0
    """0: as long as the settings allow."""


# Memory


def memory(facts: ModelFacts, config: RoundConfig, *, gpu: bool = False) -> dict[str, float]:
    """GiB of each stage on one device; the largest is what a machine must have."""
    policy = _policy(facts, config, gpu)
    written = (config.evaluate, config.sample)
    sampling = [
        _weights(facts, one.dtype, gpu)
        + _cache(facts, one.batch_size, config.ppo.max_prompt_length + one.max_new_tokens, gpu)
        for one in written
    ]
    scorers = 2 * _scorer(facts)
    stages = {
        TRAIN_REWARD: _reward(facts, config, gpu),
        TRAIN_POLICY: policy,
        EVALUATE: max(sampling[0] + _weights(facts, "auto", gpu), scorers),
        SAMPLE: sampling[1],
        PROPOSE: scorers,
    }
    return {name: (PROCESS + needed) / GIB for name, needed in stages.items()}


def _reward(facts: ModelFacts, config: RoundConfig, gpu: bool) -> float:
    reward = config.reward
    if reward.linear_probe:  # read without a gradient, so that nothing is kept of it
        return _weights(facts, reward.dtype, gpu)
    rank = reward.lora.r if reward.lora else 0
    trained = _trained(facts, rank)
    held = _weights(facts, reward.dtype, gpu) if rank else 0
    pair = 2 * reward.max_length  # a pass takes one pair at least, and a batch at most
    tokens = min(max(reward.pass_tokens, pair), reward.batch_size * pair)
    return held + trained + tokens * facts.kept_per_token(lora=bool(rank))


def _policy(facts: ModelFacts, config: RoundConfig, gpu: bool) -> float:
    optimiser = OPTIMISERS[config.optimiser]
    settings = getattr(config, optimiser.settings)
    rank = settings.lora.r if settings.lora else 0
    # With adapters one trunk serves policy and reference.
    held = _trained(facts, rank) + _weights(facts, settings.dtype, gpu)
    if optimiser.learns_from == "reward":
        held += _scorer(facts) * (2 if optimiser.judged and config.ppo.select_every else 1)
    token = facts.kept_per_token(lora=bool(rank), checkpointing=settings.gradient_checkpointing)
    if optimiser.settings == "pairs":
        rows = 2 * settings.batch_size // settings.gradient_accumulation
        numbers = rows * settings.max_length * facts.vocabulary
        return float(held + rows * settings.max_length * token + LOGITS_TRL * SINGLE * numbers)
    rows = settings.minibatch_size // settings.gradient_accumulation
    length = settings.max_prompt_length + settings.max_new_tokens
    logits = float(logits_bytes(rows * settings.max_new_tokens * facts.vocabulary))
    if optimiser.settings == "groups":
        logits = LOGITS_TRL * SINGLE * rows * settings.max_new_tokens * facts.vocabulary
    cache = _cache(facts, settings.batch_size, length, gpu)
    return float(held + max(cache, rows * length * token + logits))


def _weights(facts: ModelFacts, dtype: str, gpu: bool) -> float:
    small = not gpu and facts.parameters <= SMALL
    single = dtype == "float32" or (dtype == "auto" and (facts.dtype == "float32" or small))
    return (SINGLE if single else HALF) * facts.parameters


def _scorer(facts: ModelFacts) -> float:
    """A reward model that scores: the trunk in float32, without the table of the head."""
    return SINGLE * facts.parameters


def _trained(facts: ModelFacts, rank: int) -> float:
    """Bytes of the weights that are trained, with their gradients and Adam's states."""
    return TRAINED * (adapter_parameters(facts, rank) if rank else facts.parameters)


def adapter_parameters(facts: ModelFacts, rank: int) -> int:
    """LoRA on all linear layers: rank times inputs and outputs of each."""
    h, kv = facts.hidden, facts.key_value
    return rank * facts.layers * (4 * h + 2 * (h + kv) + 3 * (h + facts.wide))


def _cache(facts: ModelFacts, sequences: int, length: int, gpu: bool) -> float:
    """Keys and values, and the logits of one step."""
    width = HALF if gpu else SINGLE
    keys = 2 * width * facts.layers * facts.key_value * sequences * length
    return keys + 2.0 * SINGLE * sequences * facts.vocabulary


# Work


def work(facts: ModelFacts, config: RoundConfig, amounts: Amounts) -> dict[str, float]:
    """Work of each stage, in tokens written by the round's model or what takes as long."""
    length = amounts.prompt + (amounts.reply or config.reward.max_length // 2)
    tokens = {
        TRAIN_REWARD: READ_SHARE * _reward_reading(config, amounts, length),
        TRAIN_POLICY: _policy_work(config, amounts, length),
        EVALUATE: _evaluate_work(config, amounts),
        SAMPLE: 0.0 if config.sample.endpoint else _sample_work(config, amounts),
    }
    texts = 2 * (amounts.pairs + amounts.waiting) + config.sample.prompts * config.sample.per_prompt
    return tokens | {PROPOSE: READ_SHARE * texts * length}


def _reward_reading(config: RoundConfig, amounts: Amounts, length: int) -> float:
    reward, sides = config.reward, 2 * amounts.pairs
    back = BACKWARD_LORA if reward.lora else BACKWARD
    # Features are read once for the heads of the reward model and of its judge.
    if reward.linear_probe:
        return float(sides * length)
    return sides * length * (1 + (1 + reward.judge) * reward.epochs * (1 + back))


def _policy_work(config: RoundConfig, amounts: Amounts, length: int) -> float:
    optimiser = OPTIMISERS[config.optimiser]
    settings = getattr(config, optimiser.settings)
    back = BACKWARD_LORA if settings.lora else BACKWARD
    if optimiser.learns_from == "preferences":
        return float(READ_SHARE * 2 * amounts.pairs * length * settings.epochs * (2 + back))
    assert isinstance(settings, PPOConfig | GroupConfig)
    reply = _reply(amounts, settings.max_new_tokens)
    whole, replies = amounts.prompt + reply, settings.updates * settings.batch_size
    # Read by the reward model, the reference and the policy as it was, then in every epoch.
    reading = replies * whole * (3 + settings.epochs * (1 + back))
    written = replies * reply
    if optimiser.judged and config.ppo.select_every:
        looks = -(-config.ppo.updates // config.ppo.select_every)
        asked = min(config.ppo.select_prompts, amounts.held_out)
        written += looks * asked * reply
        reading += looks * asked * whole
    return written + READ_SHARE * reading


def _evaluate_work(config: RoundConfig, amounts: Amounts) -> float:
    asked = 2 * min(config.evaluate.prompts, amounts.held_out)
    reply = _reply(amounts, config.evaluate.max_new_tokens)
    written = 0 if config.evaluate.endpoint else asked * reply
    return written + READ_SHARE * asked * (amounts.prompt + reply) * 3


def _sample_work(config: RoundConfig, amounts: Amounts) -> float:
    reply = _reply(amounts, config.sample.max_new_tokens)
    new = config.sample.prompts * config.sample.per_prompt
    compared = min(config.propose.evaluation_pairs, amounts.held_out)
    return float((new + 3 * compared) * reply)


def _reply(amounts: Amounts, most: int) -> int:
    return min(amounts.reply or most, most)
