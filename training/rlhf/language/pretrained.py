"""Models and tokenizers from disk and back, always from safetensors and never with remote code.

A model folder is either a Hugging Face folder or a PEFT adapter folder. An adapter names its base,
and the base may itself be an adapter folder: loading merges them from the bottom up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import rows
from training.rlhf.language import chat_template
from training.rlhf.language.lora_adapters import ADAPTER_SETTINGS, adapter_base, merge_saved
from training.rlhf.language.quantisation import quantisation, without_packing
from training.rlhf.run.failures import ModelError

UNUSED_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|endoftext|>", "<|finetune_right_pad_id|>")
"""Tokens that can pad without meaning anything, in order of preference."""


def load_tokenizer(path: str | Path, *, revision: str | None = None) -> Tokenizer:
    """Load a tokenizer that pads on the left; a missing pad token prefers an unused one to eos.

    Encoder-decoders, which know no roles, get the plain chat template when they have none.
    """
    require_folder(path)
    with loading(path, "a tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(path), revision=revision, trust_remote_code=False, padding_side="left"
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        vocabulary = tokenizer.get_vocab()
        unused = [t for t in UNUSED_PADS if t in vocabulary and t != tokenizer.eos_token]
        tokenizer.pad_token = unused[0] if unused else tokenizer.eos_token
    if not tokenizer.chat_template and is_encoder_decoder(path, revision=revision):
        tokenizer.chat_template = chat_template.PLAIN
    return tokenizer


def is_encoder_decoder(path: str | Path, *, revision: str | None = None) -> bool:
    """True where a model (or the base of an adapter) reads with an encoder, as T5 does."""
    return bool(getattr(_config(path, revision), "is_encoder_decoder", False))


def _config(path: str | Path, revision: str | None = None) -> PreTrainedConfig | None:
    """Of a model or of an adapter's base. None for a tokenizer without a model, or no model at all:
    loading it will say so."""
    base = adapter_base(path)
    if base is not None:
        return _config(base)
    try:
        return AutoConfig.from_pretrained(str(path), revision=revision, trust_remote_code=False)
    except (OSError, ValueError):
        return None


def context(model: str | Path | PreTrainedModel) -> int:
    """Tokens that a model, loaded or in a folder, reads at once; a million where its positions are
    relative and set no limit."""
    config = _config(model) if isinstance(model, str | Path) else model.config
    return int(getattr(config, "max_position_embeddings", None) or 1_000_000)


def load_causal(
    path: str | Path,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    revision: str | None = None,
    quantise: str = "none",
) -> PreTrainedModel:
    """Load a language model that writes, in evaluation mode: a causal one or an encoder-decoder.
    Adapters are merged into their base.

    Args:
        path: a Hugging Face folder, a PEFT adapter folder or a hub id.
        revision: commit or tag of a hub id.
        quantise: `int8` or `nf4` keep the weights, frozen, in 8 or 4 bits.

    Raises:
        ModelError: nothing to load there, an adapter without its base, or no bitsandbytes.
    """
    base = adapter_base(path)
    if base is not None:
        trunk = load_causal(base, dtype=dtype, device=device)
        return merge_saved(trunk, path).eval()
    _check_folder(path)
    seq2seq = is_encoder_decoder(path, revision=revision)
    kind = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    with loading(path, "a policy"):
        model = kind.from_pretrained(
            str(path),
            revision=revision,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            quantization_config=quantisation(quantise, keep=("lm_head",)),
        )
    if quantise != "none":
        without_packing(model)
        return model.eval()  # bitsandbytes has put it where it belongs
    return model.to(device).eval()  # dropout off: sampler, trainer and reference read alike


@contextmanager
def loading(path: str | Path, kind: str) -> Iterator[None]:
    """Turn what the libraries raise over an unusable model into ModelError, in one line because
    logs are read by their last."""
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        text = " ".join(str(error).split())[:400]
        if isinstance(error, SafetensorError):
            text = f"its weights are damaged ({text}): copy or download it again"
        elif not Path(path).is_dir():
            text = f"it is no folder here, and not in reach as a hub id; name a folder ({text})"
        raise ModelError(f"{path} cannot be loaded as {kind}: {text}") from error


def _check_folder(path: str | Path) -> None:
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").exists():
        raise ModelError(f"{folder} holds no model: config.json is missing")
    require_folder(path)


def require_folder(path: str | Path) -> None:
    """Raise ModelError for a path that does not exist: it would be looked for on the hub."""
    folder = Path(path)
    if not folder.is_dir() and (folder.is_absolute() or str(path).startswith(".")):
        raise ModelError(f"there is no model folder {folder}")


def digest(path: str | Path) -> str:
    """A hash of the weights and settings in a model folder; of a hub id, its name.

    Of an adapter's base it takes the content as well, and not the path, which differs by machine.
    """
    content = hashlib.sha256(b"" if Path(path).is_dir() else str(path).encode())
    base = adapter_base(path)
    if base is not None:
        content.update(digest(base).encode())
        settings = json.loads((Path(path) / ADAPTER_SETTINGS).read_text("utf-8"))
        settings.pop("base_model_name_or_path")
        content.update(json.dumps(settings, sort_keys=True).encode())
    for file in sorted(Path(path).glob("*.safetensors")) + sorted(Path(path).glob("*.json")):
        if file.name != ADAPTER_SETTINGS:
            content.update(f"{file.name} {rows.sha256(file)}\n".encode())
    return content.hexdigest()


def without_dropout(model: nn.Module) -> None:
    """Switch every dropout off for good, so that training mode computes what evaluation does."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
            continue
        for name in ("attention_dropout", "activation_dropout", "dropout"):  # the last: T5, BART
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def stop_token_ids(model: PreTrainedModel, tokenizer: Tokenizer) -> list[int]:
    """Return every token that ends a reply, sorted: those of the generation config (often more
    than one), the tokenizer's eos, and the turn end of its chat template (which some base models
    declare nowhere else and would never stop on)."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    stops = set(configured if isinstance(configured, list) else [configured])
    stops.add(tokenizer.eos_token_id)
    if tokenizer.chat_template:
        stops.add(chat_template.turn_end(tokenizer))
    return sorted(stop for stop in stops if stop is not None)


def save_model(
    model: PreTrainedModel | PeftModel,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write a Hugging Face folder (a PEFT folder for an adapter) and the tokenizer beside it.

    Args:
        weights: all of the model's, where the model itself holds a part of them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        # Without this PEFT asks the hub whether the base's vocabulary has grown.
        model.save_pretrained(
            str(folder),
            save_embedding_layers=False,
            selected_adapters=["default"],
            state_dict=weights,
        )
    else:
        model.generation_config.eos_token_id = stop_token_ids(model, tokenizer)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        # `transformers serve` takes the likeliest token, whatever the temperature, unless told.
        model.generation_config.do_sample = True
        model.save_pretrained(str(folder), state_dict=weights)
    tokenizer.save_pretrained(str(folder))
