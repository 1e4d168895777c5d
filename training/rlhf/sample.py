"""Completions for people to compare, each with all that is needed to write it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from training.rlhf import chat, models, rollout, rows
from training.rlhf.chat import Message
from training.rlhf.config import SampleConfig
from training.rlhf.rows import Completion, Prompt, completion_key

Report = Callable[[int, int], None]
Guard = Callable[[], None]

CHUNK_BATCHES = 4
"""Batches between two chances to stop; what a chunk gave is kept on disk."""


@dataclass(frozen=True)
class Settings:
    """How to sample."""

    temperature: float
    max_new_tokens: int
    batch_size: int
    top_p: float = 1.0


@dataclass(frozen=True)
class Reply:
    """One sampled reply."""

    text: str
    ids: list[int]
    finished: bool
    logprobs: list[float]
    seed: int


class Policy:
    """A policy that answers chats."""

    def __init__(self, folder: str | Path, *, device: torch.device) -> None:
        self.model = models.load_causal(folder, device=device)
        self.tokenizer = models.load_tokenizer(folder)
        self.stop_ids = models.stop_token_ids(self.model, self.tokenizer)

    def prompt(self, messages: Sequence[Message], settings: Settings) -> list[int]:
        """The chat as tokens, cut from the left to what fits beside the reply."""
        context = getattr(self.model.config, "max_position_embeddings", None) or 1_000_000
        return chat.prompt_ids(self.tokenizer, messages)[-(context - settings.max_new_tokens) :]

    def reply(
        self, chats: Sequence[Sequence[Message]], settings: Settings, *, seed: int
    ) -> list[Reply]:
        """One reply to each chat."""
        responses = rollout.generate(
            self.model,
            self.tokenizer,
            [self.prompt(messages, settings) for messages in chats],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=seed,
            stop_ids=self.stop_ids,
            batch_size=settings.batch_size,
        )
        return [
            Reply(
                chat.response_text(self.tokenizer, response.ids),
                response.ids,
                response.finished,
                response.logprobs,
                seed,
            )
            for response in responses
        ]


def reply_in_chunks(
    policy: Policy,
    chats: Sequence[Sequence[Message]],
    settings: Settings,
    *,
    seed: int,
    folder: Path,
    report: Report,
    guard: Guard,
) -> list[Reply]:
    """Reply to any number of chats, keeping finished chunks in `folder`.

    Chunk k is sampled with the seed derived from (seed, k), so a resumed call gives what an
    uninterrupted one would.
    """
    size = settings.batch_size * CHUNK_BATCHES
    replies: list[Reply] = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(chats), size)):
        file = folder / f"replies-{number:05d}.jsonl"
        if not file.exists():
            chunk_seed = int(np.random.default_rng([seed, number]).integers(2**31))
            found = policy.reply(chats[start : start + size], settings, seed=chunk_seed)
            guard()
            rows.write(file, found)
        replies += [Reply(**data) for _, data in rows.read_json(file)]
        report(len(replies), len(chats))
    return replies


@dataclass(frozen=True)
class Plan:
    """Which prompts to sample: `many` get several completions of the new policy, `compared` get
    one of the starter and at least one of the new policy."""

    many: list[Prompt]
    compared: list[Prompt]


def plan(prompts: Sequence[Prompt], config: SampleConfig, *, compared: int, seed: int) -> Plan:
    """Draw prompts: a share of them held out, the comparisons all held out."""
    rng = np.random.default_rng([seed, 3])
    order = [prompts[i] for i in rng.permutation(len(prompts))]
    held_out = [prompt for prompt in order if prompt.held_out]
    train = [prompt for prompt in order if not prompt.held_out]
    n = min(config.prompts, len(prompts))
    wanted = min(round(n * config.held_out_share), len(held_out))
    inside = max(wanted, n - len(train))
    return Plan(many=train[: n - inside] + held_out[:inside], compared=held_out[:compared])


def run(
    policy_folder: str | Path,
    starter_folder: str | Path | None,
    prompts: Sequence[Prompt],
    config: SampleConfig,
    out: Path,
    *,
    compared: int,
    seed: int,
    device: torch.device,
    checkpoints: Path,
    report: Report,
    guard: Guard,
) -> dict[str, float]:
    """Sample completions into `out`/completions.jsonl.

    Args:
        starter_folder: also sampled, once for each of `compared` held-out prompts; None: not.
        compared: held-out prompts to prepare for blind comparisons of new policy and starter.

    Returns:
        completions, prompts, empty (left out), duplicates (left out), length and finished_rate.
    """
    chosen = plan(prompts, config, compared=compared if starter_folder else 0, seed=seed)
    settings = Settings(config.temperature, config.max_new_tokens, config.batch_size, config.top_p)
    known = {prompt.prompt_id for prompt in chosen.many}
    new = [prompt for prompt in chosen.many for _ in range(config.per_prompt)]
    new += [prompt for prompt in chosen.compared if prompt.prompt_id not in known]
    work: list[tuple[str, str | Path, list[Prompt]]] = [("new", policy_folder, new)]
    if starter_folder and chosen.compared:
        work.append(("starter", starter_folder, chosen.compared))
    total, before = sum(len(asked) for _, _, asked in work), 0
    completions: list[Completion] = []
    for number, (name, folder, asked) in enumerate(work):
        replies = reply_in_chunks(
            Policy(folder, device=device),
            [prompt.messages for prompt in asked],
            settings,
            seed=seed + number,
            folder=checkpoints / name,
            report=lambda done, _, offset=before: report(offset + done, total),  # type: ignore[misc]
            guard=guard,
        )
        before += len(asked)
        completions += [
            _completion(prompt, reply, settings, policy=name)
            for prompt, reply in zip(asked, replies, strict=True)
        ]
    kept = _distinct(completions)
    rows.write(out / "completions.jsonl", kept)
    return _metrics(completions, kept)


def _completion(prompt: Prompt, reply: Reply, settings: Settings, *, policy: str) -> Completion:
    return Completion(
        key=completion_key(prompt.prompt_id, reply.text),
        prompt_id=prompt.prompt_id,
        text=reply.text,
        policy=cast(Literal["new", "starter"], policy),
        seed=reply.seed,
        temperature=settings.temperature,
        top_p=settings.top_p,
        n_tokens=len(reply.ids),
        finish_reason="stop" if reply.finished else "length",
    )


def _distinct(completions: Sequence[Completion]) -> list[Completion]:
    """Nobody is asked to read an empty completion, or the same text twice."""
    kept: dict[str, Completion] = {}
    for completion in completions:
        if completion.text.strip():
            kept.setdefault(completion.key, completion)
    return list(kept.values())


def _metrics(completions: Sequence[Completion], kept: Sequence[Completion]) -> dict[str, float]:
    empty = sum(not completion.text.strip() for completion in completions)
    n = max(1, len(completions))
    return {
        "completions": float(len(kept)),
        "prompts": float(len({completion.prompt_id for completion in kept})),
        "empty": float(empty),
        "duplicates": float(len(completions) - len(kept) - empty),
        "length": sum(completion.n_tokens for completion in completions) / n,
        "finished_rate": sum(c.finish_reason == "stop" for c in completions) / n,
    }
