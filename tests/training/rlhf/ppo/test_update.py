"""One update is read in a few files, and does what they say whatever was done before."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny
from tests.training.rlhf.ppo.test_training_loop import learner, rolled_out
from training.rlhf import ppo
from training.rlhf.ppo.experience import Experience

ROOM = Path(ppo.__path__[0])
UPDATE = ("update.py", "experience.py", "actor_critic.py", "losses_gae_kl.py")
MOST_LINES = 700


def imported_from_the_room(file: str) -> set[str]:
    """The files of the room that a file of it imports."""
    imports = [
        node
        for node in ast.walk(ast.parse((ROOM / file).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    names = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    names |= {str(node.module) for node in imports}
    return {path.name for path in ROOM.glob("*.py") if f"{ppo.__name__}.{path.stem}" in names}


def test_one_update_is_read_in_four_files_and_seven_hundred_lines() -> None:
    reached = {"update.py"}
    while more := {name for file in reached for name in imported_from_the_room(file)} - reached:
        reached |= more
    assert reached == set(UPDATE)
    lines = sum((ROOM / file).read_text("utf-8").count("\n") for file in UPDATE)
    assert lines <= MOST_LINES, f"one update has grown to {lines} lines"


@pytest.mark.usefixtures("one_thread")
def test_a_loss_depends_on_its_rows_alone_and_not_on_what_was_asked_before(tmp_path: Path) -> None:
    subject = learner(tiny.llama(tmp_path / "starter"), epochs=1, minibatch_size=8)
    batch, old, _, readings = rolled_out(subject, 0)
    experience = Experience(batch, old.logprobs, old.values, batch.mask, batch.mask)
    passes = next(subject.rollouts.minibatches(batch, 0, epoch=0))
    parts = [experience.select(rows) for rows in passes]
    given = [subject._loss_terms(*each) for each in zip(parts, readings, strict=True)]
    again = [subject._loss_terms(part, None) for part in reversed(parts)][::-1]
    for one, other in zip(given, again, strict=True):
        assert torch.equal(one.stacked(), other.stacked())
