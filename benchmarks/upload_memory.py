"""A file of gigabytes sent in pieces by REST: seconds, and the memory of the web process.

JSON lines are made as they are sent, in the largest pieces that are taken, to the web server as
`make serve` starts it. `python -m benchmarks upload_memory [--megabytes=2048]`; not part of
`make bench`, because it fills the disk with the file.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from benchmarks.result import Result
from benchmarks.votes import ROOT, shell

SETUP = """
from django.contrib.auth.models import User
from annotate.jobs.upload_files import MOST_PIECE
from annotate.models import ApiToken, Project
Project.objects.create(slug="desk", name="Desk")
root = User.objects.create_superuser("root")
print(MOST_PIECE, ApiToken.issue(root)[1])
"""


def pieces(size: int, total: int) -> Iterator[bytes]:
    """JSON lines in pieces of `size` bytes, `total` in all: white space ends the last."""
    reply = "It is on its way, and the carrier brings it tomorrow before noon. " * 12
    waiting, sent, n = bytearray(), 0, 0
    while sent < total:
        while len(waiting) < size:
            row = {"prompt": f"Where is order {n}?", "completion_a": reply, "completion_b": "Hm."}
            waiting += json.dumps(row).encode() + b"\n"
            n += 1
        piece = bytes(waiting[: min(size, total - sent)])
        del waiting[: len(piece)]
        sent += len(piece)
        yield piece


def peak_mb(processes: list[int]) -> float:
    """The most memory that one of these processes has had."""
    most = 0
    for process in processes:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                most = max(most, int(line.split()[1]))
    return most / 1024


def children(process: int) -> list[int]:
    told = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(one) for one in told.split()]


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    total = int(options.get("megabytes", 2048)) * 1024 * 1024
    with tempfile.TemporaryDirectory() as home, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        environment = os.environ | {
            "PAIRLOOP_HOME": home,
            "DATABASE_URL": "",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
        size, token = shell(SETUP, environment=environment).split()
        serve = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
        server = subprocess.Popen([*serve, "--bind", address], cwd=ROOT, env=environment)
        try:
            return sent(f"http://{address}", token, int(size), total, server.pid)
        finally:
            server.terminate()
            server.wait()


def sent(site: str, token: str, size: int, total: int, server: int) -> Result:
    """Send all of it; the figures."""
    headers = {"Authorization": f"Token {token}"}
    with httpx2.Client(base_url=site, headers=headers, timeout=120, trust_env=False) as client:
        while True:
            try:
                client.get("/livez")
                break
            except httpx2.TransportError:
                time.sleep(0.2)
        body = {"name": "large.jsonl", "size": total}
        upload = client.post("/api/v1/projects/desk/uploads/", json=body).raise_for_status().json()
        before = peak_mb([server, *children(server)])
        began, longest, offset = time.perf_counter(), 0.0, 0
        for piece in pieces(size, total):
            start = time.perf_counter()
            told = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
            client.patch(upload["url"], content=piece, headers=told).raise_for_status()
            longest = max(longest, time.perf_counter() - start)
            offset += len(piece)
        seconds = time.perf_counter() - began
        kept = client.get(upload["url"]).raise_for_status().json()["offset"]
        assert kept == total, f"{kept} of {total} bytes arrived"
        after = peak_mb([server, *children(server)])
    result = Result()
    result.figures |= {
        "megabytes": total / 1024**2,
        "megabytes_per_s": total / 1024**2 / seconds,
        "piece_mb": size / 1024**2,
        "longest_piece_s": longest,
        "peak_before_mb": before,
        "peak_after_mb": after,
    }
    return result
