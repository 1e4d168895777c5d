"""A pytest plugin that keeps the failures of a run in the file named by PAIRLOOP_FAILURES.

`python -m tests` runs several commands and prints these last, so that the end of a long log says
what failed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LONGEST = 6_000
"""Characters of one failure that are kept, from its end: the statement and its values."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    path = os.environ.get("PAIRLOOP_FAILURES")
    if not path:
        return
    failed = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    if not failed:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        file.writelines(map(told, failed))


def told(report: pytest.TestReport) -> str:
    """The test, the part of it that failed, and the end of its traceback."""
    return f"\n{report.nodeid} ({report.when})\n{report.longreprtext[-LONGEST:]}\n"
