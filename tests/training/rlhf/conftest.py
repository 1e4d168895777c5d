"""What tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from training.rlhf.run.device import fix_threads


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit for bit."""
    before = torch.get_num_threads()
    fix_threads(1)
    yield
    torch.set_num_threads(before)
