"""Tiny models and tokenizers, built on the spot: no download, a few hundred kilobytes, seeded.

`llama`, `gpt2`, `smollm2` and `t5` write a whole model folder (weights, tokenizer, template) and
return its path. They differ where real checkpoints do: `gpt2` has absolute positions and transposed
weights, `smollm2` grouped-query attention, tied embeddings and pad == eos.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from training.rlhf.rows import Prompt

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)

CORPUS = [
    "user assistant system\nTell me about the parcel and the invoice.",
    "Thank you for writing. I am sorry that your parcel is late. I will check it today.",
    "What do you want? It is not my problem. Read the manual, please.",
    "hello good great kind happy bad awful rude sad angry yes no maybe",
    "The quick brown fox jumps over the lazy dog 0123456789.",
]


@lru_cache(maxsize=1)
def _backend() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return str(tokenizer.to_str())


def tokenizer(*, pad: str | None = PAD, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML; eos is the turn's end."""
    result = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend()),
        eos_token=END,
        pad_token=pad,
        additional_special_tokens=[START],
        padding_side="left",
    )
    result.chat_template = template
    return result


def llama_model(
    *,
    vocab: int | None = None,
    seed: int = 0,
    hidden: int = 32,
    sharpness: float = 1.0,
    context: int = 256,
) -> LlamaForCausalLM:
    """`sharpness` scales the logits; at 4 a frozen LM head leaves adapters something to choose."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab or len(tokenizer()),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=context,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
        initializer_range=0.1,  # the default leaves a tiny model almost uniform
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(sharpness)
    return model


def gpt2_model(*, seed: int = 0, width: int = 32, positions: int = 256) -> GPT2LMHeadModel:
    """Dropout stays at GPT-2's 0.1: the engine has to switch it off."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer()),
        n_embd=width,
        n_layer=2,
        n_head=2,
        n_positions=positions,
        bos_token_id=2,
        eos_token_id=2,
        initializer_range=0.1,
    )
    return GPT2LMHeadModel(config).eval()


def smollm2_model(*, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        max_position_embeddings=256,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        pad_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.1,
    )
    return LlamaForCausalLM(config).eval()


def t5_model(*, seed: int = 0, tied: bool = True) -> T5ForConditionalGeneration:
    """An encoder-decoder; `tied` as the first T5, which scales its logits, else as Flan-T5."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer()),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="relu" if tied else "gated-gelu",
        tie_word_embeddings=tied,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
        initializer_factor=1.0 if tied else 0.5,
    )
    return T5ForConditionalGeneration(config).eval()


def write(folder: Path, model: PreTrainedModel, words: PreTrainedTokenizerFast) -> Path:
    """Write a model folder; return it."""
    model.save_pretrained(str(folder))
    words.save_pretrained(str(folder))
    return folder


def llama(folder: Path, *, seed: int = 0, hidden: int = 32, sharpness: float = 1.0) -> Path:
    """Write a tiny Llama with separate pad and eos tokens; return its folder."""
    model = llama_model(seed=seed, hidden=hidden, sharpness=sharpness)
    return write(folder, model, tokenizer())


def brief(folder: Path) -> Path:
    """Write a tiny Llama whose replies have 8 tokens on average, because an eighth of all tokens
    end one; return its folder."""
    model, words = llama_model(), tokenizer()
    model.generation_config.eos_token_id = list(range(2, len(words), 8))
    return write(folder, model, words)


def gpt2(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny GPT-2 whose tokenizer has no pad token; return its folder."""
    return write(folder, gpt2_model(seed=seed), tokenizer(pad=None))


def smollm2(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny model of SmolLM2's architecture, pad == eos; return its folder."""
    return write(folder, smollm2_model(seed=seed), tokenizer(pad=END))


def t5(folder: Path, *, seed: int = 0, tied: bool = True) -> Path:
    """Write a tiny T5 whose tokenizer has no chat template; return its folder."""
    return write(folder, t5_model(seed=seed, tied=tied), tokenizer(template=None))


def chats(n: int = 8) -> list[list[dict[str, str]]]:
    """Short chats of different lengths."""
    things = ["parcel", "invoice", "quick brown fox", "manual", "lazy dog and the parcel"]
    return [
        [{"role": "user", "content": f"Tell me about the {things[i % 5]}{' please' * (i % 3)}."}]
        for i in range(n)
    ]


def prompts(n: int = 8) -> list[Prompt]:
    """`chats` as prompts."""
    return [Prompt(prompt_id=f"p{i}", messages=chat) for i, chat in enumerate(chats(n))]
