"""Commands of the engine one after another, in every process that a launcher starts:
`torchrun --nproc_per_node 2 -m tests.training.rlhf.peers FOLDER OUT NAME...` runs FOLDER/NAME.json
into FOLDER/OUT/NAME/result; `rank` does the same in a process that was forked."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from training.rlhf.__main__ import main
from training.rlhf.run.run_directory import DONE


def shortness(chats: list[Any], replies: list[str]) -> list[float]:
    """A score that needs no model."""
    return [-0.1 * len(reply) for reply in replies]


def forked(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A new process that has computed nothing yet, but need not import everything first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.rlhf.pipeline.stage_functions"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def rank(number: int, port: int, folder: Path, out: str, names: list[str]) -> None:
    """Be one of two processes, told of the other as by torchrun; write to FOLDER/rank-N.txt."""
    with (folder / f"rank-{number}.txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    run(folder, out, names)


def run(folder: Path, out: str, names: list[str]) -> None:
    for name in names:
        result = folder / out / name / "result"
        code = main([name, "--config", str(folder / f"{name}.json"), "--out", str(result)])
        assert code == DONE, f"{name} ended with {code}"


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
