"""A folder of models that any other program loads: whole weights, tokenizer, a card with the code.

Torch-free unless adapters have to be merged: whole models are linked, not written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from training.rlhf.config.config_file import require
from training.rlhf.evaluation.metrics_markdown import metrics_table
from training.rlhf.run.hard_links import link_folder

POLICY_CARD = """# {name}

A policy (`{architecture}`): it answers chats.

```python
from transformers import {kind}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = {kind}.from_pretrained("{name}")
chat = [{{"role": "user", "content": "Where is my parcel?"}}]
inputs = tokenizer.apply_chat_template(
    chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
written = model.generate(
    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=64
)
reply = tokenizer.decode(written[0]{start}, skip_special_tokens=True)
```
"""
REWARD_CARD = """# {name}

A reward model (`{architecture}`): it scores a chat with a reply; the difference of two scores is
the logit of preferring the first.{plain}

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForSequenceClassification.from_pretrained("{name}")
prompt, reply = "Where is my parcel?", "I will check it today."
{read}
score = model(**inputs).logits[0, 0].item()
```
"""
READ_SEGMENTS = 'inputs = tokenizer(f"user: {prompt}", reply, return_tensors="pt")'
READ_CHAT = """chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
text = tokenizer.apply_chat_template(chat, tokenize=False).rstrip()
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")"""
OTHER_POOLING = (
    " It was trained with pooling `{pooling}`: load it with"
    " `training.rlhf.reward.reward_model.load`; plain transformers would read the last token and"
    " give other scores."
)
ENSEMBLE = (
    " Its score is the pessimistic mean of {heads} heads: load it with"
    " `training.rlhf.reward.reward_model.load`; plain transformers gives their mean alone."
)


def save_parts(parts: Mapping[str, str], out: Path) -> dict[str, float]:
    """Write every part to a folder of its name in `out`; return how many there are.

    Args:
        parts: folders of policies or reward models, whole or adapters, by the name of the part.

    Raises:
        ConfigError: a part that is no folder of a model, or does not say of which.
        ModelError: an adapter that cannot be merged into its base.
    """
    for name, folder in parts.items():
        source, target = Path(folder), out / name
        adapter = (source / "adapter_config.json").is_file()
        require(
            adapter or (source / "config.json").is_file(),
            f"parts.{name}: there is no model in {folder}",
        )
        if adapter:
            _merge(source, target)
        else:
            link_folder(source, target)
        card = target / "README.md"
        card.unlink(missing_ok=True)  # a linked file: writing into it would change the source's
        card.write_text(_card(name, target) + _made(source), "utf-8")
    return {"parts": float(len(parts))}


def _merge(adapter: Path, out: Path) -> None:
    from training.rlhf.language import pretrained

    pretrained.save_model(pretrained.load_causal(adapter), pretrained.load_tokenizer(adapter), out)


def _card(name: str, folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (architecture, *_) = config.get("architectures") or [""]
    require(
        bool(architecture),
        f"parts.{name}: config.json names no architectures, so no program knows what to load",
    )
    if not architecture.endswith("ForSequenceClassification"):
        seq2seq = config.get("is_encoder_decoder", False)
        kind = "AutoModelForSeq2SeqLM" if seq2seq else "AutoModelForCausalLM"
        start = "" if seq2seq else '[inputs["input_ids"].shape[1] :]'
        return POLICY_CARD.format(name=name, architecture=architecture, kind=kind, start=start)
    pooling = config.get("reward_pooling", "last")
    plain = "" if pooling in ("last", "own") else OTHER_POOLING.format(pooling=pooling)
    heads = config.get("reward_heads", 1)
    plain += ENSEMBLE.format(heads=heads) if heads > 1 else ""
    read = READ_CHAT if _has_template(folder) else READ_SEGMENTS
    return REWARD_CARD.format(name=name, architecture=architecture, plain=plain, read=read)


def _made(source: Path) -> str:
    """The command that made the model and its metrics, where the folder around it tells."""
    file = source.parent / "meta.json"
    if not file.is_file():
        return ""
    meta = json.loads(file.read_text("utf-8"))
    command = meta.get("recipe", {}).get("command") or meta.get("stage")
    if not (command and meta.get("metrics")):
        return ""  # another program's file
    return "\n".join([f"\nMade by `{command}`:\n", *metrics_table({"value": meta["metrics"]}), ""])


def _has_template(folder: Path) -> bool:
    """Encoders read chat and reply as two segments instead."""
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    return (folder / "chat_template.jinja").is_file() or bool(settings.get("chat_template"))
