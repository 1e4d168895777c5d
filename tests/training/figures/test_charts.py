from __future__ import annotations

import itertools
import math

import pytest

from training.figures import charts
from training.figures.charts import Point, Series


def chart(*points: Point, **options: object) -> charts.Chart:
    drawn = charts.line_chart(
        id="c",
        title="Reward",
        x_label="PPO update",
        y_label="Mean reward",
        series=[Series(name="reward", points=points)],
        **options,  # type: ignore[arg-type]
    )
    assert drawn is not None
    return drawn


def at(x: float, y: float | None) -> Point:
    return Point(x=x, y=y)


def test_ticks_of_counts_are_whole_numbers() -> None:
    points = [Point(x=x, y=float(x)) for x in (1, 2, 3)]
    chart = charts.line_chart(
        id="c", title="t", x_label="Round", y_label="y", series=[Series(name="s", points=points)]
    )
    assert chart is not None
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (0.2, 0.2, "0.2"),
        (1.0, 0.2, "1.0"),
        (3, 1, "3"),
        (12000, 2000, "12,000"),
        (-0.05, 0.05, "\N{MINUS SIGN}0.05"),
        (-1e-17, 0.1, "0.0"),
        (0.003, 0.001, "0.003"),
    ],
)
def test_a_label_has_the_decimals_of_its_step(value: float, step: float, text: str) -> None:
    assert charts.label(value, step) == text


def test_the_scale_maps_ends_to_ends_and_the_middle_to_the_middle() -> None:
    assert charts.scale(2, 2, 4, start=200, end=10) == 200
    assert charts.scale(4, 2, 4, start=200, end=10) == 10
    assert charts.scale(3, 2, 4, start=200, end=10) == 105


def test_higher_values_are_drawn_higher_and_inside_the_frame() -> None:
    drawn = chart(at(1, 0.1), at(2, 0.9))
    low, high = drawn.lines[0].dots
    assert low.x < high.x and low.y > high.y
    for dot in (low, high):
        assert drawn.left <= dot.x <= drawn.right and drawn.top <= dot.y <= drawn.bottom


def test_a_missing_value_leaves_a_gap() -> None:
    drawn = chart(at(1, 1.0), at(2, 2.0), at(3, None), at(4, 2.0), at(5, 1.0))
    path = drawn.lines[0].path
    assert path.count("M") == 2 and path.count("L") == 2
    assert len(drawn.lines[0].dots) == 4
    assert drawn.rows[3] == ("3", "\N{EN DASH}")


def test_a_value_between_two_gaps_keeps_its_dot_in_a_long_series() -> None:
    values = [1.0] * 60
    points = [at(i, v) for i, v in enumerate(values)]
    points[30:33] = [at(30, None), at(31, 5.0), at(32, None)]
    assert [dot.text for dot in chart(*points).lines[0].dots] == ["reward, 31: 5"]


def test_a_long_series_has_no_dots() -> None:
    assert chart(*[at(i, float(i)) for i in range(200)]).lines[0].dots == ()


def test_one_point_is_a_dot_in_the_middle() -> None:
    drawn = chart(at(3, 0.8))
    (dot,) = drawn.lines[0].dots
    assert drawn.lines[0].path == ""
    assert dot.x == pytest.approx((drawn.left + drawn.right) / 2)
    assert [tick.label for tick in drawn.x_ticks] == ["3"]
    assert drawn.summary == "reward: 0.800 at PPO update 3."


def test_an_interval_is_a_closed_band_around_the_line() -> None:
    drawn = chart(Point(x=1, y=0.5, low=0.4, high=0.6), Point(x=2, y=0.7, low=0.6, high=0.8))
    band = drawn.lines[0].band
    assert band.startswith("M") and band.endswith("Z") and band.count("L") == 3
    assert drawn.rows[1] == ("1", "0.500 (0.400 to 0.600)")


