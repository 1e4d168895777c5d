"""Facts about a model folder, read from its files without a training stack.

Nothing in a folder is trusted: it may have come from anywhere. Whether the model works, only a
process that loads it can tell (training.rlhf.serving.model_check). Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

POLICY, REWARD = "policy", "reward"
ADAPTER_TASKS = {"CAUSAL_LM": POLICY, "SEQ_2_SEQ_LM": POLICY, "SEQ_CLS": REWARD}
KINDS = {
    "ForCausalLM": POLICY,
    "LMHeadModel": POLICY,
    "ForConditionalGeneration": POLICY,
    "ForSequenceClassification": REWARD,
}
"""Ends of names of architectures, and the kind of such a model here."""
FORMATS = {
    "GGUF": {".gguf", ".ggml"},
    "pickled weights (.bin)": {".bin", ".pt", ".pth"},
    "ONNX": {".onnx"},
    "TensorFlow weights": {".h5", ".msgpack"},
}
"""Weights that are not read here, by their endings: a pickle can run code, and GGUF and ONNX are
for writing alone."""
ADAPTER = "adapter_config.json"
MOST_BYTES = 256 * 1024 * 1024
"""A larger settings or tokenizer file is none."""


class Unusable(Exception):
    """The folder holds no model that can be used here; the message says why."""


def kind(folder: Path) -> str:
    """Kind of a folder's model: policy or reward.

    Raises:
        Unusable: files are missing or damaged, or it is another kind of model.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise Unusable(f"{folder} holds no tokenizer.")
    if (folder / ADAPTER).is_file():
        return _adapter_kind(folder)
    config = _settings(folder / "config.json")
    if not any(folder.glob("model*.safetensors")):
        held = describe_weights(path.name for path in folder.iterdir())
        raise Unusable(f"{folder} holds no weights as safetensors{held}; no others are read.")
    if own_code := config.get("auto_map"):
        _require_no_code(folder, config, own_code)
    named = list(architectures(config))
    for name in named:
        for ending, model_kind in KINDS.items():
            if name.endswith(ending):
                return model_kind
    what = ", ".join(named) or "no architecture"
    raise Unusable(f"{folder} is neither a policy nor a reward model: config.json names {what}.")


def architectures(config: Mapping[str, Any]) -> Iterator[str]:
    """The architectures that a model's settings name."""
    named = config.get("architectures")
    return (name for name in (named if isinstance(named, list) else []) if isinstance(name, str))


def describe_weights(names: Iterable[str]) -> str:
    """The weights in other formats that a folder or a repository has, after a comma."""
    endings = {PurePosixPath(name).suffix for name in names}
    held = [title for title, marks in FORMATS.items() if endings & marks]
    return f", but {' and '.join(held)}" if held else ""


def _require_no_code(folder: Path, config: Mapping[str, Any], own_code: object) -> None:
    """Raise Unusable for a model that its own Python files define.

    A folder may name such files beside an architecture that transformers has, which is then read.
    """
    named = own_code if isinstance(own_code, dict) else {}
    # Transformers has a class of each of its own model types; a type of the model's own is none.
    if "AutoConfig" in named:
        raise Unusable(
            f"{folder} comes with Python code of its own ({config.get('model_type')}), which is "
            "never run here. Take a model whose architecture transformers has."
        )


def require_below(folder: Path, roots: Sequence[Path]) -> None:
    """Raise Unusable where a file of the folder, or of what it adapts, lies below none of the
    roots once links are resolved: who names a folder must not read the rest of the disk by it.

    Comes before anything else looks at the folder: the sentence is the same whether there is
    something out there or not, so that nobody learns by it what the disk holds.
    """
    seen: set[Path] = set()
    place = folder
    while True:
        seen.add(place)
        for path in (place, *place.iterdir()):
            if not _is_below(path, roots):
                raise Unusable(f"{path.name} in {folder.name} leads out of the offered folders.")
        if not _is_adapter(place):
            return
        named = _settings(place / ADAPTER).get("base_model_name_or_path")
        beside = place / named if isinstance(named, str) and named else place
        if not _is_below(beside, roots):
            raise Unusable(f"{ADAPTER} in {folder.name} leads out of the offered folders.")
        # A name of the hub is looked for beside the adapter, and nowhere else.
        if not beside.is_dir() or (beside := beside.resolve()) in seen:
            raise Unusable(
                f"{place.name} adapts a model that is no folder here: add a whole model."
            )
        place = beside


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, ValueError, RuntimeError):  # links in a circle; a name that is none
        return False
    return any(real.is_relative_to(root) for root in roots)


