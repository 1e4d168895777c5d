"""The first half of an update: queries, responses, scores, and what the models say of them.

`Rollouts` has one method for each; `PPO.step` calls them in the order of the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.config import ConfigError, PPOConfig
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.language.generation import Response
from training.rlhf.language.lora_adapters import base_model
from training.rlhf.language.minibatches_by_length import minibatches, pass_cost
from training.rlhf.language.random_numbers import draws, random_source
from training.rlhf.language.response_states import Sequences
from training.rlhf.ppo.actor_critic import ActorCritic, Reading
from training.rlhf.reward.score_functions import Messages, Score
from training.rlhf.rows import Prompt
from training.rlhf.run import distributed, ranks
from training.rlhf.run.failures import Diverged


@dataclass(frozen=True)
class Experience:
    """A batch with what the losses need of it; (B, R) each, zero on padding."""

    batch: Sequences
    """Queries with their responses."""
    logprobs: Tensor
    """Of the policy before the update, as `values`."""
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def select(self, rows: Tensor) -> Experience:
        """Some of the rows, no wider than they need."""
        batch = self.batch.select(rows)
        tensors = (self.logprobs, self.values, self.advantages, self.returns)
        return Experience(batch, *(whole[rows, : batch.mask.shape[1]] for whole in tensors))


class Rollouts:
    """Draws queries, samples responses, and has them scored and read."""

    def __init__(
        self,
        actor: ActorCritic,
        tokenizer: Tokenizer,
        prompts: Sequence[Prompt],
        *,
        score: Score,
        config: PPOConfig,
        seed: int,
    ) -> None:
        self.actor, self.tokenizer, self._score = actor, tokenizer, score
        self.config, self.seed = config, seed
        self.messages: list[Messages] = [p.messages for p in prompts if not p.held_out]
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
        """A chat's tokens. Those that do not fit beside a reply are cut from the left, so that
        sampling and training read the same."""
        return chat_template.prompt_ids(self.tokenizer, messages)[-self.room :]

    def queries(self, update: int) -> list[int]:
        """The update's B prompts by number: all of them in a new order, then all in another."""
        size, n = self.config.batch_size, len(self.prompts)
        places = range(update * size, (update + 1) * size)
        orders = {
            p: random_source(self.seed, "order", p).permutation(n) for p in {i // n for i in places}
        }
        return [int(orders[place // n][place % n]) for place in places]

    def respond(self, queries: Sequence[int], update: int) -> list[Response]:
        """One response of the policy as it is now to each query; Diverged as `sample`."""
        seed = int(random_source(self.seed, "sample", update).integers(2**31))
        return self.sample([self.prompts[query] for query in queries], seed=seed)

    def sample(self, prompts: Sequence[list[int]], *, seed: int) -> list[Response]:
        """One reply to each prompt. Of several processes each samples its share; all get the whole.

        Raises:
            Diverged: a probability is not finite.
        """
        mine = list(ranks.share(range(len(prompts))))
        noise = draws(len(prompts), self.config.max_new_tokens, seed=seed)
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
        generation.require_finite(replies)
        return replies

    def score(self, queries: Sequence[int], responses: Sequence[Response]) -> Tensor:
        """Scores (B,) as the score function gives them; Diverged where one is not finite."""
        texts = [chat_template.response_text(self.tokenizer, reply.ids) for reply in responses]
        chats = ranks.share([self.messages[query] for query in queries])
        mine = torch.tensor(self._score(list(chats), list(ranks.share(texts))))
        if mine.shape != (len(chats),):
            raise ValueError(f"{len(chats)} replies got scores of shape {tuple(mine.shape)}")
        scores = torch.tensor(distributed.gather(mine.tolist()))
        if not scores.isfinite().all():
            worst = int((~scores.isfinite()).nonzero()[0, 0])
            raise Diverged(f"the score of a reply is {scores[worst]}: {texts[worst][:200]!r}")
        return scores.float().to(self.actor.device)

    def batch(self, queries: Sequence[int], responses: Sequence[Response]) -> Sequences:
        """Queries and responses, padded on the right (the sampler pads queries on the left)."""
        prompts = [self.prompts[query] for query in queries]
        return Sequences.build(prompts, [reply.ids for reply in responses], self.actor.device)

    def read(self, batch: Sequences, update: int) -> tuple[Reading, Tensor, list[Reading]]:
        """The batch as policy and critic read it now, and the reference's log-probabilities (B, R).

        The old log-probabilities are not the sampler's: they come from the training forward pass,
        in the passes of the first epoch, so that the ratio is exactly 1 at the first minibatch.
        For that minibatch the last value holds the readings, pass by pass, with the graph for
        their gradient: it is trained on with the same weights. The list is empty where the graph
        of a whole minibatch would not fit.
        """
        heat, mask = self.config.temperature, batch.mask  # (B, R)
        keep = self.config.gradient_accumulation == 1 and not self.config.gradient_checkpointing
        first_readings: list[Reading] = []
        logprobs, values, entropy, ref_logprobs = (torch.zeros_like(mask) for _ in range(4))
        for number, minibatch in enumerate(self.minibatches(batch, update, epoch=0)):
            for rows in minibatch:
                part = batch.select(rows)
                with torch.set_grad_enabled(keep and number == 0):
                    now = self.actor.read(part, temperature=heat)
                if now.logprobs.requires_grad:
                    first_readings.append(now)
                to = (rows, slice(part.mask.shape[1]))  # no wider than the pass
                logprobs[to], values[to] = now.logprobs.detach(), now.values.detach()
                entropy[to] = now.entropy.detach()
                ref_logprobs[to] = self.actor.reference_logprobs(part, temperature=heat)
        # Each process has read its own rows and left zeros elsewhere: the sum is the whole batch.
        whole = distributed.total(torch.stack([logprobs, values, entropy, ref_logprobs]))
        logprobs, values, entropy, ref_logprobs = whole
        return Reading(logprobs, values, entropy), ref_logprobs, first_readings

    def minibatches(self, batch: Sequences, update: int, *, epoch: int) -> Iterator[list[Tensor]]:
        """The rows of each minibatch of an epoch over the update's batch, pass by pass."""
        cfg = self.config
        order = random_source(self.seed, "epoch", update, epoch).permutation(cfg.batch_size)
        return minibatches(
            order,
            batch.widths,
            size=cfg.minibatch_size,
            parts=cfg.gradient_accumulation,
            cost=pass_cost(self.actor.device.type),
        )
