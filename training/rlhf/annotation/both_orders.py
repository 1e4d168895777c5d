"""Questions to a judge about two replies, and the reading of its answers.

Judges lean to one side, so every pair is asked in both orders, and a verdict is one that both give
(Zheng et al. 2023, arXiv 2306.05685, section 3.4). Torch-free.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.rlhf.rows import Message

Chat = Sequence[Message]

LETTERS = 16
"""Tokens that a server may use for its verdict: a letter, perhaps within a short sentence."""
_NAMED = re.compile(r"(?<!\w)[AB](?!\w)")
_OPENS = re.compile(r"(?:^|[.:!?])\W*$")
_GOES_ON = re.compile(r"\s+(?!(?:is|was|wins|has|because|since|as)\b)[a-z]")
USUAL = "more helpful, correct, relevant and harmless"
QUESTION = """Two assistants answered the same conversation. Which reply is better{standard}? \
Neither the order nor the length of the replies matters by itself.
{principles}
[Conversation]
{conversation}

[Reply A]
{a}

[Reply B]
{b}

Answer with one letter only, A or B."""


def question(asked: Chat, a: str, b: str, *, principles: str = "") -> list[Message]:
    """The chat that asks the judge about one pair in one order.

    Args:
        principles: the standards of a constitution (Bai et al. 2022, arXiv 2212.08073); without,
            the better reply is the more helpful, correct, relevant and harmless one.
    """
    conversation = "\n".join(f"{message['role']}: {message['content']}" for message in asked)
    content = QUESTION.format(
        standard=" by the principles below" if principles else f": {USUAL}",
        principles=f"\n[Principles]\n{principles.strip()}\n" if principles else "",
        conversation=conversation,
        a=a,
        b=b,
    )
    return [{"role": "user", "content": content}]


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
