"""Likelihoods of replies under a policy: the KL to the starter, and perplexities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.completions.sampling import Policy
from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.language import chat_template, pretrained
from training.rlhf.language.chat_template import Message
from training.rlhf.language.response_states import Sequences, response_states
from training.rlhf.language.token_logprobs import token_logprobs
from training.rlhf.metrics.texts import diversity_and_refusals


@dataclass(frozen=True)
class Likelihood:
    """log p(reply | chat) in nats, over all of its `tokens`."""

    plain: float
    tempered: float
    """At the temperature that was sampled with."""
    tokens: int


def reply_likelihoods(
    policy: Policy,
    chats: Sequence[Sequence[Message]],
    replies: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch_size: int = 16,
    room: int = 0,
) -> list[Likelihood]:
    """The likelihood of given replies, as token ids of this policy's own vocabulary.

    Args:
        room: tokens that were kept free for a reply when it was sampled: what is cut from a chat
            that does not fit beside them was not seen by the sampler either.
    """
    likelihoods = []
    for start in range(0, len(replies), batch_size):
        part = replies[start : start + batch_size]
        fits = Settings(temperature, max(room, *map(len, part)), batch_size)
        prompts = [policy.prompt(messages, fits) for messages in chats[start : start + batch_size]]
        hot = temperature or 1.0  # greedy replies are scored at temperature 1
        both = reply_logprobs(policy, prompts, part, temperatures=(1.0, hot))
        likelihoods += [
            Likelihood(plain, tempered, len(ids))
            for plain, tempered, ids in zip(*both, part, strict=True)
        ]
    return likelihoods


@torch.no_grad()
def reply_logprobs(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
    *,
    temperatures: Sequence[float],
) -> list[list[float]]:
    """log p(reply | prompt) of each reply at each temperature, from one pass of the trunk.

    The head runs on reply positions only. Encoder-decoders read the prompt with their encoder.
    """
    device = next(policy.model.parameters()).device
    hidden, tokens = response_states(policy.model, Sequences.build(prompts, replies, device))
    head = policy.model.get_output_embeddings()
    assert isinstance(head, nn.Linear), "language models end in a linear head"
    lengths = [len(reply) for reply in replies]
    logprobs_at = []
    for temperature in temperatures:
        logprobs, _ = token_logprobs(head, hidden, tokens, temperature=temperature)
        logprobs_at.append([float(part.sum()) for part in torch.split(logprobs, lengths)])
    return logprobs_at


def own_logprobs(
    policy: Policy | None,
    chats: Sequence[Sequence[Message]],
    replies: Sequence[Reply],
    settings: Settings,
) -> list[float]:
    """log p(reply | chat) of a policy's own replies at the temperature they were sampled with.

    Args:
        policy: the one that wrote them, to read them again; None takes what the sampler noted.
    """
    if policy is None:
        return [sum(reply.logprobs) for reply in replies]
    ids = [reply.ids for reply in replies]
    room = settings.max_new_tokens
    likelihoods = reply_likelihoods(policy, chats, ids, temperature=settings.temperature, room=room)
    return [one.tempered for one in likelihoods]


def kl_to(
    reference: Policy,
    chats: Sequence[Sequence[Message]],
    replies: Sequence[Reply],
    settings: Settings,
    *,
    reader: Policy | None = None,
) -> float:
    """Mean over replies of log p(reply) - log p_reference(reply), nats.

    Both distributions at the temperature that was sampled with, so it estimates their KL.

    Args:
        reader: as `policy` of `own_logprobs`.
    """
    ids = [reply.ids for reply in replies]
    room = settings.max_new_tokens
    theirs = reply_likelihoods(reference, chats, ids, temperature=settings.temperature, room=room)
    own = own_logprobs(reader, chats, replies, settings)
    return diversity_and_refusals.mean([a - b.tempered for a, b in zip(own, theirs, strict=True)])


def same_vocabulary(one: Tokenizer, other: Tokenizer) -> bool:
    """True where token ids mean the same to both, without which there is no KL."""
    return dict(one.get_vocab()) == dict(other.get_vocab())


def text_ids(policy: Policy, text: str, *, finished: bool) -> list[int]:
    """A text as a reply in this policy's own tokens; what would fill more than half of its context
    is cut off, and an empty one still ends."""
    end = chat_template.turn_end(policy.tokenizer)
    ids = chat_template.completion_ids(policy.tokenizer, text) + [end] * finished
    return ids[: pretrained.context(policy.model) // 2] or [end]
