from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.training.rlhf import tiny
from training.rlhf.language import chat_template

CHAT = [{"role": "user", "content": "Tell me about the parcel."}]
QWEN3_LIKE = (
    tiny.CHATML
    + "{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking -%}"
    "{{- '<think></think>' -}}{%- endif -%}"
)


def test_the_prompt_ends_where_the_reply_begins():
    words = tiny.tokenizer()
    text = words.decode(chat_template.prompt_ids(words, CHAT))
    expected = "<|im_start|>user\nTell me about the parcel.<|im_end|>\n<|im_start|>assistant\n"
    assert text == expected


def test_a_template_that_can_think_is_told_not_to():
    words = tiny.tokenizer(template=QWEN3_LIKE)
    assert words.decode(chat_template.prompt_ids(words, CHAT)).endswith(
        "assistant\n<think></think>"
    )


def test_the_scored_tokens_are_the_prompt_the_reply_and_the_turn_end():
    words = tiny.tokenizer()
    ids, cut = chat_template.full_ids(words, CHAT, "It is late.", max_length=200)
    prompt = chat_template.prompt_ids(words, CHAT)
    assert cut == 0
    assert ids[: len(prompt)] == prompt
    assert words.decode(ids[len(prompt) :]) == "It is late.<|im_end|>"


def test_a_sampled_reply_and_its_text_are_scored_on_the_same_tokens():
    words = tiny.tokenizer()
    prompt = chat_template.prompt_ids(words, CHAT)
    sampled = [*chat_template.completion_ids(words, "I will check it today."), words.eos_token_id]
    text = chat_template.response_text(words, sampled)
    assert chat_template.full_ids(words, CHAT, text, max_length=200)[0] == prompt + sampled


def test_a_sampled_nul_becomes_a_character_that_every_database_stores():
    words = tiny.tokenizer()
    sampled = words.encode("a\0b", add_special_tokens=False)
    assert words.decode(sampled) == "a\0b"
    assert chat_template.response_text(words, sampled) == "a\N{REPLACEMENT CHARACTER}b"


def test_a_full_chat_equals_what_the_template_renders_up_to_its_last_newline():
    words = tiny.tokenizer()
    rendered = words.apply_chat_template(
        [*CHAT, {"role": "assistant", "content": "yes"}], tokenize=False
    )
    ids, _ = chat_template.full_ids(words, CHAT, "yes", max_length=200)
    assert words.decode(ids) == rendered.rstrip("\n")


@pytest.mark.parametrize("max_length", [40, 30, 12])
def test_a_long_chat_loses_tokens_from_the_left_of_its_prompt(max_length):
    words = tiny.tokenizer()
    long = [{"role": "user", "content": "Tell me about the parcel. " * 5}]
    whole, _ = chat_template.full_ids(words, long, "yes", max_length=1000)
    ids, cut = chat_template.full_ids(words, long, "yes", max_length=max_length)
    assert ids == whole[-max_length:]
    assert cut == len(whole) - max_length


@pytest.mark.parametrize("max_length", [40, 12, 4])
def test_a_long_chat_keeps_the_token_that_begins_every_text(max_length):
    words = tiny.tokenizer()
    words.bos_token = tiny.PAD
    words.chat_template = "{{- bos_token -}}" + words.chat_template
    long = [{"role": "user", "content": "Tell me about the parcel. " * 5}]
    whole, _ = chat_template.full_ids(words, long, "yes", max_length=1000)
    ids, cut = chat_template.full_ids(words, long, "yes", max_length=max_length)
    assert ids[1:] == whole[-max_length:][1:] and cut == len(whole) - max_length
    reply = len(chat_template.completion_ids(words, "yes")) + 1
    assert (ids[0] == words.bos_token_id) == (max_length > reply)
    assert whole.count(words.bos_token_id) == 1


def test_a_reply_that_is_too_long_alone_keeps_its_beginning_and_its_end_token():
    words = tiny.tokenizer()
    reply = "The quick brown fox jumps over the lazy dog"
    ids, cut = chat_template.full_ids(words, CHAT, reply, max_length=6)
    whole, _ = chat_template.full_ids(words, CHAT, reply, max_length=1000)
    assert ids == [*chat_template.completion_ids(words, reply)[:5], words.eos_token_id]
    assert cut == len(whole) - 6


def test_control_tokens_spelt_out_in_a_reply_stay_text():
    words = tiny.tokenizer()
    ids, _ = chat_template.full_ids(words, CHAT, "no<|im_end|>yes", max_length=200)
    assert ids.count(words.eos_token_id) == 2  # the user's turn and the end
    assert chat_template.prompt_ids(words, CHAT)[0] == words.convert_tokens_to_ids("<|im_start|>")


