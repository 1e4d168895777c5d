"""Batched sampling with a key-value cache.

Each prompt has its own row of random numbers, drawn up front, so a reply depends on the seed, on
the prompt's place in the list and on the model's logits, but not on which prompts share its batch.
(The logits themselves move by rounding, about 1e-6 in float32, when the batch around them changes;
a draw that falls that close to a boundary may then differ.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.modeling_outputs import BaseModelOutput

from training.rlhf.language import pretrained
from training.rlhf.language.random_numbers import draws
from training.rlhf.run.failures import Diverged, ModelError


@dataclass
class Response:
    """One sampled reply."""

    ids: list[int] = field(default_factory=list)
    """Its tokens, with the stop token when one was sampled."""
    finished: bool = False
    """False: it ran into `max_new_tokens`."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each token under the distribution that was sampled from."""


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    seed: int = 0,
    noise: Tensor | None = None,
    stop_ids: Sequence[int],
    batch_size: int = 64,
) -> list[Response]:
    """Sample one reply per prompt, in the order of `prompts`.

    Args:
        prompts: token ids; one too long for the model's context loses tokens from its left.
        temperature: 0 takes the likeliest token.
        top_p: nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751); 1 samples everything.
        seed: of random_numbers.draws, ignored when `noise` is given.
        noise: (N, max_new_tokens) numbers to draw with.
        stop_ids: every token that ends a reply.

    Raises:
        ModelError: the model's context is not longer than `max_new_tokens`.
    """
    noise = draws(len(prompts), max_new_tokens, seed=seed) if noise is None else noise
    responses = [Response() for _ in prompts]
    stops = set(stop_ids)
    reader = _Encoded if model.config.is_encoder_decoder else _Batch
    room = prompt_room(model, max_new_tokens)
    cut = [list(prompt)[-room:] for prompt in prompts]
    for rows in _buckets([len(prompt) for prompt in cut], batch_size):
        batch = reader(model, [cut[row] for row in rows], pad=tokenizer.pad_token_id)
        drawn = noise[rows].to(batch.device)
        live = [responses[row] for row in rows]
        for step in range(max_new_tokens):
            tokens, logprobs = choose(
                batch.next_logits(), drawn[:, step], temperature=temperature, top_p=top_p
            )
            going = _record(live, tokens, logprobs, stops)
            if not going:
                break
            batch.extend(tokens, keep=going)
            if len(going) < len(live):
                live, drawn = [live[place] for place in going], drawn[going]
    return responses


@torch.no_grad()
def stream(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    stop_ids: Sequence[int],
) -> Iterator[Response]:
    """One reply as it is written: the same response each time, a token longer.

    It becomes what `generate` gives for this prompt alone and this seed.

    Raises:
        ModelError: the model's context is not longer than `max_new_tokens`.
    """
    reader = _Encoded if model.config.is_encoder_decoder else _Batch
    cut = list(prompt)[-prompt_room(model, max_new_tokens) :]
    batch = reader(model, [cut], pad=tokenizer.pad_token_id)
    drawn = draws(1, max_new_tokens, seed=seed).to(batch.device)
    response = Response()
    for step in range(max_new_tokens):
        tokens, logprobs = choose(batch.next_logits(), drawn[:, step], temperature=temperature)
        going = _record([response], tokens, logprobs, set(stop_ids))
        yield response
        if not going:
            break
        batch.extend(tokens, keep=going)


def _record(
    live: list[Response], tokens: Tensor, logprobs: Tensor, stop_ids: set[int]
) -> list[int]:
    """Append one token to each response; return the places of those that go on."""
    for response, token, logprob in zip(live, tokens.tolist(), logprobs.tolist(), strict=True):
        response.ids.append(token)
        response.logprobs.append(logprob)
        response.finished = token in stop_ids
    return [place for place, response in enumerate(live) if not response.finished]


