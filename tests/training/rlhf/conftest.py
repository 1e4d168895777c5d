"""What tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from training.rlhf.language import pretrained


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit for bit."""
    before = torch.get_num_threads()
    pretrained.fix_threads(1)
    yield
    torch.set_num_threads(before)
