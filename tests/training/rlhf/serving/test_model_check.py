"""What the check of a model behind a server sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training import fake_endpoint
from training.figures import model_check_report
from training.rlhf.config import CheckJob, EndpointConfig
from training.rlhf.run.run_directory import RunDirectory
from training.rlhf.serving import model_check


@pytest.mark.parametrize("greedy", [True, False])
def test_a_server_that_always_says_the_same_is_noticed(greedy: bool, tmp_path: Path) -> None:
    with fake_endpoint.running() as server:
        if greedy:
            server.says = lambda body: str(body["messages"][-1]["content"])
        report = checked(server.url, tmp_path)
    assert report["repeats_itself"] == greedy
    assert any("answer greedily" in told for told in model_check_report.warnings(report)) == greedy


def checked(url: str, folder: Path) -> dict[str, Any]:
    config = CheckJob(endpoint=EndpointConfig(url=url, model="desk"))
    (folder / "check").mkdir()
    run = RunDirectory(folder)
    with run.claim(None):
        model_check.check(config, folder / "check", run, "check")
    report: dict[str, Any] = json.loads((folder / "check" / model_check.REPORT).read_text())
    return report
