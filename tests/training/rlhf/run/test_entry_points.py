"""The import of what a table names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STAGE = """
import importlib.util

import bitsandbytes

installed = importlib.util.find_spec("bitsandbytes") is not None

def stage():
    print(installed, bitsandbytes.BITS)
"""
PROCESS = """
from training.rlhf.run.entry_points import load_function
stage = load_function("a_stage:stage")
print("found")
stage()
import bitsandbytes
print(bitsandbytes.BITS)
"""


def test_bitsandbytes_is_imported_when_it_is_used_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "a_stage.py").write_text(STAGE)
    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes" / "__init__.py").write_text("print('imported')\nBITS = 4\n")
    assert printed(tmp_path) == ["found", "imported", "True 4", "4"]


def printed(folder: Path) -> list[str]:
    """The lines of a process that finds modules in `folder` first."""
    path = os.pathsep.join([str(folder), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", PROCESS],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()