def folder_of_base(folder: Path) -> Path:
    """The folder at the end of a chain of adapters: the whole model, or the last adapter where
    that adapts a model of a hub. Raises Unusable as `kind`."""
    seen: set[Path] = set()
    while _is_adapter(folder) and folder not in seen:
        seen.add(folder)
        base = _base(folder, _settings(folder / ADAPTER))
        if base is None:
            return folder
        folder = base
    return folder


def _adapter_kind(folder: Path) -> str:
    settings = _settings(folder / ADAPTER)
    if not (folder / "adapter_model.safetensors").is_file():
        raise Unusable(f"{folder} holds no adapter_model.safetensors.")
    base = _base(folder, settings)
    if base is not None and not (base / "config.json").is_file() and not _is_adapter(base):
        raise Unusable(f"{folder} adapts {base}, which is no model folder.")
    task = settings.get("task_type")
    if task not in ADAPTER_TASKS:
        raise Unusable(f"{folder} adapts a model for {task}: neither a policy nor a reward model.")
    return ADAPTER_TASKS[str(task)]


def difference(one: Path, other: Path) -> str:
    """Why one policy cannot go on where the other began; empty when it can.

    A policy is held near the first one token by token, so both need the same tokens, the same size
    of output, and to read a prompt alike.

    Raises:
        Unusable: what has to be compared is missing, or damaged.
    """
    if _tokens(one) != _tokens(other):
        return "its tokenizer has other tokens"
    mine, yours = _model(one), _model(other)
    if mine.get("is_encoder_decoder", False) != yours.get("is_encoder_decoder", False):
        return "one of them is an encoder-decoder"
    if mine.get("vocab_size") != yours.get("vocab_size"):
        return f"their outputs have {mine.get('vocab_size')} and {yours.get('vocab_size')} tokens"
    return ""


def _tokens(folder: Path) -> dict[str, Any]:
    """Every token's id, as far as tokenizer.json gives them: in order where it is a list."""
    tokenizer = _settings(folder / "tokenizer.json")
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # Unigram: [token, log-probability] by id
        vocabulary = {str(entry[0]): id for id, entry in enumerate(vocabulary) if entry}
    if not isinstance(vocabulary, dict):
        raise Unusable(f"{folder / 'tokenizer.json'} lists no tokens.")
    added = [entry for entry in tokenizer.get("added_tokens") or [] if isinstance(entry, dict)]
    return vocabulary | {str(entry.get("content")): entry.get("id") for entry in added}


def _model(folder: Path) -> dict[str, Any]:
    """config.json, of an adapter that of what it adapts."""
    whole = folder_of_base(folder)
    if _is_adapter(whole):
        raise Unusable(f"{whole} adapts a model that is no folder here.")
    return _settings(whole / "config.json")


def _is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def _base(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """The folder that an adapter adapts; None when it is the id of a hub.

    Raises:
        Unusable: it names none, or a folder that is not here.
    """
    named = settings.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise Unusable(f"{folder} does not say which model it adapts.")
    beside = folder / named
    if beside.is_dir():
        return beside.resolve()
    if Path(named).is_absolute() or named.startswith("."):
        raise Unusable(f"{folder} adapts {named}, which is no folder here.")
    return None


def _settings(path: Path) -> dict[str, Any]:
    """A JSON object. Raises Unusable: it is missing, or something else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Unusable(f"{path} is too large.")
        settings = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Unusable(f"{path.parent} holds no readable {path.name}.") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path} is damaged: it holds no JSON.") from error
    if not isinstance(settings, dict):
        raise Unusable(f"{path} is damaged: it holds no settings.")
    return settings
