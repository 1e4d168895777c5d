"""Errors of the engine as one sentence for people: the cause, and what to do about it.

Torch-free, so errors of libraries and of modules that import torch are known by their names.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator


class Diverged(RuntimeError):
    """Losses, gradients or scores are no longer finite. The last good checkpoint is kept."""


class ModelError(ValueError):
    """A model folder is missing, incomplete or of a kind that cannot be trained here."""


class OutOfMemory(RuntimeError):
    """Memory ran out; the message says what to lower. The last good checkpoint is kept."""


PLAIN = {
    "ConfigError",
    "Diverged",
    "EndpointError",
    "HubError",
    "ModelError",
    "NoChatTemplate",
    "OutOfMemory",
    "RowError",
    "Unusable",
}
"""Our own errors, whose message says everything."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The disk, a quota, or the limit of a file's size."""

UNWRITTEN = re.compile(r"\(os error (28|122|27)\)|PytorchStreamWriter|inline_container.*unexpected")
"""Words of safetensors and torch.save, which hide the errno, for a file that was not written."""

EXHAUSTED = re.compile(
    r"(?i)out of memory|can't allocate|bad allocation|cannot allocate memory|STATUS_ALLOC_FAILED"
)
"""Words of CUDA, torch's allocator on a CPU, C++, the system and cuBLAS for memory run out."""


def sentence(error: BaseException) -> str | None:
    """The message for an error that is no fault of the program; None for any other."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & PLAIN:
        return str(error)
    if any(map(_is_full, _chain(error))):
        return (
            "no room to write: the disk is full, or a quota or file size limit is reached. Free "
            "some space and try again; it goes on from the last whole checkpoint"
        )
    if is_out_of_memory(error):
        text = " ".join(str(error).split())[:300]
        return f"out of memory: lower the batch size or the maximum length ({text})"
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("training"):
        return f"{error.name} is not installed: pip install -r requirements-engine.txt"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """True where there was too little memory, of the machine or of a GPU."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"MemoryError", "OutOfMemoryError"}:
        return True
    return "RuntimeError" in kinds and bool(EXHAUSTED.search(str(error)))


def describe(error: BaseException) -> str:
    """The sentence for people, or else the error as Python names it."""
    return sentence(error) or f"{type(error).__name__}: {error}"


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    return bool(UNWRITTEN.search(str(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those it was raised from or in."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
