"""Models and tokenizers from disk and back, always from safetensors and never with remote code.

A model folder is either a Hugging Face folder or a PEFT adapter folder. An adapter names its base,
and the base may itself be an adapter folder: loading merges them from the bottom up.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TaskType, get_peft_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import rows
from training.rlhf.config import LoraConfig
from training.rlhf.language import chat_template
from training.rlhf.run.failures import ModelError

UNUSED_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|endoftext|>", "<|finetune_right_pad_id|>")
"""Tokens that can pad without meaning anything, in order of preference."""


ADAPTER_SETTINGS = "adapter_config.json"
PACKS = "support_avx512bf16_for_cpu"
"""What bitsandbytes' 4-bit layers call that they may pack their weights."""


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
    """Whether a model (or the base of an adapter) reads with an encoder, as T5 does."""
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
        merged = attach_adapter(trunk, path).merge_and_unload()
        return merged.requires_grad_(True).eval()  # PEFT leaves the trunk frozen
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


def quantisation(kind: str, *, keep: Sequence[str]) -> BitsAndBytesConfig | None:
    """How transformers is to load weights, all but the layers in `keep`; None for `none`.

    Raises:
        ModelError: bitsandbytes is not installed.
    """
    if kind == "none":
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantise {kind} needs bitsandbytes: pip install -r requirements-extras.txt"
        )
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(keep))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=list(keep),
    )


def without_packing(model: nn.Module) -> None:
    """Keep 4-bit weights as they are on a CPU with AVX512-BF16.

    There bitsandbytes packs them anew when it first reads in evaluation mode, for speed: packed
    weights pass no gradients on, and are taken for unpacked ones when they are dequantised (0.50).
    """
    for module in model.modules():
        if hasattr(module, PACKS):
            setattr(module, PACKS, False)


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
    """A path that does not exist would be looked for on the hub."""
    folder = Path(path)
    if not folder.is_dir() and (folder.is_absolute() or str(path).startswith(".")):
        raise ModelError(f"there is no model folder {folder}")


def adapter_base(path: str | Path) -> str | None:
    """Return the base that an adapter folder names, or None when the folder is no adapter.

    Raises:
        ModelError: the adapter was saved without its base or not as safetensors.
    """
    folder = Path(path)
    if not (folder / ADAPTER_SETTINGS).exists():
        return None
    if not (folder / "adapter_model.safetensors").exists():
        raise ModelError(f"{folder} holds no adapter_model.safetensors")
    base = json.loads((folder / ADAPTER_SETTINGS).read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{folder} does not say which model it adapts")
    beside = folder / base
    return str(beside.resolve()) if beside.is_dir() else str(base)


def attach_adapter(
    trunk: PreTrainedModel, path: str | Path, *, name: str = "default", trainable: bool = False
) -> PeftModel:
    """Put a saved adapter on a loaded trunk without merging it."""
    return PeftModel.from_pretrained(trunk, str(path), adapter_name=name, is_trainable=trainable)


def new_adapter(trunk: PreTrainedModel, config: LoraConfig, *, base: str | Path) -> PeftModel:
    """Put a new trainable LoRA adapter (a no-op until trained) on a trunk that came from `base`.

    Draws from torch's global generator: seed it first.
    """
    target: Any = config.target_modules
    adapter = PeftLoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=target if isinstance(target, str) else list(target),
        task_type=TaskType.SEQ_2_SEQ_LM if trunk.config.is_encoder_decoder else TaskType.CAUSAL_LM,
        fan_in_fan_out=_has_conv1d(trunk),
    )
    model = get_peft_model(trunk, adapter)
    model.peft_config["default"].base_model_name_or_path = stable_path(base)
    return model


def _has_conv1d(model: nn.Module) -> bool:
    """GPT-2 keeps its weights transposed; PEFT only warns when it is not told."""
    return any(type(module).__name__ == "Conv1D" for module in model.modules())


def digest(path: str | Path) -> str:
    """A hash of the weights and settings in a model folder; of a hub id, its name.

    Of an adapter's base it takes the content as well, and not the path, which differs by machine.
    """
    found = hashlib.sha256(b"" if Path(path).is_dir() else str(path).encode())
    base = adapter_base(path)
    if base is not None:
        found.update(digest(base).encode())
        settings = json.loads((Path(path) / ADAPTER_SETTINGS).read_text("utf-8"))
        settings.pop("base_model_name_or_path")
        found.update(json.dumps(settings, sort_keys=True).encode())
    for file in sorted(Path(path).glob("*.safetensors")) + sorted(Path(path).glob("*.json")):
        if file.name != ADAPTER_SETTINGS:
            found.update(f"{file.name} {rows.sha256(file)}\n".encode())
    return found.hexdigest()


def stable_path(path: str | Path) -> str:
    """Return a local folder as an absolute path and leave a hub id as it is."""
    return str(Path(path).resolve()) if Path(path).is_dir() else str(path)


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
