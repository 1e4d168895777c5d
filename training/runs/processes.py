"""Processes of this machine: who they are, whether they live, and how to end them.

A process is named by its id and its start time, because ids are used again. Everything a run
starts carries the run's UUID in its environment, so what a dead supervisor or launcher left
behind is found even when its id was never written down.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

MARK = "PAIRLOOP_RUN"
LAUNCHER = Path(__file__).parents[2] / "config" / "parent_death_signal.py"
PROC = Path("/proc")


@functools.cache
def this_host() -> str:
    """Name a set of process ids: machine, boot, and container."""
    parts = [socket.gethostname()[:100]]
    with contextlib.suppress(OSError):
        parts.append((PROC / "sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str((PROC / "self/ns/pid").stat().st_ino))
    return "-".join(parts)


def start_time(pid: int) -> str:
    """Start time of a process in clock ticks since boot; empty when it does not live."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if PROC.is_dir() or not _signal(os.kill, pid, 0) else "unknown"
    return "" if fields[0] in "ZX" else fields[19]


def lives(pid: int, started: str) -> bool:
    return bool(started) and start_time(pid) == started


def this_process() -> str:
    """Name the running process: host, id and start time, separated by blanks."""
    return f"{this_host()} {os.getpid()} {start_time(os.getpid())}"


def known_dead(name: str) -> bool:
    """True when the process that `this_process` named ran here and lives no more."""
    parts = name.split(" ")
    if len(parts) < 3 or parts[0] != this_host() or not parts[1].isdigit():
        return False
    return not lives(int(parts[1]), parts[2])


def start(
    program: Sequence[str],
    *,
    mark: str,
    log: Path,
    directory: Path,
    environment: Mapping[str, str],
    on_death: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own that ends with the calling thread.

    Args:
        mark: of the run, put into the environment of all its processes.
        log: standard output and error are appended to this file.
        environment: the program's whole environment.
        on_death: what the program gets when the supervisor is gone.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(LAUNCHER), str(os.getpid()), str(int(on_death)), *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**environment, MARK: mark},
            # A process group of its own: one signal ends all of it, and a Ctrl-C at the terminal
            # reaches the supervisor alone, which lets the program end at the edge of a step.
            start_new_session=True,
        )


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a whole process group; nobody left is fine."""
    _signal(os.killpg, leader, number)


def has_exited(process: subprocess.Popen[bytes]) -> bool:
    """True when a child ended. It stays a zombie, so its id is not used again before `reap`."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(process: subprocess.Popen[bytes]) -> int:
    """End what is left of a child's group and return the child's exit code."""
    # Before `wait`: afterwards the group's id may belong to a stranger.
    if process.returncode is None:
        signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def stop(
    process: subprocess.Popen[bytes], *, grace: float, tick: Callable[[], object] | None = None
) -> int:
    """End a child and its group: SIGTERM, `grace` seconds for a checkpoint, then SIGKILL.

    Args:
        tick: called while waiting.

    Returns:
        its exit code.
    """
    deadline = time.monotonic() + grace
    if not has_exited(process):
        signal_group(process.pid, signal.SIGTERM)
    while not has_exited(process) and time.monotonic() < deadline:
        if tick is not None:
            tick()
        time.sleep(0.05)
    return reap(process)


def stop_marked(mark: str, *, also: tuple[int, str] | None = None, grace: float = 10.0) -> int:
    """End what earlier supervisors of a run left on this host.

    Args:
        mark: of the run.
        also: id and start time of a recorded process, for systems without /proc.

    Returns:
        how many processes were there.
    """
    left = dict(_marked(mark))
    if also is not None and lives(*also):
        left[also[0]] = also[1]
    for pid in left:
        _signal(os.kill, pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(lives(*one) for one in left.items()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, started in left.items():
        if lives(pid, started):
            _signal(os.kill, pid, signal.SIGKILL)
    while any(lives(*one) for one in left.items()) and time.monotonic() < deadline + grace:
        time.sleep(0.02)
    return len(left)


def _marked(mark: str) -> Iterator[tuple[int, str]]:
    """Processes whose environment carries the mark, this one excepted."""
    wanted = f"{MARK}={mark}".encode()
    for folder in PROC.glob("[0-9]*") if PROC.is_dir() else ():
        pid = int(folder.name)
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if pid != os.getpid() and wanted in environment.split(b"\0"):
            started = start_time(pid)
            if started:
                yield pid, started


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
