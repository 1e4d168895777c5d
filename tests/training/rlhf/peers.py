"""Commands of the engine one after another, in every process that a launcher starts:
`torchrun --nproc_per_node 2 -m tests.training.rlhf.peers FOLDER OUT NAME...` runs FOLDER/NAME.json
into FOLDER/OUT/NAME/result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from training.rlhf.__main__ import main
from training.rlhf.run.run_directory import DONE


def shortness(chats: list[Any], replies: list[str]) -> list[float]:
    """A score that needs no model."""
    return [-0.1 * len(reply) for reply in replies]


def run(folder: Path, out: str, names: list[str]) -> None:
    for name in names:
        result = folder / out / name / "result"
        code = main([name, "--config", str(folder / f"{name}.json"), "--out", str(result)])
        assert code == DONE, f"{name} ended with {code}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
