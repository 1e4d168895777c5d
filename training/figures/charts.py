"""Line charts as geometry: pure functions from numbers to what `training/chart.html` draws.

Coordinates are those of the SVG's viewBox. Colours are CSS classes, so that both colour
schemes and a strict Content-Security-Policy hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.figures.number_format import figure
from training.rlhf.metrics.svg_plots import round_ticks

WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 8, 10, 40
LABEL_HEIGHT = 13
DOTS_UP_TO = 40
"""With more points than this a dot on each would hide the line."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement; `y` None is a missing value and leaves a gap in the line."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.x is None:
            raise ValueError("a chart needs a place on the x axis for every value")
        for value in (self.x, self.y, self.low, self.high):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"a chart needs finite numbers, not {value}")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A named line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Dot:
    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series in viewBox coordinates; `number` (from 1) chooses its colour and dash."""

    number: int
    name: str
    label: Dot
    """The words at the line's end: where it has come to, and of several lines its name."""
    path: str
    band: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything the template needs; `rows` are the same data for the table behind."""

    id: str
    title: str
    summary: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    rows: tuple[tuple[str, ...], ...]
    reference: float | None = None

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2


def label(value: float, step: float) -> str:
    """A tick's text with exactly the decimals its step needs; a true minus sign."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def scale(value: float, low: float, high: float, *, start: float, end: float) -> float:
    """Map [low, high] to [start, end]; SVG's y axis points down, so `end` may be below `start`."""
    return round(start + (value - low) / (high - low) * (end - start), 2)


def line_chart(
    *,
    id: str,
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    reference: float | None = None,
    y_range: tuple[float, float] | None = None,
    whole_x: bool = True,
) -> Chart | None:
    """Lay out a chart; None when there is not a single value to show.

    Args:
        id: unique on its page; the title and the description refer to it.
        x_label, y_label: with their units.
        reference: a horizontal line, for example a gate's bound.
        y_range: shown at least, for example (0, 1) of a share.
        whole_x: False where x is measured; rounds and updates are counted.
    """
    shown = [s for s in series if any(p.y is not None for p in s.points)]
    if not shown:
        return None
    xs = [p.x for s in shown for p in s.points]
    ys = [v for s in shown for p in s.points for v in (p.y, p.low, p.high) if v is not None]
    ys += [*(y_range or ()), *([] if reference is None else [reference])]
    x_ticks, y_ticks = _x_ticks(xs, whole=whole_x), round_ticks(min(ys), max(ys), most=5)
    x_step = 1 if whole_x or len(x_ticks) < 2 else x_ticks[1] - x_ticks[0]
    frame = _Frame(x=_x_span(xs), y=(y_ticks[0], y_ticks[-1]))
    y_step = y_ticks[1] - y_ticks[0]
    labels = _labels(shown, frame)
    return Chart(
        id=id,
        title=title,
        summary=" ".join(_summary(s, x_label) for s in shown),
        x_label=x_label,
        y_label=y_label,
        x_ticks=tuple(Tick(at=frame.at_x(v), label=label(v, x_step)) for v in x_ticks),
        y_ticks=tuple(Tick(at=frame.at_y(v), label=label(v, y_step)) for v in y_ticks),
        lines=tuple(_line(s, i, frame, labels[i - 1]) for i, s in enumerate(shown, start=1)),
        rows=_rows(shown, x_label),
        reference=None if reference is None else frame.at_y(reference),
    )


@dataclass(frozen=True)
class _Frame:
    x: tuple[float, float]
    y: tuple[float, float]

    def at_x(self, value: float) -> float:
        return scale(value, *self.x, start=LEFT + 6, end=WIDTH - RIGHT - 6)

    def at_y(self, value: float) -> float:
        return scale(value, *self.y, start=HEIGHT - BOTTOM, end=TOP)


def _x_span(xs: Sequence[float]) -> tuple[float, float]:
    """The data's own span: rounds and updates are counts, so no space is lost to rounding."""
    low, high = min(xs), max(xs)
    return (low, high) if high > low else (low - 1, high + 1)


def _x_ticks(xs: Sequence[float], *, whole: bool) -> list[float]:
    low, high = min(xs), max(xs)
    if low == high:
        return [low]
    # Rounds and updates are counts: no more ticks than whole numbers.
    most = min(6, max(1, int(high - low))) if whole else 5
    return [v for v in round_ticks(low, high, most=most) if low <= v <= high]


