"""Completions for people to compare, each with all that is needed to write it again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from training.rlhf import rows
from training.rlhf.completions.openai_endpoint import Endpoint
from training.rlhf.completions.reply_filter import CUT, UNREADABLE, fault_of, readable
from training.rlhf.completions.writers import Reply, Settings, Writer, reply_in_chunks
from training.rlhf.config import ConfigError, EndpointConfig, SampleConfig
from training.rlhf.language import chat_template, generation, pretrained, weight_dtype
from training.rlhf.language.chat_template import Message
from training.rlhf.language.reward_tokens import with_template
from training.rlhf.metrics.texts.broken_replies import FAULTS
from training.rlhf.rows import Author, Completion, Prompt, completion_key
from training.rlhf.run.work import Report, Work

log = logging.getLogger(__name__)

MOST_EQUAL = 0.5
"""Share of further replies to a prompt that may equal an earlier one, before the server is taken
for one that does not sample."""


class Policy:
    """A policy that answers chats."""

    def __init__(
        self, folder: str | Path, *, device: str | torch.device = "cpu", dtype: str = "auto"
    ) -> None:
        kind = weight_dtype.resolved(dtype, folder, device)
        self.model = pretrained.load_causal(folder, device=device, dtype=kind)
        # A base model, to compare with, reads turns written down plainly and may never stop.
        self.tokenizer = with_template(pretrained.load_tokenizer(folder))
        self.stop_ids = pretrained.stop_token_ids(self.model, self.tokenizer)

    def prompt(self, messages: Sequence[Message], settings: Settings) -> list[int]:
        """The chat as tokens, cut from the left to what fits beside the reply."""
        room = generation.prompt_room(self.model, settings.max_new_tokens)
        return chat_template.prompt_ids(self.tokenizer, messages)[-room:]

    def reply(
        self, chats: Sequence[Sequence[Message]], settings: Settings, *, seed: int
    ) -> list[Reply]:
        """One reply to each chat."""
        responses = generation.generate(
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
                chat_template.response_text(self.tokenizer, response.ids),
                response.ids,
                response.finished,
                response.logprobs,
                seed,
            )
            for response in responses
        ]


def require_both(endpoint: EndpointConfig | None) -> None:
    """Raise ConfigError when a server is told the name of one of two policies only."""
    if endpoint and bool(endpoint.model) != bool(endpoint.other):
        raise ConfigError("endpoint needs both names, model and other, or neither")


def writer(
    folder: str | Path,
    endpoint: EndpointConfig | None,
    *,
    new: bool,
    device: torch.device,
    dtype: str = "auto",
) -> Writer:
    """The writer of the replies of the policy in `folder`: this process, or a server.

    Args:
        new: whether it is the new policy, or the one that is compared with it.
    """
    if endpoint is None:
        return Policy(folder, device=device, dtype=dtype)
    served = endpoint.model if new else endpoint.other
    tokenizer = pretrained.load_tokenizer(folder)

    def tokens(text: str, finished: bool) -> list[int]:
        end = [chat_template.turn_end(tokenizer)] if finished else []
        return chat_template.completion_ids(tokenizer, text) + end

    return Endpoint(
        endpoint, served or str(folder), tokens=tokens, template=chat_template.switches(tokenizer)
    )


@dataclass(frozen=True)
class Plan:
    """Prompts to sample: `many` get several completions of the new policy, `compared` get one of
    each policy that it is compared with and at least one of the new policy."""

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


def sample_completions(
    policy_folder: str | Path,
    others: Mapping[Author, str | Path],
    prompts: Sequence[Prompt],
    config: SampleConfig,
    out: Path,
    work: Work,
    *,
    compared: int,
) -> dict[str, float]:
    """Sample completions into `out`/completions.jsonl.

    Args:
        others: policies that are sampled once for each of `compared` held-out prompts: the
            starter, the policy before.
        compared: held-out prompts to prepare for blind comparisons of the new policy with them.

    Returns:
        completions, prompts, left_out (see `readable`), duplicates (left out), length,
        finished_rate, and how many were empty (left out), looping, gibberish and truncated;
        repeats_itself (1.0) where a server seems not to sample.

    Raises:
        ConfigError: the endpoint names only one of two policies.
        EndpointError: the server failed; the chunks it finished are kept.
    """
    if others:
        require_both(config.endpoint)
    chosen = plan(prompts, config, compared=compared if others else 0, seed=work.seed)
    settings = Settings(config.temperature, config.max_new_tokens, config.batch_size, config.top_p)
    known = {prompt.prompt_id for prompt in chosen.many}
    new = [prompt for prompt in chosen.many for _ in range(config.per_prompt)]
    new += [prompt for prompt in chosen.compared if prompt.prompt_id not in known]
    policies: list[tuple[Author, str | Path, list[Prompt]]] = [("new", policy_folder, new)]
    if chosen.compared:
        policies += [(name, folder, chosen.compared) for name, folder in others.items()]
    total, before = sum(len(asked) for _, _, asked in policies), 0
    completions: list[Completion] = []
    for number, (name, folder, asked) in enumerate(policies):
        replies = reply_in_chunks(
            writer(
                folder,
                config.endpoint,
                new=name == "new",
                device=work.device,
                dtype=config.dtype,
            ),
            [prompt.messages for prompt in asked],
            settings,
            replace(
                work,
                seed=work.seed + number,
                checkpoints=work.checkpoints / name,
                report=partial(_told_after, work.report, before, total),
            ),
        )
        before += len(asked)
        completions += [
            _completion(prompt, reply, settings, policy=name)
            for prompt, reply in zip(asked, replies, strict=True)
        ]
    kept = readable(
        _distinct(completions),
        spared={prompt.prompt_id for prompt in chosen.compared},
        faults=(*UNREADABLE, CUT),
    )
    rows.write(out / "completions.jsonl", kept)
    metrics = _metrics(completions, kept)
    if config.endpoint is not None and repeats_itself(completions):
        metrics["repeats_itself"] = 1.0
        log.warning(
            "%s gave mostly equal replies to a prompt: it seems to take the likeliest word, "
            "whatever temperature it is asked for (transformers serve does where the model's "
            "generation_config.json has no do_sample)",
            config.endpoint.url,
        )
    return metrics


def repeats_itself(completions: Sequence[Completion]) -> bool:
    """True where most of the further replies to a prompt are equal to an earlier one."""
    asked = Counter((row.policy, row.prompt_id) for row in completions)
    different = {(row.policy, row.prompt_id, row.text) for row in completions}
    further = len(completions) - len(asked)
    return further > 0 and len(completions) - len(different) > MOST_EQUAL * further


def _told_after(
    report: Report, before: int, total: int, done: int, _: int, metrics: dict[str, float]
) -> None:
    report(before + done, total, metrics)


def _completion(prompt: Prompt, reply: Reply, settings: Settings, *, policy: Author) -> Completion:
    return Completion(
        key=completion_key(prompt.prompt_id, reply.text),
        prompt_id=prompt.prompt_id,
        text=reply.text,
        policy=policy,
        seed=reply.seed,
        temperature=settings.temperature,
        top_p=settings.top_p,
        n_tokens=len(reply.ids),
        finish_reason="stop" if reply.finished else "length",
    )


def _distinct(completions: Sequence[Completion]) -> list[Completion]:
    """Drop empty completions and repeated texts, which nobody is asked to read."""
    kept: dict[str, Completion] = {}
    for completion in completions:
        if completion.text.strip():
            kept.setdefault(completion.key, completion)
    return list(kept.values())


def _metrics(completions: Sequence[Completion], kept: Sequence[Completion]) -> dict[str, float]:
    faults = Counter(map(fault_of, completions))
    n = max(1, len(completions))
    distinct = len(_distinct(completions))
    return {
        "completions": float(len(kept)),
        "prompts": float(len({completion.prompt_id for completion in kept})),
        **{name: float(faults[name]) for name in FAULTS},
        "left_out": float(distinct - len(kept)),
        "duplicates": float(len(completions) - distinct - faults["empty"]),
        "length": sum(completion.n_tokens for completion in completions) / n,
        "finished_rate": sum(c.finish_reason == "stop" for c in completions) / n,
    }
