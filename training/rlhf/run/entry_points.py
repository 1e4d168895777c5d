"""Functions named as "module:name" in a table, so that listing them imports nothing."""

from __future__ import annotations

import importlib
from typing import Any


def load_function(entry_point: str) -> Any:
    """Import the function that "module:name" names, and torch with it where its module does."""
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)
