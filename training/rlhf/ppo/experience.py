"""From prompts to a batch of scored replies, with all that is known before the policy changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.config import ConfigError, PPOConfig
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.ppo.actor_critic import ActorCritic, Reading, Sequences, base_model
from training.rlhf.reward.score_functions import Messages, Score
from training.rlhf.run import distributed, ranks
from training.rlhf.run.failures import Diverged

CPU_PASS_COST = 64
"""Tokens whose computation costs as much as one more forward and backward pass: measured; the pass
adds to every gradient once more and calls every layer again."""
GPU_PASS_COST = 1024
"""The same on a GPU, estimated: calling the kernels of 24 layers takes some 30 ms, in which an H100
trains 0.5B parameters on that many tokens and more."""


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
    fresh: list[Reading]
    """What `old` says of the first minibatch, pass by pass, with the graph for its gradient: the
    weights are still the same, so training need not read it again. Empty where the graph of a
    whole minibatch would not fit."""

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
            raise ConfigError("there is no prompt to train on (held-out prompts never are)")
        model = base_model(actor.model)
        self.stop_ids = pretrained.stop_token_ids(model, tokenizer)
        self.room = min(
            config.max_prompt_length, generation.prompt_room(model, config.max_new_tokens)
        )
        ids = [chat_template.prompt_ids(tokenizer, messages) for messages in self.messages]
        self.prompts = [row[-self.room :] for row in ids]
        self.truncated = sum(len(row) > self.room for row in ids)

    def prompt(self, messages: Messages) -> list[int]:
        """A chat's tokens. What does not fit beside a reply is cut from the left, so that sampling
        and training read the same."""
        return chat_template.prompt_ids(self.tokenizer, messages)[-self.room :]

    def _draw(self, update: int) -> list[int]:
        """The update's prompts: all of them in a new order, then all in another, and so on."""
        size, n = self.config.batch_size, len(self.prompts)
        places = range(update * size, (update + 1) * size)
        orders = {
            p: random_source(self.seed, "order", p).permutation(n) for p in {i // n for i in places}
        }
        return [int(orders[place // n][place % n]) for place in places]

    def minibatches(self, batch: Sequences, update: int, *, epoch: int) -> Iterator[list[Tensor]]:
        """The rows of each minibatch of an epoch over the update's batch, pass by pass."""
        cost = CPU_PASS_COST if self.actor.device.type == "cpu" else GPU_PASS_COST
        return minibatches(
            self.config, batch.widths, seed=self.seed, update=update, epoch=epoch, cost=cost
        )

    def collect(self, update: int) -> Experience:
        """Everything about one batch of replies of the policy as it is now. Of several processes
        each samples, scores and reads its share, and all know the whole.

        Raises:
            Diverged: a score or a probability is not finite.
        """
        rows, device = self._draw(update), self.actor.device
        prompts = [self.prompts[row] for row in rows]
        seed = int(random_source(self.seed, "sample", update).integers(2**31))
        replies = self.sample(prompts, seed=seed)
        batch = Sequences.build(prompts, [reply.ids for reply in replies], device)
        texts = [chat_template.response_text(self.tokenizer, reply.ids) for reply in replies]
        scores = self._score(rows, texts).to(device)
        finished = torch.tensor([float(reply.finished) for reply in replies], device=device)
        return Experience(batch, scores, finished, *self._read(batch, update))

    def sample(self, prompts: Sequence[list[int]], *, seed: int) -> list[generation.Response]:
        """One reply of the policy as it is now to each prompt.

        Raises:
            Diverged: a probability is not finite.
        """
        mine = list(ranks.share(range(len(prompts))))
        noise = generation.draws(len(prompts), self.config.max_new_tokens, seed=seed)
        self.actor.model.eval()  # gradient checkpointing switches the cache off in training mode
        with self.actor.mixed_precision():
            sampled = generation.generate(
                base_model(self.actor.model),  # adapters live inside it
                self.tokenizer,
                [prompts[place] for place in mine],
                max_new_tokens=self.config.max_new_tokens,
                temperature=self.config.temperature,
                noise=noise[mine],
                stop_ids=self.stop_ids,
                batch_size=self.config.batch_size,
            )
        replies = distributed.gather(sampled)
        require_finite(replies)
        return replies

    def _score(self, rows: list[int], texts: list[str]) -> Tensor:
        chats = ranks.share([self.messages[row] for row in rows])
        found = torch.tensor(self.score(list(chats), list(ranks.share(texts))))
        if found.shape != (len(chats),):
            raise ValueError(f"{len(chats)} replies got scores of shape {tuple(found.shape)}")
        scores = torch.tensor(distributed.gather(found.tolist()))
        if not scores.isfinite().all():
            worst = int((~scores.isfinite()).nonzero()[0, 0])
            raise Diverged(f"the score of a reply is {scores[worst]}: {texts[worst][:200]!r}")
        return scores.float()

    def _read(self, batch: Sequences, update: int) -> tuple[Reading, Tensor, list[Reading]]:
        """Old log-probabilities, values and entropy, the reference's log-probabilities, and
        `Experience.fresh`.

        Not the sampler's: these go through the training forward pass, in the micro-batches of the
        first epoch, so that the ratio is exactly 1 at the first minibatch.
        """
        cfg, heat = self.config, self.config.temperature
        keep = cfg.gradient_accumulation == 1 and not cfg.gradient_checkpointing
        fresh: list[Reading] = []
        whole = torch.zeros(4, *batch.mask.shape, device=self.actor.device)
        for number, minibatch in enumerate(self.minibatches(batch, update, epoch=0)):
            for rows in minibatch:
                part = batch.select(rows)
                with torch.set_grad_enabled(keep and number == 0):
                    new = self.actor.read(part, temperature=heat)
                if new.logprobs.requires_grad:
                    fresh.append(new)
                ref = self.actor.reference_logprobs(part, temperature=heat)
                piece = torch.stack([new.logprobs, new.values, new.entropy, ref]).detach()
                whole[:, rows, : piece.shape[2]] = piece
        logprobs, values, entropy, ref_logprobs = distributed.total(whole)
        return Reading(logprobs, values, entropy), ref_logprobs, fresh


def require_finite(replies: Sequence[generation.Response]) -> None:
    """Raise Diverged where a policy that is no longer one wrote replies."""
    if not all(math.isfinite(value) for reply in replies for value in reply.logprobs):
        raise Diverged("the policy's probabilities are no longer finite: lower the learning rate")


def minibatches(
    config: PPOConfig, widths: Sequence[int], *, seed: int, update: int, epoch: int, cost: int
) -> Iterator[list[Tensor]]:
    """Yield the row numbers of each minibatch of an epoch, split into passes of similar widths.
    Of several processes each gets its share.

    Args:
        widths: tokens of each row, prompt and response.
        cost: as of `cuts`.
    """
    sizes = np.array(widths)
    order = random_source(seed, "epoch", update, epoch).permutation(config.batch_size)
    for start in range(0, config.batch_size, config.minibatch_size):
        rows = np.sort(order[start : start + config.minibatch_size])
        # The widest first, so that running out of memory shows at once.
        rows = rows[np.argsort(-sizes[rows], kind="stable")]
        parts = np.array_split(np.asarray(ranks.share(list(rows))), config.gradient_accumulation)
        yield [
            torch.from_numpy(part[cut]) for part in parts for cut in cuts(sizes[part], cost=cost)
        ]


def cuts(widths: np.ndarray[Any, np.dtype[np.int64]], *, cost: int) -> list[slice]:
    """Cut rows, the widest first, into the passes that compute least.

    A pass computes its rows, padded to its first one, and `cost` tokens' worth besides. Exact, by
    dynamic programming over where the last pass begins.
    """
    least, begins = np.zeros(len(widths) + 1), [0]
    for end in range(1, len(widths) + 1):
        totals = least[:end] + widths[:end] * np.arange(end, 0, -1) + cost
        begins.append(int(totals.argmin()))
        least[end] = totals[begins[end]]
    found, end = [], len(widths)
    while end:
        found.append(slice(begins[end], end))
        end = begins[end]
    return found[::-1]


def random_source(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    words = [seed % 2**63, *purpose.encode(), *numbers]
    return np.random.default_rng(np.random.SeedSequence(words))
