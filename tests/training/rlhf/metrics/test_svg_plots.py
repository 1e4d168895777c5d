from __future__ import annotations

import re

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
