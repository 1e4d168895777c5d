"""Functions named as "module:name" in a table, so that listing them imports nothing."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any


def load_function(entry_point: str) -> Any:
    """Import the function that "module:name" names, and torch with it where its module does."""
    module, name = entry_point.split(":")
    if module not in sys.modules:
        _import_uncollected(module)
    return getattr(importlib.import_module(module), name)


def _import_uncollected(module: str) -> None:
    """Import a module, and leave what it brings out of every later garbage collection.

    Torch and transformers are a million objects that never become garbage. Python walks them
    several times while they are imported, and again whenever a trainer collects by hand.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module(module)
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
