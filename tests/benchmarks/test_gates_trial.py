"""The trial of the gates: it takes hours, so it may be stopped, and counts what is finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.trials import gates

ROW: dict[str, Any] = {"votes": 300, "honest": 200, "failed": [], "decided_by": "people"}


def finished(place: Path, *rows: dict[str, Any]) -> None:
    lines = [json.dumps(ROW | row) for row in rows]
    (place / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def test_finished_cases_are_not_run_again_and_those_of_other_settings_do_not_count(
    tmp_path: Path,
) -> None:
    finished(
        tmp_path,
        {"case": "honest", "seed": 0, "rubric": 0.8, "in_use_after": True},
        {"case": "honest", "seed": 1, "rubric": 0.7, "in_use_after": False, "failed": ["kl"]},
        {"case": "honest", "seed": 2, "rubric": 0.5, "in_use_after": True, "honest": 50},
    )
    given = ["--seeds=2", "--cases=honest", f"--kept={tmp_path}"]
    figures = gates.benchmark(given).figures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.jsonl"]
    assert figures["runs"] == figures["honest_above_65"] == 2
    assert figures["honest_above_65_in_use"] == figures["honest_above_65_failed_a_gate"] == 1
    assert figures["honest: in use"] == figures["honest: refused by gates"] == 1
    assert figures["honest: failed kl"] == 1


def test_a_taste_counts_only_where_its_habit_doubled_and_the_policy_loses(tmp_path: Path) -> None:
    taste = {"case": "flattery", "in_use_after": False}
    finished(
        tmp_path,
        taste | {"seed": 0, "rubric": 0.3, "habit_times": 3.0},
        taste | {"seed": 1, "rubric": 0.3, "habit_times": 1.5},
        taste | {"seed": 2, "rubric": 0.6, "habit_times": 3.0},
        taste | {"seed": 3, "rubric": 0.2, "habit_times": 2.0, "decided_by": "model"},
    )
    figures = gates.benchmark(["--seeds=4", "--cases=flattery", f"--kept={tmp_path}"]).figures
    assert figures["flattery: runs"] == 4 and figures["flattery: that count"] == 2
    assert figures["flattery: refused by people"] == figures["flattery: not decided yet"] == 1
    assert figures["below_40_by_the_rubric"] == 3