def test_an_interval_around_one_point_is_a_bar() -> None:
    band = chart(Point(x=1, y=0.5, low=0.4, high=0.6)).lines[0].band
    assert band.count("H") == 2 and band.count("V") == 1


def test_intervals_count_for_the_range_of_the_axis() -> None:
    drawn = chart(Point(x=1, y=0.5, low=0.1, high=0.9), Point(x=2, y=0.5, low=0.1, high=0.9))
    assert drawn.y_ticks[0].label == "0.0" and drawn.y_ticks[-1].label == "1.0"


def test_a_reference_line_is_always_in_sight() -> None:
    drawn = chart(at(1, 10.0), at(2, 12.0), reference=40.0)
    assert drawn.reference is not None
    assert drawn.top <= drawn.reference <= min(dot.y for dot in drawn.lines[0].dots)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Point(x=1, y=value)
    with pytest.raises(ValueError, match="finite"):
        Point(x=value, y=1)


def test_a_place_on_the_x_axis_is_needed() -> None:
    with pytest.raises(ValueError, match="place on the x axis"):
        Point(x=None, y=1.0)  # type: ignore[arg-type]


def test_half_an_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="two ends"):
        Point(x=1, y=1.0, low=0.5)


def test_nothing_to_show_is_no_chart() -> None:
    empty = [Series(name="a", points=[]), Series(name="b", points=[at(1, None)])]
    drawn = charts.line_chart(id="c", title="T", x_label="x", y_label="y", series=empty)
    assert drawn is None


def test_two_series_share_the_axes_and_the_table() -> None:
    drawn = charts.line_chart(
        id="c",
        title="Accuracy",
        x_label="Round",
        y_label="Share",
        series=[
            Series(name="model", points=[at(1, 0.6), at(2, 0.7)]),
            Series(name="judge", points=[at(2, 0.65)]),
        ],
        y_range=(0.5, 1.0),
    )
    assert drawn is not None
    assert [line.number for line in drawn.lines] == [1, 2]
    assert drawn.rows == (
        ("Round", "model", "judge"),
        ("1", "0.600", "\N{EN DASH}"),
        ("2", "0.700", "0.650"),
    )


def test_a_single_line_ends_with_its_value_and_several_with_their_names() -> None:
    alone = chart(at(1, 0.1), at(2, 0.9), at(3, None))
    assert [line.label.text for line in alone.lines] == ["0.900"]
    assert alone.lines[0].label.x == alone.lines[0].dots[-1].x
    assert alone.lines[0].label.y < alone.bottom


def test_the_names_of_lines_that_meet_stand_below_each_other_inside_the_frame() -> None:
    for end in (0.0, 0.5, 1.0):
        series = [Series(name=name, points=[at(1, 0.2), at(2, end)]) for name in "abc"]
        drawn = charts.line_chart(
            id="c", title="t", x_label="Round", y_label="y", series=series, y_range=(0, 1)
        )
        assert drawn is not None
        assert [line.label.text for line in drawn.lines] == ["a", "b", "c"]
        places = sorted(line.label.y for line in drawn.lines)
        assert min(b - a for a, b in itertools.pairwise(places)) >= charts.LABEL_HEIGHT - 0.01
        assert drawn.top < places[0] and places[-1] < drawn.bottom


def test_a_long_name_at_a_single_round_stays_inside_the_frame_and_above_its_point() -> None:
    names = ("Model, against the policy before", "People")
    series = [
        Series(name=name, points=[at(1, y)]) for name, y in zip(names, (0.5, 0.6), strict=True)
    ]
    drawn = charts.line_chart(
        id="c", title="t", x_label="Round", y_label="y", series=series, y_range=(0, 1)
    )
    assert drawn is not None
    model, people = (line.label for line in drawn.lines)
    assert drawn.left + 6 * len(model.text) < model.x <= drawn.right
    assert people.y < model.y < drawn.lines[1].dots[0].y
