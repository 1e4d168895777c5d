"""A new policy against the one before it: one reply each to every held-out prompt.

The win rate is that of the judge, a second reward model which PPO never saw. Beside it stand the
signs of a reward that was gamed: KL to the starter, length, variety, repetition, broken replies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.rlhf import reward_model, rows, text_metrics
from training.rlhf.actor_critic import Sequences, response_states
from training.rlhf.calibration import wilson
from training.rlhf.config import ConfigError, EvaluateConfig
from training.rlhf.rows import Prompt
from training.rlhf.sample import Policy, Reply, Settings, reply_in_chunks
from training.rlhf.token_logprobs import token_logprobs

Report = Callable[[int, int], None]
Guard = Callable[[], None]


@dataclass(frozen=True)
class Models:
    """Folders of everything an evaluation needs."""

    policy: str
    before: str
    starter: str
    reward: str
    judge: str


def run(
    folders: Models,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
    out: Path,
    *,
    seed: int,
    device: torch.device,
    checkpoints: Path,
    report: Report,
    guard: Guard,
) -> dict[str, float]:
    """Compare two policies and write `out`/samples.jsonl.

    Returns:
        win_rate with win_rate_low and win_rate_high (95 %), reward_win_rate, reward_before,
        reward_after, judge_before, judge_after, kl (nats per reply, to the starter), length and
        length_before (tokens), distinct2, repetition (each also _before), broken_rate, prompts.

    Raises:
        ConfigError: there is no held-out prompt.
    """
    asked = choose(prompts, config.prompts, seed=seed)
    chats = [prompt.messages for prompt in asked]
    settings = Settings(config.temperature, config.max_new_tokens, config.batch_size)
    total = 2 * len(asked)
    replies: dict[str, list[Reply]] = {}
    for number, (name, folder) in enumerate(
        (("before", folders.before), ("after", folders.policy))
    ):
        policy = Policy(folder, device=device)
        replies[name] = reply_in_chunks(
            policy,
            chats,
            settings,
            # The same draws for both: equal policies give equal replies, and a fairer comparison.
            seed=seed,
            folder=checkpoints / name,
            report=lambda done, _, n=number: report(n * len(asked) + done, total),  # type: ignore[misc]
            guard=guard,
        )
    guard()
    kl = kl_to(Policy(folders.starter, device=device), chats, replies["after"], settings)
    guard()
    texts = {name: [reply.text for reply in found] for name, found in replies.items()}
    scores = {
        judge: {name: scorer.score(chats, texts[name]) for name in texts}
        for judge, scorer in (
            ("reward", reward_model.load(folders.reward, device=device)),
            ("judge", reward_model.load(folders.judge, device=device)),
        )
    }
    _write_samples(asked, texts, scores["reward"], out / "samples.jsonl", n=config.samples)
    return _metrics(replies, scores, texts) | {"kl": kl, "prompts": float(len(asked))}


def choose(prompts: Sequence[Prompt], n: int, *, seed: int) -> list[Prompt]:
    """Up to `n` held-out prompts, drawn by seed."""
    held_out = [prompt for prompt in prompts if prompt.held_out]
    if not held_out:
        raise ConfigError("there is no held-out prompt to evaluate on")
    order = np.random.default_rng([seed, 4]).permutation(len(held_out))
    return [held_out[i] for i in order[:n]]


def _metrics(
    replies: dict[str, list[Reply]],
    scores: dict[str, dict[str, list[float]]],
    texts: dict[str, list[str]],
) -> dict[str, float]:
    wins = {judge: win_rate(s["after"], s["before"], texts) for judge, s in scores.items()}
    low, high = wilson(wins["judge"], len(texts["after"]))
    found = {
        "win_rate": wins["judge"],
        "win_rate_low": low,
        "win_rate_high": high,
        "reward_win_rate": wins["reward"],
    }
    for judge, by_policy in scores.items():
        found |= {f"{judge}_{name}": text_metrics.mean(s) for name, s in by_policy.items()}
    for name, ending in (("after", ""), ("before", "_before")):
        found |= {
            f"length{ending}": text_metrics.mean([len(reply.ids) for reply in replies[name]]),
            f"distinct2{ending}": text_metrics.distinct(texts[name], 2),
            f"repetition{ending}": text_metrics.mean(
                [text_metrics.repetition(text) for text in texts[name]]
            ),
        }
    broken = [
        text_metrics.broken(reply.text, finished=reply.finished) for reply in replies["after"]
    ]
    return found | {"broken_rate": text_metrics.mean(broken)}


def win_rate(after: Sequence[float], before: Sequence[float], texts: dict[str, list[str]]) -> float:
    """Share of prompts on which the new reply scores higher; equal texts and scores count half."""
    points = [
        0.5 if same or a == b else float(a > b)
        for a, b, same in zip(
            after,
            before,
            (x == y for x, y in zip(texts["after"], texts["before"], strict=True)),
            strict=True,
        )
    ]
    return text_metrics.mean(points)


def _write_samples(
    asked: Sequence[Prompt],
    texts: dict[str, list[str]],
    scores: dict[str, list[float]],
    path: Path,
    *,
    n: int,
) -> None:
    rows.write(
        path,
        (
            {
                "prompt_id": asked[i].prompt_id,
                "messages": asked[i].messages,
                "before": texts["before"][i],
                "after": texts["after"][i],
                "reward_before": scores["before"][i],
                "reward_after": scores["after"][i],
            }
            for i in range(min(n, len(asked)))
        ),
    )


@torch.no_grad()
def kl_to(
    reference: Policy,
    chats: Sequence[Sequence[dict[str, str]]],
    replies: Sequence[Reply],
    settings: Settings,
    *,
    batch_size: int = 16,
) -> float:
    """Mean over replies of log p(reply) - log p_reference(reply), nats.

    Both distributions at the temperature that was sampled with, so it estimates their KL.
    """
    ratios = []
    for start in range(0, len(replies), batch_size):
        part = replies[start : start + batch_size]
        prompts = [
            reference.prompt(messages, settings) for messages in chats[start : start + batch_size]
        ]
        theirs = reply_logprobs(
            reference, prompts, [reply.ids for reply in part], settings.temperature or 1.0
        )
        ratios += [sum(reply.logprobs) - other for reply, other in zip(part, theirs, strict=True)]
    return text_metrics.mean(ratios)


@torch.no_grad()
def reply_logprobs(
    policy: Policy, prompts: Sequence[list[int]], replies: Sequence[list[int]], temperature: float
) -> list[float]:
    """log p(reply | prompt) of each reply; the head runs on reply positions only."""
    device = next(policy.model.parameters()).device
    hidden, tokens = response_states(policy.model, Sequences.build(prompts, replies, device))
    head = policy.model.get_output_embeddings()
    assert isinstance(head, nn.Linear), "language models end in a linear head"
    found, _ = token_logprobs(head, hidden, tokens, temperature=temperature)
    return [float(part.sum()) for part in torch.split(found, [len(reply) for reply in replies])]
