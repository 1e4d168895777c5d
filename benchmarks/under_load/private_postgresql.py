"""A PostgreSQL of its own for a benchmark, which can be killed and run out of room."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.votes import free_port

FULL = 2.0
"""Seconds that no file of a web process can grow."""
ROOM = 2048
"""Megabytes of PostgreSQL's own file system."""


class Cluster:
    """A private PostgreSQL that can be killed, reachable at `url`."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder / "disk" / "data", free_port()
        self.data.parent.mkdir()
        self.limited = mounted(self.data.parent, ROOM)
        # It refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            folder.chmod(0o755)
            shutil.chown(folder, self.user)
            shutil.chown(self.data.parent, self.user)
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.call("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self.folder = folder
        self.start()

    def call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.programs / program), *arguments],
            user=self.user,
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        log = str(self.folder / "log")
        self.call("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def kill(self) -> None:
        """Kill all of its processes, and start it: it recovers what was committed."""
        parent = int((self.data / "postmaster.pid").read_text().split()[0])
        listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, listed)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.start_again()

    def start_again(self) -> None:
        for _ in range(20):
            # It does not start while one that was killed still holds the shared memory.
            time.sleep(0.5)
            with suppress(subprocess.CalledProcessError):
                return self.start()
        raise RuntimeError("PostgreSQL did not start again")

    def fill_disk(self) -> None:
        """Leave no room on its file system for a while. It may end itself over that."""
        ballast = self.data.parent / "ballast"
        end = time.monotonic() + FULL
        with ballast.open("wb", buffering=0) as file:
            while time.monotonic() < end:
                # Until the room is gone, and whatever is given back meanwhile as well.
                with suppress(OSError):
                    while file.write(bytes(1 << 20)):
                        pass
                time.sleep(0.1)
        ballast.unlink()
        running = subprocess.run(
            [str(self.programs / "pg_ctl"), "-D", str(self.data), "status"],
            user=self.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if running.returncode:
            self.start_again()

    def stop(self) -> None:
        self.call("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")
        if self.limited:
            subprocess.run(["umount", "--lazy", str(self.data.parent)], check=True)


def mounted(folder: Path, megabytes: int) -> bool:
    """Mount a file system of that size, in memory, and say whether that was possible."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        return subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def cluster_of(database: str) -> Iterator[Cluster | None]:
    """A private PostgreSQL, None for SQLite."""
    if database == "sqlite":
        yield None
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.stop()