def choose(
    logits: Tensor, draws: Tensor, *, temperature: float, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Pick one token per row by inverting the cumulative distribution at `draws`.

    Args:
        logits: (B, V).
        draws: (B,) uniform in [0, 1).

    Returns:
        Tokens (B,) and their log-probabilities (B,). Greedy ones are scored at temperature 1.
    """
    if temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    probs = (logits.float() / temperature).softmax(-1)
    if top_p < 1:
        probs = nucleus(probs, top_p)
    cumulative = probs.cumsum(-1)
    total = cumulative[:, -1]
    # A product that rounds up to the total would land past the last token.
    target = torch.minimum(draws * total, total.nextafter(torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target[:, None], right=True)
    tokens = tokens.clamp(max=probs.shape[-1] - 1)  # only NaN lies past the end; callers see it
    return tokens[:, 0], probs.gather(-1, tokens)[:, 0].log()


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of tokens whose probabilities reach `top_p`, renormalised; (B, V)."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    kept = probs.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
    return kept / kept.sum(-1, keepdim=True)


class _Batch:
    """Left-padded prompts with their growing cache. Finished rows leave it."""

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]], *, pad: int) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        width = max(len(prompt) for prompt in prompts)
        self.ids = torch.tensor(
            [[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=self.device
        )
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        padding = width - lengths[:, None]  # from lengths: pad may be a real token, even eos
        places = torch.arange(width, device=self.device)[None] - padding
        self.mask = (places >= 0).long()
        self.positions = places.clamp(min=0)  # GPT-2 has absolute positions
        self.padded = bool((padding > 0).any())
        self.cache = DynamicCache(config=model.config)

    def next_logits(self) -> Tensor:
        """Run what the cache has not seen and return the logits of the next token, (B, V)."""
        output = self.model(
            input_ids=self.ids,
            attention_mask=self.mask if self.padded else None,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def extend(self, tokens: Tensor, *, keep: list[int]) -> None:
        """Append a token to each row in `keep` and drop the other rows."""
        if len(keep) < len(tokens):
            rows = torch.tensor(keep, device=self.device)
            self.cache.batch_select_indices(rows)
            tokens, self.mask = tokens[rows], self.mask[rows]
            self.positions = self.positions[rows]
        self.ids = tokens[:, None]
        self.positions = self.positions[:, -1:] + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)


class _Encoded:
    """Prompts that were encoded once, and a decoder with its growing cache."""

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]], *, pad: int) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        width = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([p + [pad] * (width - len(p)) for p in prompts], device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        places = torch.arange(width, device=self.device)[None]
        self.mask = (places < lengths[:, None]).long()
        self.read: Tensor = model.get_encoder()(
            input_ids=ids, attention_mask=self.mask
        ).last_hidden_state
        start = model.config.decoder_start_token_id
        self.ids = torch.full((len(prompts), 1), start, device=self.device)
        self.cache = EncoderDecoderCache(
            DynamicCache(config=model.config), DynamicCache(config=model.config)
        )

    def next_logits(self) -> Tensor:
        """Feed the decoder what it has not seen and return the logits of the next token, (B, V)."""
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.read),
            attention_mask=self.mask,
            decoder_input_ids=self.ids,
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def extend(self, tokens: Tensor, *, keep: list[int]) -> None:
        """Append a token to each row in `keep` and drop the other rows."""
        if len(keep) < len(tokens):
            rows = torch.tensor(keep, device=self.device)
            self.cache.batch_select_indices(rows)
            tokens, self.mask, self.read = tokens[rows], self.mask[rows], self.read[rows]
        self.ids = tokens[:, None]


def _buckets(lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    """Yield batches of row numbers with similar lengths: the longest first, so that running out of
    memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def require_finite(replies: Sequence[Response]) -> None:
    """Raise Diverged where a policy that is no longer one wrote replies."""
    if not all(math.isfinite(value) for reply in replies for value in reply.logprobs):
        raise Diverged("the policy's probabilities are no longer finite: lower the learning rate")


def prompt_room(model: PreTrainedModel, max_new_tokens: int) -> int:
    """Tokens that a prompt may have beside a reply.

    Raises:
        ModelError: none, or no reply of that length fits.
    """
    context = pretrained.context(model)
    taken = 0 if model.config.is_encoder_decoder else max_new_tokens
    if context <= max_new_tokens:
        raise ModelError(
            f"max_new_tokens is {max_new_tokens}, which leaves no room for a prompt in the model's "
            f"context of {context} tokens: lower it"
        )
    return context - taken
