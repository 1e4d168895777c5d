from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from training.rlhf.run.device import resolve_device
from training.rlhf.run.failures import ModelError

PAGE_FAULTS = """
import resource
import torch
from training.rlhf.run.device import keep_freed_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [torch.ones(2**22) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
page_faults(), page_faults()  # the first ones find room between other things, and grow the heap
print(page_faults())
"""
"""Of using 128 MiB once more, in a process that has nothing else to free."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_was_freed_is_used_again_without_asking_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, check=True)
    assert int(done.stdout) < 2**15 / 2  # half of its pages


def test_a_gpu_that_is_not_there_is_an_error_and_auto_takes_what_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="no usable GPU"):
        resolve_device("cuda")
