"""The models of all phases of a recipe before the first one trains.

Configuration, tokenizer and the layers of adapters; no weights are read: a model is built by its
configuration alone, without memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.rlhf.config import ConfigError, LoraConfig, PolicyJob, RewardJob, SFTJob
from training.rlhf.config.policy_optimisers import OPTIMISERS
from training.rlhf.data import input_fingerprints
from training.rlhf.pipeline.recipe import Phase
from training.rlhf.run.failures import ModelError


@dataclass(frozen=True)
class Checked:
    """A model of a phase, and what was seen of it: `problem` is empty where all is well."""

    phase: str
    model: str
    told: str
    problem: str = ""


def check_models(phases: Sequence[Phase], out: Path) -> list[Checked]:
    """Look at every model that a phase loads; those that phases make are like what they came from.

    Raises:
        ConfigError: a model cannot be loaded as its phase needs it; the message names all.
    """
    seen = [one for phase in phases for one in _of_phase(phase, phases, out)]
    problems = [f"phase {one.phase}: {one.problem}" for one in seen if one.problem]
    if problems:
        raise ConfigError("; ".join(problems))
    return seen


def _of_phase(phase: Phase, phases: Sequence[Phase], out: Path) -> Iterator[Checked]:
    lora = _lora(phase)
    for name, path in _models(phase).items():
        base = _base(path, phases, out)
        if not base:
            told = "made from scratch by an earlier phase"
            yield Checked(phase.name, path, told)
            continue
        trained = lora if name in ("model", "starter", "policy") else None
        try:
            yield Checked(phase.name, base, _look(base, trained))
        except ModelError as error:
            yield Checked(phase.name, base, "", str(error))


def _models(phase: Phase) -> dict[str, str]:
    """The models that a phase reads, by the setting that names each."""
    files = set(input_fingerprints.files(phase.config))
    sources = input_fingerprints.sources(phase.config)
    return {name: path for name, path in sources.items() if name not in files}


def _base(path: str, phases: Sequence[Phase], out: Path) -> str:
    """The model outside of the recipe that this one is made from; "" where there is none."""
    made_by = {phase.name: phase for phase in phases}
    for _ in phases:
        place = Path(path)
        if not place.is_relative_to(out):
            break
        phase = made_by.get(place.relative_to(out).parts[0])
        config: Any = phase.config if phase else None
        if isinstance(config, SFTJob):
            path = config.sft.model.path
        else:
            path = str(getattr(config, "policy", "") or getattr(config, "starter", ""))
        if not path:
            return ""
    return path


def _lora(phase: Phase) -> LoraConfig | None:
    config = phase.config
    if isinstance(config, SFTJob):
        return config.sft.model.lora
    if isinstance(config, RewardJob):
        return config.reward.lora
    if isinstance(config, PolicyJob):
        lora: LoraConfig | None = getattr(config, OPTIMISERS[phase.command].settings).lora
        return lora
    return None


def _look(path: str, lora: LoraConfig | None) -> str:
    """Load configuration and tokenizer, and find the layers that adapters go on.

    Raises:
        ModelError: one of them is missing or unusable.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    from training.rlhf.language import lora_adapters, pretrained

    tokenizer = pretrained.load_tokenizer(path)
    with pretrained.loading(path, "a model"):
        base = lora_adapters.adapter_base(path) or path
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModel.from_config(config)
    told = f"{config.model_type}, {len(tokenizer):,} tokens"
    if lora is None:
        return told
    chosen = lora_adapters.targets(model, lora)
    named = "all linear layers" if isinstance(chosen, str) else ", ".join(chosen)
    if isinstance(chosen, list) and (missing := lora_adapters.missing_targets(model, chosen)):
        named += f" (it has no {', '.join(missing)})"
    elif isinstance(chosen, str) and not isinstance(lora.target_modules, str):
        named += f" (it has no {', '.join(lora.target_modules)})"
    return f"{told}, adapters on {named}"


def lines(seen: Sequence[Checked]) -> list[str]:
    """The report, a line for each model of each phase."""
    told: Mapping[str, None] = dict.fromkeys(
        f"{one.phase}: {one.model}: {one.told}" for one in seen
    )
    return list(told)
