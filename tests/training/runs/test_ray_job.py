"""The launcher for Ray, against a small server that speaks Ray's Jobs API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from training.runs import ray_job

LAUNCHER = Path(ray_job.__file__)


class Cluster(ThreadingHTTPServer):
    """Runs nothing: jobs say one line per look and end after `looks`, or when they are stopped."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.looks, self.code, self.log = 2, 75, ""
        self.stubborn = False
        """Whether jobs go on when they are stopped."""
        self.cut_off = 0
        """Answers about a job that break off, from now on."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        jobs, name = self.server.jobs, self.path.split("/")[3]
        if self.path.endswith("/stop"):
            ended = {"status": "STOPPED", "driver_exit_code": None, "message": "stopped"}
            jobs[name] |= {} if self.server.stubborn else ended
            return self.answer({"stopped": True})
        data = json.loads(body)
        if "refused" in data["entrypoint"]:
            return self.answer({"error": "no such resources"}, 400)
        jobs[data["submission_id"]] = data | {"status": "RUNNING"}
        return self.answer({"submission_id": data["submission_id"]})

    def do_GET(self) -> None:
        parts = self.path.split("/")
        if parts[3] == "":
            return self.answer(list(self.server.jobs.values()))
        if parts[-1] == "logs":
            return self.answer({"logs": self.server.log})
        job = self.server.jobs[parts[3]]
        if self.server.cut_off:
            self.server.cut_off -= 1
            return self.answer(job, missing=9)
        self.server.looks -= 1
        self.server.log += f"look {self.server.looks}\n"
        if self.server.looks == 0:
            job |= {"status": "FAILED", "driver_exit_code": self.server.code}
        return self.answer(job)

    def answer(self, data: Any, code: int = 200, *, missing: int = 0) -> None:
        text = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text) + missing))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(ray_job, "POLL", 0.01)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with Cluster() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()
    for number, handler in before.items():
        signal.signal(number, handler)


def run(cluster: Cluster, *program: str) -> int:
    return ray_job.main(["--address", cluster.address, "--gpus", "1", "--", *program])


def test_the_log_comes_through_and_the_exit_code_is_the_jobs(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    assert run(cluster, "python", "-c", "print('a b')") == 75
    assert capsys.readouterr().out == "look 1\nlook 0\n"
    (job,) = cluster.jobs.values()
    assert job["entrypoint"] == f"cd {os.getcwd()} && exec python -c 'print('\"'\"'a b'\"'\"')'"
    assert job["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"
    assert "SECRET_KEY" not in job["runtime_env"]["env_vars"]
    assert job["entrypoint_num_gpus"] == 1


def test_a_job_that_an_earlier_launcher_left_is_stopped_first(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mark in (("old", "run-7"), ("other", "run-8")):
        metadata = {ray_job.MARK: mark}
        cluster.jobs[name] = {"submission_id": name, "status": "RUNNING", "metadata": metadata}
    monkeypatch.setenv(ray_job.MARK, "run-7")
    cluster.looks = 5
    run(cluster, "true")
    assert cluster.jobs["old"]["status"] == "STOPPED"
    assert cluster.jobs["other"]["status"] == "RUNNING"


def test_a_job_that_does_not_end_when_stopped_is_named_and_no_other_begins(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = {ray_job.MARK: "run-7"}
    cluster.jobs["old"] = {"submission_id": "old", "status": "RUNNING", "metadata": metadata}
    cluster.stubborn, cluster.looks = True, 10**6
    monkeypatch.setenv(ray_job.MARK, "run-7")
    monkeypatch.setattr(ray_job, "PATIENCE", 0.05)
    assert run(cluster, "true") == ray_job.UNAVAILABLE
    assert (
        "old, an earlier job of this run, was stopped but does not end" in capsys.readouterr().err
    )
    assert list(cluster.jobs) == ["old"]


def test_an_answer_that_breaks_off_is_asked_for_again(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.cut_off = 2
    assert run(cluster, "true") == 75
    assert capsys.readouterr().out == "look 1\nlook 0\n"


def test_what_the_cluster_refuses_is_said(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cluster, "refused") == ray_job.UNAVAILABLE
    assert "says 400" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "ray://head"])
def test_without_a_cluster_it_ends_at_once(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ray_job.main(["--address", address, "--", "true"]) == ray_job.UNAVAILABLE
    assert address in capsys.readouterr().err


def test_ending_the_launcher_stops_the_job(cluster: Cluster) -> None:
    cluster.looks = 10**6
    process = subprocess.Popen(
        [sys.executable, str(LAUNCHER), "--address", cluster.address, "--", "sleep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not cluster.log:
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=120) == ray_job.TERMINATED
    assert [job["status"] for job in cluster.jobs.values()] == ["STOPPED"]
