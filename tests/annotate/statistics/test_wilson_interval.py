from __future__ import annotations

import pytest

from annotate.statistics.wilson_interval import wilson


def test_wilson_equals_the_published_example() -> None:
    # 15 of 20: Newcombe (1998) gives 0.531 to 0.888.
    assert wilson(15, 20) == pytest.approx((0.5313, 0.8881), abs=1e-3)
    assert wilson(0, 0) is None
