"""Functions named as "module:name" in a table, so that listing them imports nothing."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def load_function(entry_point: str) -> Any:
    """Import the function that "module:name" names, and torch with it where its module does."""
    module, name = entry_point.split(":")
    if module not in sys.modules:
        with importing_libraries():
            importlib.import_module(module)
    return getattr(sys.modules[module], name)


@contextmanager
def importing_libraries() -> Iterator[None]:
    """A stretch in which torch, transformers and PEFT are imported in two thirds of the time."""
    with _uncollected(), _deferred("bitsandbytes"):
        yield


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave what is imported out of every later garbage collection.

    Torch and transformers are a million objects that never become garbage. Python walks them
    several times while they are imported, and again whenever a trainer collects by hand.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _deferred(package: str) -> Iterator[None]:
    """Let `import package` wait until something of the package is used, where it is installed.

    PEFT imports bitsandbytes, and torch's compiler with it, for weights in four bits alone.
    """
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None:
        yield
        return
    waiting = sys.modules[package] = _Deferred(package)
    waiting.__spec__ = spec  # by which others see that the package is installed
    waiting.__file__ = spec.origin  # for which torch asks every module
    try:
        yield
    finally:
        if sys.modules.get(package) is waiting:
            del sys.modules[package]  # the next import is an ordinary one


class _Deferred(ModuleType):
    """A package in whose place this module stands until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
