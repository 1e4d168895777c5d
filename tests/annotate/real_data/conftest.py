"""Tests on public data sets, collected only when PAIRLOOP_DATA names their folder."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("PAIRLOOP_DATA") else ["test_*.py"]
