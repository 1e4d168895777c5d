"""A pytest plugin that prints the tests that take most, in CPU seconds.

A busy machine stretches the time on the clock most; CPU seconds can be compared. Processes that a
test started count when it has waited for their end.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator

import pytest

LISTED = 20


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


class Meter:
    """What was spent from one report to the next."""

    last = spent()

    def read(self) -> float:
        before, self.last = self.last, spent()
        return self.last - before


METER = Meter()


def pytest_collection_finish() -> None:
    METER.read()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    report.cpu = METER.read()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: dict[tuple[str, str], tuple[float, float]] = {}
    rooms: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "cpu"):
                seconds[report.nodeid, report.when] = report.cpu, report.duration
    for (name, _), (cpu, _) in seconds.items():
        rooms[name.partition("::")[0].rpartition("/")[0]] += cpu
    terminalreporter.section(f"{sum(rooms.values()):.0f} CPU seconds in tests")
    for room, cpu in sorted(rooms.items(), key=lambda item: -item[1])[:LISTED]:
        terminalreporter.write_line(f"{cpu:7.1f} s {room}")
    terminalreporter.write_line("    CPU   clock")
    for (name, when), (cpu, clock) in sorted(seconds.items(), key=lambda item: -item[1][0])[
        :LISTED
    ]:
        terminalreporter.write_line(f"{cpu:7.1f} {clock:7.1f} s {when:8} {name}")
