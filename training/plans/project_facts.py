"""The model and the texts of a project, by which its defaults are chosen."""

from __future__ import annotations

import functools
from pathlib import Path

from annotate import exchange
from training.models import ModelVersion
from training.rlhf.config import ModelFacts, TextFacts, read_facts

CHARACTERS = 3.5
"""Of a token, in most languages written with an alphabet: four in English, fewer in others."""


def model_facts(project: exchange.Project) -> ModelFacts | None:
    """Size and shape of the project's first policy; None without one, or where it is not here."""
    starter = ModelVersion.objects.filter(project=project).policies().filter(number=0).first()
    if starter is None:
        return None
    config = Path(starter.location) / "config.json"
    return _facts(starter.location, config.stat().st_mtime_ns if config.is_file() else 0)


@functools.lru_cache(maxsize=64)
def _facts(location: str, changed: int) -> ModelFacts | None:
    return read_facts(location)


def text_facts(project: exchange.Project) -> TextFacts:
    """Lengths of the project's texts, in tokens."""
    prompt, reply = exchange.text_lengths(project)
    return TextFacts(prompt=round(prompt / CHARACTERS), reply=round(reply / CHARACTERS))
