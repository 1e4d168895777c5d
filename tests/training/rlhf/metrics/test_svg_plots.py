from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rlhf.metrics import svg_plots

RIGHT_EDGE = svg_plots.WIDTH - svg_plots.CURVE_RIGHT


def points(svg: str) -> list[tuple[float, float]]:
    (line,) = re.findall(r'points="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in (each.split(",") for each in line.split())]


def test_a_curve_goes_down_where_its_numbers_do() -> None:
    places = points(svg_plots.curve("Loss", [(1, 3.0), (2, 2.0), (4, 1.0)]))
    assert [y for _, y in places] == sorted(y for _, y in places), "y grows downwards"
    assert places[1][0] - places[0][0] < places[2][0] - places[1][0], "steps are to scale"
    assert (
        places[0][0] == svg_plots.CURVE_LEFT
        and places[-1][0] == svg_plots.WIDTH - svg_plots.CURVE_RIGHT
    )


def test_long_and_short_and_level_runs_are_drawn_inside_the_frame() -> None:
    long = points(svg_plots.curve("Loss", [(i, 1 / (i + 1)) for i in range(10_000)]))
    assert (
        len(long) <= svg_plots.MOST_POINTS + 1
        and long[-1][0] == svg_plots.WIDTH - svg_plots.CURVE_RIGHT
    )
    level = points(svg_plots.curve("Loss", [(1, 2.0), (2, 2.0)]))
    for _, y in [*long, *level]:
        assert svg_plots.CURVE_TOP <= y <= svg_plots.CURVE_HEIGHT - svg_plots.CURVE_BOTTOM
    assert "circle" in svg_plots.curve("Loss", [(5, 1.0)])


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (1, 0.2),
        (0.5, 0.1),
        (10, 2),
        (7, 2),
        (4.9, 1),
        (23, 5),
        (51, 20),
        (0.003, 0.001),
        (5e6, 1e6),
    ],
)
def test_a_step_is_one_two_or_five_times_a_power_of_ten(span: float, step: float) -> None:
    ticks = svg_plots.round_ticks(0.0, span, most=5)
    assert ticks[1] - ticks[0] == pytest.approx(step)


@given(
    low=st.floats(-1e6, 1e6, allow_nan=False),
    span=st.floats(1e-3, 1e6, allow_nan=False),
)
def test_ticks_enclose_the_values_with_two_to_seven_round_numbers(low: float, span: float) -> None:
    high = low + span
    ticks = svg_plots.round_ticks(low, high, most=5)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + step * 1e-6 and ticks[-1] >= high - step * 1e-6
    assert 2 <= len(ticks) <= 7
    assert all(b - a == pytest.approx(step, rel=1e-3) for a, b in pairwise(ticks))


@pytest.mark.parametrize("value", [0.0, 0.75, -3.0, 1200.0])
def test_a_constant_series_gets_room_on_both_sides(value: float) -> None:
    ticks = svg_plots.round_ticks(value, value)
    assert ticks[0] < value < ticks[-1]