def _labels(series: Sequence[Series], frame: _Frame) -> list[Dot]:
    """A label for each line, above its last point; where several meet, below each other."""
    ends = [next(p for p in reversed(s.points) if p.y is not None) for s in series]
    texts = [figure(p.y) if len(series) == 1 else s.name for s, p in zip(series, ends, strict=True)]
    tops = [frame.at_y(p.y or 0.0) for p in ends]
    places = [top - 7 for top in tops]
    if len({p.x for s in series for p in s.points}) == 1:
        # No line: all of them stand above the highest point and its interval.
        highest = min(frame.at_y(p.high or p.y or 0.0) for p in ends)
        places = [highest - 7 - LABEL_HEIGHT * (len(ends) - 1)] * len(ends)
    least = TOP + LABEL_HEIGHT - 4.0
    for one in sorted(range(len(ends)), key=tops.__getitem__):
        places[one] = max(places[one], least)
        least = places[one] + LABEL_HEIGHT
    # The last may have been pushed out of the frame: all of them go up by as much.
    over = max(0.0, max(places) - (HEIGHT - BOTTOM - 4))
    return [
        Dot(x=_end(frame.at_x(p.x), text), y=round(y - over, 2), text=text)
        for p, y, text in zip(ends, places, texts, strict=True)
    ]


def _end(x: float, text: str) -> float:
    """The right end of a label, moved to where it does not begin left of the frame."""
    return min(max(x, LEFT + LABEL_HEIGHT / 2 * len(text)), WIDTH - RIGHT)


def _line(series: Series, number: int, frame: _Frame, label: Dot) -> Line:
    placed = [p for p in series.points if p.y is not None]
    alone = _alone(series.points)
    few = len(placed) <= DOTS_UP_TO
    return Line(
        number=number,
        name=series.name,
        label=label,
        path=" ".join(_stroke(run, frame) for run in runs(series.points) if len(run) > 1),
        band=" ".join(_band(run, frame) for run in runs(series.points, interval=True)),
        dots=tuple(
            Dot(
                x=frame.at_x(p.x),
                y=frame.at_y(p.y),
                text=f"{series.name}, {figure(p.x)}: {figure(p.y)}{_interval(p)}",
            )
            for p in placed
            # A point between two gaps has no line; without a dot it would vanish.
            if p.y is not None and (few or p.x in alone)
        ),
    )


def runs(points: Sequence[Point], *, interval: bool = False) -> list[list[Point]]:
    """Cut a series at its missing values (with `interval`: where there is no interval)."""
    pieces: list[list[Point]] = [[]]
    for point in points:
        if point.y is None or (interval and point.low is None):
            pieces.append([])
        else:
            pieces[-1].append(point)
    return [piece for piece in pieces if piece]


def _alone(points: Sequence[Point]) -> set[float]:
    return {run[0].x for run in runs(points) if len(run) == 1}


def _stroke(run: Sequence[Point], frame: _Frame) -> str:
    return "M" + " L".join(f"{frame.at_x(p.x)} {frame.at_y(p.y or 0.0)}" for p in run)


def _band(run: Sequence[Point], frame: _Frame) -> str:
    """A closed area between the interval's ends; around a single point a narrow bar."""
    if len(run) == 1:
        x, low, high = frame.at_x(run[0].x), run[0].low or 0.0, run[0].high or 0.0
        return f"M{x - 3} {frame.at_y(low)} H{x + 3} V{frame.at_y(high)} H{x - 3} Z"
    upper = [f"{frame.at_x(p.x)} {frame.at_y(p.high or 0.0)}" for p in run]
    lower = [f"{frame.at_x(p.x)} {frame.at_y(p.low or 0.0)}" for p in reversed(run)]
    return "M" + " L".join(upper + lower) + " Z"


def _interval(point: Point) -> str:
    if point.low is None:
        return ""
    return f" ({figure(point.low)} to {figure(point.high)})"


def _summary(series: Series, x_label: str) -> str:
    """One sentence for people who hear the chart instead of seeing it."""
    placed = [p for p in series.points if p.y is not None]
    first, last = placed[0], placed[-1]
    if len(placed) == 1:
        return f"{series.name}: {figure(first.y)} at {x_label} {figure(first.x)}."
    return (
        f"{series.name}: from {figure(first.y)} at {x_label} {figure(first.x)} "
        f"to {figure(last.y)} at {figure(last.x)}."
    )


def _rows(series: Sequence[Series], x_label: str) -> tuple[tuple[str, ...], ...]:
    """The table behind: a header, then one row per place on the x axis."""
    values = [{p.x: p for p in s.points} for s in series]
    header = (x_label, *(s.name for s in series))
    body = []
    for x in sorted({x for points in values for x in points}):
        cells = (points.get(x) for points in values)
        shown = [figure(p.y) + _interval(p) if p else figure(None) for p in cells]
        body.append((figure(x), *shown))
    return (header, *body)
