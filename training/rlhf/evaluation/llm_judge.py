"""A generative judge: a model that reads a chat with two replies and says which is better.

Every pair is asked in both orders (`both_orders`). Only a reply that is preferred in both wins;
otherwise the pair is a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from training.rlhf.annotation.both_orders import LETTERS, Chat, letter, question
from training.rlhf.completions.openai_endpoint import Endpoint
from training.rlhf.completions.sampling import Policy
from training.rlhf.completions.writers import Settings
from training.rlhf.config import JudgeConfig
from training.rlhf.evaluation import kl_and_perplexity
from training.rlhf.language import chat_template, generation

Ask = Callable[[Sequence[Chat]], list[str]]
"""Questions to answers: "A", "B", or anything else where the judge does not say."""


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict on a pair that it has seen in both orders."""

    points: float
    """1 where the first reply won, 0 where the second did, 1/2 for a tie."""
    consistent: bool | None
    """Both orders named the same reply; None where equal replies were not asked about."""
    silent: bool = False
    """An order named none."""


def judge(
    ask: Ask, chats: Sequence[Chat], first: Sequence[str], second: Sequence[str]
) -> list[Judgement]:
    """Judge pairs of replies, each in both orders; equal replies are ties and not asked about."""
    pairs = list(zip(chats, first, second, strict=True))
    asked = [i for i, (_, x, y) in enumerate(pairs) if x != y]
    # Position bias: judges favour one place, so a pair counts only where both orders agree.
    there = ask([question(*pairs[i]) for i in asked])
    back = ask([question(pairs[i][0], pairs[i][2], pairs[i][1]) for i in asked])
    judgements = [Judgement(0.5, None)] * len(pairs)
    for i, one, other in zip(asked, map(letter, there), map(letter, back), strict=True):
        consistent = (one, other) in (("A", "B"), ("B", "A"))
        points = float(one == "A") if consistent else 0.5
        judgements[i] = Judgement(points, consistent, not (one and other))
    return judgements


def load_judge(config: JudgeConfig, *, device: torch.device) -> Ask:
    """The judge that the settings name.

    A local policy takes the letter that it finds likelier, and gives no verdict on a question that
    exceeds its context, of which it would read the end alone.

    Raises:
        ModelError: no such model.
        EndpointError: raised by the judge when its server fails.
    """
    if config.endpoint is not None:
        server = Endpoint(config.endpoint, config.endpoint.model)
        settings = Settings(temperature=0.0, max_new_tokens=LETTERS, batch_size=1)
        return lambda questions: [r.text for r in server.reply(questions, settings, seed=0)]
    policy = Policy(config.path, device=device)
    letters = [chat_template.completion_ids(policy.tokenizer, name) for name in ("A", "B")]

    def ask(questions: Sequence[Chat]) -> list[str]:
        a, b = (
            kl_and_perplexity.reply_likelihoods(policy, questions, [ids] * len(questions))
            for ids in letters
        )
        room = generation.prompt_room(policy.model, max(map(len, letters)))
        fits = [
            len(chat_template.prompt_ids(policy.tokenizer, asked)) <= room for asked in questions
        ]
        return [
            ("A" if x.plain > y.plain else "B") if whole else ""
            for x, y, whole in zip(a, b, fits, strict=True)
        ]

    return ask
