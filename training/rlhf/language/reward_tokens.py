"""Chats with replies as the tokens of a reward model: the same in training and in scoring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.language import chat_template
from training.rlhf.language.chat_template import Message
from training.rlhf.run.failures import ModelError


@dataclass(frozen=True)
class Text:
    """A chat with a reply as tokens; the last `reply` of them are the reply and its end."""

    ids: list[int]
    reply: int
    cut: int
    """Tokens lost to the maximum length."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens before the reply: equal for replies to one chat that lost equally much."""
        return tuple(self.ids[: len(self.ids) - self.reply])


class Reader:
    """Turns chats with replies into tokens.

    Args:
        single_end: the end token may stand at the end only. T5's classifier refuses batches in
            which it is not equally frequent, and people may write it into a chat.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, single_end: bool = False) -> None:
        self.tokenizer, self.max_length, self.single_end = tokenizer, max_length, single_end

    def __call__(self, messages: Sequence[Message], text: str) -> Text:
        ids, cut = chat_template.full_ids(
            self.tokenizer, messages, text, max_length=self.max_length
        )
        if self.single_end:
            ids = [*(i for i in ids[:-1] if i != ids[-1]), ids[-1]]
        reply = min(len(chat_template.completion_ids(self.tokenizer, text)) + 1, len(ids))
        return Text(ids, reply, cut)


def with_template(tokenizer: Tokenizer) -> Tokenizer:
    """Give a decoder's tokenizer that has no chat template the plain one.

    Base models such as GPT-2, GPT-Neo and T5 know no roles, and any clear writing down of the
    turns serves their reward models. Encoders keep their own: chat and reply as two segments.

    Raises:
        ModelError: no end token either, so nothing could end a reply.
    """
    segments = tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None
    if tokenizer.chat_template or segments:
        return tokenizer
    if tokenizer.eos_token_id is None:
        name = tokenizer.name_or_path or "this tokenizer"
        raise ModelError(f"{name} has neither a chat template nor an end token to end replies with")
    tokenizer.chat_template = chat_template.PLAIN
    return tokenizer


def order(texts: Sequence[Text]) -> list[int]:
    """Places of the texts with replies to one prompt together, and similar lengths together.

    By the longest text of each prompt: among short ones a single long reply would have all of its
    batch padded to it.
    """
    prompts = [text.prompt for text in texts]
    longest: dict[tuple[int, ...], int] = {}
    for prompt, text in zip(prompts, texts, strict=True):
        longest[prompt] = max(longest.get(prompt, 0), len(text.ids))
    return sorted(
        range(len(texts)),
        key=lambda i: (longest[prompts[i]], prompts[i], len(texts[i].ids), i),
    )


def batches(texts: Sequence[Text], *, size: int, tokens: int) -> list[list[int]]:
    """Places of the texts in their `order`, in batches of at most `size` texts and of at most
    `tokens` tokens with padding (or of one text)."""
    groups: list[list[int]] = []
    widest = 0
    for i in order(texts):
        widest = max(widest, len(texts[i].ids))
        if not groups or len(groups[-1]) == size or widest * (len(groups[-1]) + 1) > tokens:
            groups.append([])
            widest = len(texts[i].ids)
        groups[-1].append(i)
    return groups


def cells(texts: Iterable[Text]) -> int:
    """Tokens that a forward pass over these texts reads when replies share their prompts."""
    texts = list(texts)
    prompts = {text.prompt for text in texts}
    return sum(map(len, prompts)) + sum(text.reply for text in texts)