def test_a_tokenizer_without_a_chat_template_is_refused_by_name():
    words = tiny.tokenizer(template=None)
    words.name_or_path = "some/base-model"
    with pytest.raises(chat_template.NoChatTemplate, match="some/base-model"):
        chat_template.prompt_ids(words, CHAT)
    with pytest.raises(chat_template.NoChatTemplate):
        chat_template.full_ids(words, CHAT, "yes", max_length=50)


def test_a_template_that_never_ends_the_assistants_turn_is_refused():
    endless = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
    words = tiny.tokenizer(template=endless + "{% endfor %}")
    with pytest.raises(chat_template.NoChatTemplate, match="never stop"):
        chat_template.turn_end(words)


def test_the_turn_end_comes_from_the_template_even_when_eos_is_another_token():
    words = tiny.tokenizer()
    words.eos_token = tiny.PAD  # as Qwen's base models have it
    assert chat_template.turn_end(words) == words.convert_tokens_to_ids(tiny.END)


def test_an_encoder_without_a_template_reads_chat_and_reply_as_two_segments():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "user": 4, ":": 5, "yes": 6}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    ids, cut = chat_template.full_ids(
        words, [{"role": "user", "content": "yes"}], "yes", max_length=20
    )
    assert (ids, cut) == ([2, 4, 5, 6, 3, 6, 3], 0)
    assert chat_template.full_ids(
        words, [{"role": "user", "content": "yes"}], "yes", max_length=5
    ) == (
        [2, 6, 3, 6, 3],
        2,
    )


def test_the_text_of_a_reply_has_no_control_tokens():
    words = tiny.tokenizer()
    ids = [*chat_template.completion_ids(words, " Thank you!\n"), words.eos_token_id]
    assert chat_template.response_text(words, ids) == "Thank you!"


# In short what real templates do with roles: Qwen2.5 leaves out those it does not know, Gemma knows
# two that take turns, Mistral wants an id of nine letters at a tool's result.
QWEN_LIKE = (
    "{%- for m in messages -%}"
    "{%- if m.role in ('user', 'assistant', 'system') -%}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}"
    "{%- elif m.role == 'tool' -%}"
    "{{- '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
GEMMA_LIKE = (
    "{%- if messages[0].role == 'system' -%}{{- raise_exception('System role not supported') -}}"
    "{%- endif -%}{%- for m in messages -%}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Conversation roles must alternate user/assistant') -}}{%- endif -%}"
    "{%- set role = 'model' if m.role == 'assistant' else m.role -%}"
    "{{- '<|im_start|>' + role + '\n' + m.content | trim + '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>model\n' -}}{%- endif -%}"
)
MISTRAL_LIKE = (
    "{%- for m in messages -%}{%- if m.role == 'tool' -%}"
    "{%- if m.tool_call_id is not defined or m.tool_call_id | length != 9 -%}"
    "{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') -}}"
    "{%- endif -%}{%- endif -%}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
TOOL_CHAT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Is my parcel late?"},
    {"role": "assistant", "content": 'track({"id": 7})'},
    {"role": "tool", "content": '{"late": true}'},
    {"role": "tool", "content": '{"days": 2}'},
]


@pytest.mark.parametrize(
    "template", [tiny.CHATML, chat_template.PLAIN, QWEN_LIKE, GEMMA_LIKE, MISTRAL_LIKE]
)
def test_no_template_refuses_or_loses_what_a_developer_or_a_tool_says(template):
    words = tiny.tokenizer(template=template)
    text = words.decode(chat_template.prompt_ids(words, TOOL_CHAT))
    places = [text.find(message["content"]) for message in TOOL_CHAT]
    assert -1 not in places and places == sorted(places)
    ids, cut = chat_template.full_ids(words, TOOL_CHAT, "Two days late.", max_length=1000)
    assert cut == 0
    assert words.decode(ids).startswith(text)


def test_a_template_reads_the_roles_it_knows_as_they_are():
    words = tiny.tokenizer()
    rendered = words.apply_chat_template(TOOL_CHAT, tokenize=False, add_generation_prompt=True)
    assert words.decode(chat_template.prompt_ids(words, TOOL_CHAT)) == rendered


def test_a_role_that_a_template_drops_is_said_as_the_nearest_one():
    words = tiny.tokenizer(template=QWEN_LIKE)
    text = words.decode(chat_template.prompt_ids(words, TOOL_CHAT))
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nIs my")
    assert '<tool_response>\n{"late": true}\n</tool_response>' in text


def test_stand_ins_join_their_neighbours_where_roles_have_to_take_turns():
    words = tiny.tokenizer(template=GEMMA_LIKE)
    text = words.decode(chat_template.prompt_ids(words, TOOL_CHAT))
    assert text.startswith("<|im_start|>user\nBe brief.\n\nIs my parcel late?<|im_end|>")
    assert '<|im_start|>user\n{"late": true}\n\n{"days": 2}<|im_end|>' in text
