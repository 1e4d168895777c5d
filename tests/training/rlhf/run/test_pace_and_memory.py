from __future__ import annotations

import pytest

from training.rlhf.run import pace_and_memory
from training.rlhf.run.pace_and_memory import Pace


def clock(*times: float):  # type: ignore[no-untyped-def]
    return iter(times).__next__


def test_the_time_that_is_left_follows_from_the_steps_that_were_done() -> None:
    pace = Pace(clock(0, 0, 10, 20))
    assert pace.told(0, 10) == ""
    assert pace.told(1, 10) == "10.0 s a step, about 2 min left"
    assert pace.told(2, 10) == "10.0 s a step, about 1 min left"


def test_a_resumed_work_counts_its_own_steps_alone() -> None:
    pace = Pace(clock(0, 100, 700))
    assert pace.told(50, 100) == "", "what came before took a time that nobody knows"
    assert pace.told(51, 100) == "600.0 s a step, about 8.2 h left"


@pytest.mark.parametrize(("done", "total"), [(1, 1), (0, 5)])
def test_nothing_is_said_of_what_is_over_or_has_not_begun(done: int, total: int) -> None:
    pace = Pace(clock(0, 0, 60))
    pace.told(0, total)
    assert pace.told(done, total) == ""


def test_the_peak_of_memory_is_that_of_the_time_since_it_was_forgotten() -> None:
    pace_and_memory.forget_peak()
    before = pace_and_memory.peak_memory()["peak_gib"]
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert pace_and_memory.peak_memory()["peak_gib"] >= before + 0.05
    del held
    pace_and_memory.forget_peak()
    assert pace_and_memory.peak_memory()["peak_gib"] < before + 0.05
