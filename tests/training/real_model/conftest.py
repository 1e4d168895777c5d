"""Tests on a real chat model, collected only when PAIRLOOP_REAL_MODEL names its folder."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("PAIRLOOP_REAL_MODEL") else ["test_*.py"]
