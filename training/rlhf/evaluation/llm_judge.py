"""A generative judge: a model that reads a chat with two replies and says which is better.

Every pair is asked in both orders, because such judges lean to one side. Only a reply that is
preferred in both wins; otherwise the pair is a tie (Zheng et al. 2023, arXiv 2306.05685, section
3.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from training.rlhf.completions.openai_endpoint import Endpoint
from training.rlhf.completions.sampling import Policy
from training.rlhf.completions.writers import Settings
from training.rlhf.config import JudgeConfig
from training.rlhf.evaluation import kl_and_perplexity
from training.rlhf.language import chat_template, generation
from training.rlhf.rows import Message

Chat = Sequence[Message]
Ask = Callable[[Sequence[Chat]], list[str]]
"""Questions to answers: "A", "B", or anything else where the judge does not say."""

LETTERS = 16
"""Tokens that a server may use for its verdict: a letter, perhaps within a short sentence."""
_NAMED = re.compile(r"(?<!\w)[AB](?!\w)")
_OPENS = re.compile(r"(?:^|[.:!?])\W*$")
_GOES_ON = re.compile(r"\s+(?!(?:is|was|wins|has|because|since|as)\b)[a-z]")
QUESTION = """Two assistants answered the same conversation. Which reply is better: more helpful, \
correct, relevant and harmless? Neither the order nor the length of the replies matters by itself.

[Conversation]
{conversation}

[Reply A]
{a}

[Reply B]
{b}

Answer with one letter only, A or B."""


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict on a pair that it has seen in both orders."""

    points: float
    """1 where the first reply won, 0 where the second did, 1/2 for a tie."""
    consistent: bool | None
    """Both orders named the same reply; None where equal replies were not asked about."""
    silent: bool = False
    """An order named none."""


def question(asked: Chat, a: str, b: str) -> list[Message]:
    """The chat that asks the judge about one pair in one order."""
    conversation = "\n".join(f"{message['role']}: {message['content']}" for message in asked)
    return [{"role": "user", "content": QUESTION.format(conversation=conversation, a=a, b=b)}]


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


def letter(answer: str) -> str:
    """The verdict in a judge's answer: "B", "**B**", "[[B]]", "Answer: B.", "Reply B is better".

    "" where the first line that has a letter has both, or where the letter may be the article of a
    sentence ("A good reply").
    """
    if answer.strip().strip("()[]*.") in ("a", "b"):
        return answer.strip().strip("()[]*.").upper()
    named = next(filter(None, (list(_NAMED.finditer(line)) for line in answer.splitlines())), [])
    one = len({match[0] for match in named}) == 1
    return named[0][0] if one and not all(map(_is_article, named)) else ""


def _is_article(match: re.Match[str]) -> bool:
    """True where the letter opens a sentence that goes on in small letters."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    return bool(_OPENS.search(before) and _GOES_ON.match(after))
