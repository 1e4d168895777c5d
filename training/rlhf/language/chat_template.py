"""The one place where chats become tokens and tokens become text.

Reward training and reward scoring must see the same tokens: one extra newline after the turn's end
moved a toy reward model's scores by 1.6 and let PPO "improve" without any gain. So both call
`full_ids`, and the policy is prompted with `prompt_ids`, a prefix of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase as Tokenizer

Message = Mapping[str, str]

_PROBE = "reply"

PLAIN = (
    "{%- for message in messages -%}"
    "{{- message['role'] + ':\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] -}}"
    "{%- if loop.last -%}{{- eos_token -}}{%- endif -%}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] -}}{%- endif -%}"
    "{%- if not loop.last or message['role'] != 'assistant' -%}{{- '\n\n' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'assistant:\n' -}}{%- endif -%}"
)
"""A template for models that know no roles. Only the last reply ends with the end token: an
encoder-decoder takes it as the end of everything."""


# Roles that many templates do not know, each with the one that says nearly the same.
STAND_INS = {"developer": "system", "tool": "user", "system": "user"}
_SAID = "said-by-this-role"
_PROBES: dict[str, list[dict[str, str]]] = {
    role: [{"role": role, "content": _SAID}, {"role": "user", "content": "hello"}]
    for role in ("system", "developer")
} | {
    "tool": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": _PROBE},
        {"role": "tool", "content": _SAID},
    ]
}


class NoChatTemplate(ValueError):
    """The tokenizer has no usable chat template: choose an instruction-tuned model, or add one."""


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the tokens of a chat up to where the assistant's reply begins.

    Raises:
        NoChatTemplate: the tokenizer has no chat template.
    """
    ids = tokenizer.encode(_render(tokenizer, messages, reply_next=True), add_special_tokens=False)
    return [int(i) for i in ids]


def full_ids(
    tokenizer: Tokenizer, messages: Sequence[Message], completion: str, *, max_length: int
) -> tuple[list[int], int]:
    """Return the tokens of a chat with its reply and how many were cut to fit `max_length`.

    The prompt loses tokens from its left; only a reply that is too long on its own loses some from
    its right. The first token stays where it is the text's beginning (Llama and Gemma lean on it in
    every layer), and the last is always the turn's end, as the policy would have written it.
    Encoders without a chat template get `[CLS] chat [SEP] reply [SEP]`.

    Raises:
        NoChatTemplate: the tokenizer has neither a chat template nor an encoder's separators.
    """
    if tokenizer.chat_template or tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        head, end = [], turn_end(tokenizer)
        prompt = prompt_ids(tokenizer, messages)
    else:
        head, end = [tokenizer.cls_token_id], tokenizer.sep_token_id
        text = "\n".join(f"{m['role']}: {m['content']}" for m in messages)
        prompt = [*completion_ids(tokenizer, text), end]
    reply = completion_ids(tokenizer, completion)
    kept_reply = reply[: max(0, max_length - len(head) - 1)]
    room = max_length - len(head) - len(kept_reply) - 1
    kept_prompt = prompt[max(0, len(prompt) - room) :]
    if kept_prompt and prompt[0] == tokenizer.bos_token_id and prompt[0] not in kept_prompt:
        kept_prompt[0] = prompt[0]
    cut = len(prompt) - len(kept_prompt) + len(reply) - len(kept_reply)
    return [*head, *kept_prompt, *kept_reply, end], cut


def completion_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of a reply alone; control tokens spelt out in the text stay plain text."""
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return [int(i) for i in ids]


def response_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return sampled tokens as the text that people read and reward models score."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    # Byte-level vocabularies can spell NUL, which PostgreSQL stores in no text.
    return str(text).replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def turn_end(tokenizer: Tokenizer) -> int:
    """Return the token that closes the assistant's turn in this tokenizer's chat template.

    Raises:
        NoChatTemplate: there is no template, or nothing in it ends the assistant's turn.
    """
    if not tokenizer.chat_template:
        raise NoChatTemplate(_missing(tokenizer))
    return _turn_end(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _turn_end(tokenizer: Tokenizer, template: str) -> int:
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": _PROBE}]
    tail = _render(tokenizer, turns, reply_next=False).rpartition(_PROBE)[2]
    special = set(tokenizer.all_special_ids)
    for token in tokenizer.encode(tail, add_special_tokens=False):
        if token in special or token in tokenizer.added_tokens_decoder:
            return int(token)
    raise NoChatTemplate(
        f"the chat template of {tokenizer.name_or_path or 'this tokenizer'} does not end the "
        "assistant's turn with a token, so a policy could never stop"
    )


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, reply_next: bool) -> str:
    if not tokenizer.chat_template:
        raise NoChatTemplate(_missing(tokenizer))
    return _apply(tokenizer, _in_known_roles(tokenizer, messages), reply_next=reply_next)


def _in_known_roles(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[dict[str, str]]:
    """The chat with a stand-in for each role that the template does not know.

    Some templates refuse such a role (Gemma: system), others leave its text out without a word
    (Qwen2.5: developer). What a stand-in says joins a neighbour of the same role, because templates
    that know few roles want them to take turns.
    """
    known: list[dict[str, str]] = []
    stood_in = False
    for message in messages:
        role = message["role"]
        while role in STAND_INS and not _knows(tokenizer, str(tokenizer.chat_template), role):
            role = STAND_INS[role]
        stands_in = role != message["role"]
        if known and known[-1]["role"] == role and (stands_in or stood_in):
            known[-1]["content"] += "\n\n" + message["content"]
        else:
            known.append({**message, "role": role})
        stood_in = stands_in
    return known


@lru_cache(maxsize=64)
def _knows(tokenizer: Tokenizer, template: str, role: str) -> bool:
    try:
        return _SAID in _apply(tokenizer, _PROBES[role], reply_next=False)
    except (TemplateError, TypeError, ValueError):
        return False


def _apply(tokenizer: Tokenizer, messages: Sequence[Message], *, reply_next: bool) -> str:
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=reply_next,
        **switches(tokenizer),
    )
    return str(text)


def switches(tokenizer: Tokenizer) -> dict[str, bool]:
    """The chat template's arguments besides the chat: Qwen3 thinks aloud unless it is told not to;
    other templates must not see an unknown switch."""
    return {"enable_thinking": False} if "enable_thinking" in str(tokenizer.chat_template) else {}


def _missing(tokenizer: Tokenizer) -> str:
    name = tokenizer.name_or_path or "this tokenizer"
    return f"{name} has no chat template: choose an instruction-tuned model, or add a template"
