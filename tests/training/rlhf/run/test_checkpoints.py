from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest
import torch

from training.rlhf.run import checkpoints


def put(folder: Path, step: int) -> Path:
    tensors = {"weight": torch.full((3,), float(step))}
    return checkpoints.save(folder, step, tensors, {"step": step, "rng": torch.get_rng_state()})


def test_it_returns_what_was_saved(tmp_path):
    weight = torch.nn.Parameter(torch.randn(4, 4))
    state = {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": 0.1}, "names": ["a"]}
    checkpoints.save(tmp_path, 7, {"weight": weight, "turned": weight.T}, state)
    saved = checkpoints.latest(tmp_path)
    assert saved is not None
    assert saved.step == 7
    assert torch.equal(saved.tensors["weight"], weight)
    assert torch.equal(saved.tensors["turned"], weight.T)
    assert saved.state["names"] == ["a"]
    assert torch.equal(saved.state["optimizer"]["state"][0]["exp_avg"], torch.ones(2))


def test_there_is_none_in_a_missing_or_empty_folder(tmp_path):
    assert checkpoints.latest(tmp_path / "nowhere") is None
    assert checkpoints.latest(tmp_path) is None


def test_it_keeps_the_newest_two(tmp_path):
    for step in (2, 9, 10, 11):
        put(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000011"]


def test_saving_a_step_again_replaces_it(tmp_path):
    put(tmp_path, 3)
    checkpoints.save(tmp_path, 3, {"weight": torch.zeros(1)}, {"again": True})
    saved = checkpoints.latest(tmp_path)
    assert saved is not None
    assert saved.state == {"again": True}


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, name, damage):
    put(tmp_path, 1)
    victim = put(tmp_path, 2) / name
    data = bytearray(victim.read_bytes())
    if damage == "remove":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data)
    saved = checkpoints.latest(tmp_path)
    assert saved is not None
    assert saved.step == 1


def test_a_pickle_with_code_in_it_is_never_run(tmp_path):
    target = put(tmp_path, 1)
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save({"bomb": Bomb()}, target / "state.pt")
    manifest = json.loads((target / "manifest.json").read_text())
    bomb = (target / "state.pt").read_bytes()
    manifest["sha256"]["state.pt"] = hashlib.sha256(bomb).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.latest(tmp_path)
    assert not marker.exists()


def save_and_die(folder, write):
    """Save two checkpoints, and be killed at a write of the second."""
    checkpoints.save(folder, 1, {"weight": torch.ones(3)}, {"step": 1})
    real, calls = os.fsync, itertools.count(1)

    def fsync(descriptor):
        if next(calls) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync
    checkpoints.save(folder, 2, {"weight": torch.zeros(3)}, {"step": 2})


@pytest.mark.parametrize(("write", "survivor"), [(1, 1), (3, 1), (5, 2)])
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path, write, survivor):
    """Writes 1 to 4 are files and folder before the rename, 5 is the folder above after it."""
    # A fork has torch already.
    process = multiprocessing.get_context("fork").Process(
        target=save_and_die, args=(tmp_path, write)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    saved = checkpoints.latest(tmp_path)
    assert saved is not None
    assert saved.step == survivor
    put(tmp_path, 3)  # and the folder is still usable
    after = checkpoints.latest(tmp_path)
    assert after is not None
    assert after.step == 3
