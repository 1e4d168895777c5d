"""Run a program as a job of a Ray cluster: `ray_job.py --address URL [--gpus N] -- PROGRAM ...`.

Put before the training command by PAIRLOOP_LAUNCHER. It submits the program over Ray's Jobs API,
prints its log, passes SIGTERM on as a stop of the job, and ends with the job's own exit code. The
cluster needs this code, its Python and the run directories at the same paths: a shared disk. Run as
a file, and without Ray: importing the package would load Django.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

MARK = "PAIRLOOP_RUN"
PASSED = ("HF_HOME", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", MARK)
"""Variables of ours that the job gets. Keys stay out: everybody can read a job's environment."""
LIVE = ("PENDING", "RUNNING")
POLL = 2.0
PATIENCE = 120.0
"""Seconds that the cluster may be silent, or an earlier job go on after its stop, before the job is
given up."""
UNAVAILABLE, TERMINATED = 69, 128 + signal.SIGTERM


class Silent(Exception):
    """The cluster does not answer, or refuses."""


class Jobs:
    """Ray's Jobs API (docs.ray.io, "Ray Jobs REST API")."""

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise Silent(f"{address} is no address: it begins with http:// or https://")
        self.address = address.rstrip("/")

    def ask(self, path: str = "", *, data: dict[str, Any] | None = None, post: bool = False) -> Any:
        """The JSON that a request gives.

        Raises:
            Silent: with what the cluster says.
        """
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get("RAY_AUTH_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(  # http and https only, see above
            f"{self.address}/api/jobs/{path}",
            data=None if data is None else json.dumps(data).encode(),
            headers=headers,
            method="POST" if post else "GET",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = " ".join(error.read().decode("utf-8", "replace").split())
            raise Silent(f"{self.address} says {error.code}: {said[-300:]}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Silent(f"no Ray cluster answers at {self.address}: {error}") from error

    def stop_others(self, mark: str) -> None:
        """Stop what an earlier launcher of this run left, and wait for its end.

        Raises:
            Silent: a job does not end; two at work in one run directory would harm it.
        """
        for job in self.ask():
            if (job.get("metadata") or {}).get(MARK) == mark and job["status"] in LIVE:
                self._end(job["submission_id"])

    def _end(self, name: str) -> None:
        self.ask(f"{name}/stop", post=True)
        asked = time.monotonic()
        while self.ask(name)["status"] in LIVE:
            if time.monotonic() - asked > PATIENCE:
                raise Silent(f"{name}, an earlier job of this run, was stopped but does not end")
            time.sleep(POLL)


class Job:
    """One program on the cluster."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.shown = jobs, 0
        self.mark = os.environ.get(MARK, "")
        self.name = f"pairloop-{self.mark or 'run'}-{uuid.uuid4().hex[:8]}"
        self.asked_to_stop = False

    def submit(self, program: list[str], *, gpus: float) -> None:
        """Start the program, once what an earlier launcher of the run left has ended.

        Raises:
            Silent: there is no cluster, or it refuses the job.
        """
        if self.mark:
            self.jobs.stop_others(self.mark)
        variables = {name: os.environ[name] for name in PASSED if name in os.environ}
        # `exec`, or Ray would stop the shell and not the program.
        entry = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(program)}"
        data = {
            "entrypoint": entry,
            "submission_id": self.name,
            "runtime_env": {"env_vars": {**variables, "PYTHONUNBUFFERED": "1"}},
            "metadata": {MARK: self.mark},
        }
        self.jobs.ask(data=data | ({"entrypoint_num_gpus": gpus} if gpus else {}), post=True)

    def stop(self, *_: object) -> None:
        """Ask for the stop at the next look: a signal may come in the middle of a request."""
        self.asked_to_stop = True

    def follow(self) -> int:
        """Print the log until the job ends; its exit code.

        Raises:
            Silent: the cluster has been silent for too long.
        """
        heard, stopping = time.monotonic(), False
        while True:
            try:
                if self.asked_to_stop and not stopping:
                    self.jobs.ask(f"{self.name}/stop", post=True)
                    stopping = True
                job = self.jobs.ask(self.name)
                self.show()
                heard = time.monotonic()
            except Silent:
                if time.monotonic() - heard > PATIENCE:
                    raise
                job = {"status": "RUNNING"}
            if job["status"] not in LIVE:
                return exit_code(job)
            time.sleep(POLL)

    def show(self) -> None:
        """Print what the log has gained."""
        text = self.jobs.ask(f"{self.name}/logs")["logs"] or ""
        sys.stdout.write(text[self.shown :])
        sys.stdout.flush()
        self.shown = len(text)


def exit_code(job: dict[str, Any]) -> int:
    """Of an ended job: its program's where Ray knows it."""
    code = job.get("driver_exit_code")
    if isinstance(code, int):
        return code if code >= 0 else 128 - code
    if job["status"] == "SUCCEEDED":
        return 0
    print(job.get("message") or job["status"], file=sys.stderr)
    return TERMINATED if job["status"] == "STOPPED" else 1


def main(arguments: list[str]) -> int:
    """Run the program on the cluster; its exit code, or 69 without a cluster."""
    parser = argparse.ArgumentParser(prog="ray_job.py", description=__doc__)
    parser.add_argument("--address", required=True, help="such as http://head-node:8265")
    parser.add_argument("--gpus", type=float, default=0, help="that the job needs")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    program = options.program[options.program[:1] == ["--"] :]
    try:
        job = Job(Jobs(options.address))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, job.stop)
        job.submit(program, gpus=options.gpus)
        return job.follow()
    except Silent as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
