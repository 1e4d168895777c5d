"""From prompts to a batch of scored replies, with all that is known before the policy changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import chat, models, rollout
from training.rlhf.actor_critic import ActorCritic, Reading, Sequences, base_model
from training.rlhf.config import PPOConfig

Messages = Sequence[chat.Message]
Score = Callable[[list[Messages], list[str]], list[float]]
"""Chats and replies to one number each."""


class Diverged(RuntimeError):
    """Losses, gradients or scores are no longer finite. The last good checkpoint is kept."""


@dataclass(frozen=True)
class Experience:
    """One batch of replies, read by policy, critic and reference."""

    batch: Sequences
    scores: Tensor
    """(B,) as the score function gave them."""
    finished: Tensor
    """(B,) 1.0 where the reply ended by itself."""
    old: Reading
    ref_logprobs: Tensor
    """(B, R)"""

    @property
    def kl(self) -> Tensor:
        """(B,) log-ratio of each reply to the reference, nats."""
        return ((self.old.logprobs - self.ref_logprobs) * self.batch.mask).sum(1)


class Collector:
    """Draws prompts, samples replies and has them scored and read."""

    def __init__(
        self,
        actor: ActorCritic,
        tokenizer: Tokenizer,
        prompts: Sequence[dict[str, Any]],
        *,
        score: Score,
        config: PPOConfig,
        seed: int,
    ) -> None:
        self.actor, self.tokenizer, self.score = actor, tokenizer, score
        self.config, self.seed = config, seed
        self.messages: list[Messages] = [p["messages"] for p in prompts if not p.get("held_out")]
        if not self.messages:
            raise ValueError("there is no prompt to train on (held-out prompts never are)")
        ids = [chat.prompt_ids(tokenizer, messages) for messages in self.messages]
        model = base_model(actor.model)
        # What does not fit beside a reply is cut here, so that sampling and training read the same.
        room = min(config.max_prompt_length, rollout.prompt_room(model, config.max_new_tokens))
        self.prompts = [row[-room:] for row in ids]
        self.truncated = sum(len(row) > room for row in ids)
        self.stop_ids = models.stop_token_ids(model, tokenizer)

    def _draw(self, update: int) -> list[int]:
        """The update's prompts: all of them in a new order, then all in another, and so on."""
        size, n = self.config.batch_size, len(self.prompts)
        places = range(update * size, (update + 1) * size)
        orders = {
            p: random_source(self.seed, "order", p).permutation(n) for p in {i // n for i in places}
        }
        return [int(orders[place // n][place % n]) for place in places]

    def collect(self, update: int) -> Experience:
        """Everything about one batch of replies of the policy as it is now.

        Raises:
            Diverged: a score or a probability is not finite.
        """
        cfg, rows = self.config, self._draw(update)
        prompts = [self.prompts[row] for row in rows]
        self.actor.model.eval()  # gradient checkpointing switches the cache off in training mode
        with self.actor.mixed_precision():
            replies = rollout.generate(
                base_model(self.actor.model),  # adapters live inside it
                self.tokenizer,
                prompts,
                max_new_tokens=cfg.max_new_tokens,
                temperature=cfg.temperature,
                seed=int(random_source(self.seed, "sample", update).integers(2**31)),
                stop_ids=self.stop_ids,
                batch_size=cfg.batch_size,
            )
        if not all(math.isfinite(value) for reply in replies for value in reply.logprobs):
            raise Diverged("the policy's probabilities are no longer finite")
        device = self.actor.device
        batch = Sequences.build(prompts, [reply.ids for reply in replies], device)
        scores = self._score(rows, replies).to(device)
        finished = torch.tensor([float(reply.finished) for reply in replies], device=device)
        old, ref_logprobs = self._read(batch, update)
        return Experience(batch, scores, finished, old, ref_logprobs)

    def _score(self, rows: list[int], replies: list[rollout.Response]) -> Tensor:
        texts = [chat.response_text(self.tokenizer, reply.ids) for reply in replies]
        scores = torch.tensor(self.score([self.messages[row] for row in rows], texts))
        if scores.shape != (len(rows),):
            raise ValueError(f"{len(rows)} replies got scores of shape {tuple(scores.shape)}")
        if not scores.isfinite().all():
            worst = int((~scores.isfinite()).nonzero()[0, 0])
            raise Diverged(f"the score of a reply is {scores[worst]}: {texts[worst][:200]!r}")
        return scores.float()

    @torch.no_grad()
    def _read(self, batch: Sequences, update: int) -> tuple[Reading, Tensor]:
        """Old log-probabilities, values and entropy, and the reference's log-probabilities.

        Not the sampler's: these go through the training forward pass, in the micro-batches of the
        first epoch, so that the ratio is exactly 1 at the first minibatch.
        """
        heat = self.config.temperature
        whole = torch.zeros(4, *batch.mask.shape, device=self.actor.device)
        for minibatch in minibatches(self.config, seed=self.seed, update=update, epoch=0):
            for rows in minibatch:
                part = batch.select(rows)
                new = self.actor.read(part, temperature=heat)
                ref = self.actor.reference_logprobs(part, temperature=heat)
                piece = torch.stack([new.logprobs, new.values, new.entropy, ref])
                whole[:, rows, : piece.shape[2]] = piece
        logprobs, values, entropy, ref_logprobs = whole
        return Reading(logprobs, values, entropy), ref_logprobs


def minibatches(config: PPOConfig, *, seed: int, update: int, epoch: int) -> Iterator[list[Tensor]]:
    """Yield the row numbers of each minibatch of an epoch, split into micro-batches."""
    order = random_source(seed, "epoch", update, epoch).permutation(config.batch_size)
    for start in range(0, config.batch_size, config.minibatch_size):
        rows = np.sort(order[start : start + config.minibatch_size])
        yield [torch.from_numpy(part) for part in np.split(rows, config.gradient_accumulation)]


def random_source(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    words = [seed % 2**63, *purpose.encode(), *numbers]
    return np.random.default_rng(np.random.SeedSequence(words))
