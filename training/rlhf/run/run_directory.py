"""The run directory: the whole contract between a training process and who supervises it.

Torch-free. Reading needs no lock: `RunDirectory(path).metrics()` works while a process writes.
Writing needs `with RunDirectory(path).claim():`, which holds `flock` on RUN_DIR/lock for life
and remembers the fence of RUN_DIR/owner.json. The fence is read again before every checkpoint
and rename, so a process that lost its run can no longer change it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from training.rlhf import rows
from training.rlhf.run import durable, failures, ranks

T = TypeVar("T")

DONE, FAILED, USAGE, FENCED, STOPPED, LOCKED = 0, 1, 2, 3, 4, 75
"""Exit codes of `python -m training.rlhf round`."""

INPUTS = ("prompts.jsonl", "preferences.jsonl")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "safetensors", "numpy")


class Fenced(Exception):
    """The run has a new owner; this process must not write any more."""


class Locked(Exception):
    """Another process works in this run directory."""


class Stopped(Exception):
    """A stop was asked for and honoured at the edge of a step; the run can be resumed."""


class PeerFailed(Exception):
    """Another process of this run failed; its own error says why."""


_STOP, _FENCE, _FAILURE = 1, 2, 3
"""Message of one run's processes to each other at the edge of a step; the worst counts."""


class RunDirectory:
    """Paths, journal and publishing of one run.

    Of several processes that a launcher started for one run the first alone locks and writes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.stop_requested = False
        self.fence: int | None = None
        self.listener: Callable[[dict[str, Any]], None] | None = None
        """Called with every progress line, for a display on the terminal."""
        self.metrics_listener: Callable[[dict[str, Any]], None] | None = None
        """Called with every metrics line, for a tracker."""
        self.leads = ranks.rank() == 0
        """True when this process is the one that writes."""
        self.agree: Callable[[int], int] = int
        """The greatest number that any process of this run passes, once all have come here."""
        self._lock: BinaryIO | None = None

    # Reading: no lock needed

    def folder(self, stage: str) -> Path:
        """The folder of a finished stage's results."""
        return self.path / stage

    def done(self, stage: str) -> bool:
        """True once the stage was published; then it is never run again."""
        return (self.folder(stage) / "meta.json").is_file()

    def stage_meta(self, stage: str) -> dict[str, Any] | None:
        """meta.json of a finished stage: config, parents, data_sha256, versions, metrics."""
        return _read_json(self.folder(stage) / "meta.json")

    def error(self) -> dict[str, Any] | None:
        """{"stage", "error", "traceback"} of the last attempt, when it failed."""
        return _read_json(self.path / "error.json")

    def owner(self) -> dict[str, Any] | None:
        """{"fence", "owner"} as the supervisor wrote them."""
        return _read_json(self.path / "owner.json")

    def progress(self) -> list[dict[str, Any]]:
        """All progress lines, in order."""
        return list(_read_lines(self.path / "progress.jsonl"))

    def metrics(self) -> list[dict[str, Any]]:
        """Metric lines ordered by first appearance; the last of each (stage, step) counts.

        A resumed process repeats the steps after its last checkpoint.
        """
        last: dict[tuple[str, int], dict[str, Any]] = {}
        for line in _read_lines(self.path / "metrics.jsonl"):
            if "stage" in line and "step" in line:
                last[line["stage"], line["step"]] = line
        return list(last.values())

    def request_stop(self) -> None:
        """Ask for a stop, which `check` honours at the edge of a step."""
        self.stop_requested = True

    # Writing: only while claimed

    @contextmanager
    def claim(self, fence: int | None = None) -> Iterator[Self]:
        """Hold the run until the block ends.

        Args:
            fence: the fence this process was started with; None takes the one in owner.json.

        Raises:
            Locked: another process holds the run.
            Fenced: owner.json already names another fence.
        """
        if not self.leads:
            self.wait()  # until the first process has the run
            self.fence = self._current_fence() if fence is None else fence
            yield self
            return
        # The lock is the open file: the system frees it when this process dies, however it dies.
        lock = (self.path / "lock").open("ab")
        try:
            if not _try_lock(lock):
                raise Locked(f"another process works in {self.path}")
            self._lock = lock
            self.fence = self._current_fence() if fence is None else fence
            # With the lock nobody else writes; the fence tells whether this process still may.
            self.check_fence()
            for name in ("progress.jsonl", "metrics.jsonl"):
                _end_torn_line(self.path / name)
            self.wait()
            yield self
        finally:
            self._lock = None
            lock.close()

    def _current_fence(self) -> int | None:
        owner = self.owner()
        return None if owner is None else int(owner["fence"])

    def check_fence(self) -> None:
        """Raise Fenced when the supervisor gave this run to somebody else."""
        current = self._current_fence()
        if self.fence is not None and current != self.fence:
            raise Fenced(f"fence is {current}, this process holds {self.fence}")

    def check(self) -> None:
        """The edge of a step: raise Fenced or Stopped when the run should end here.

        All processes of the run come here together, and end together.
        """
        fenced = self.fence is not None and self._current_fence() != self.fence
        self._heed(self.agree(_FENCE if fenced else _STOP if self.stop_requested else 0))

    def wait(self) -> None:
        """Until all processes of the run have come here."""
        self._heed(self.agree(0))

    def _heed(self, code: int) -> None:
        if code == _FAILURE:
            raise PeerFailed("another process of this run failed")
        if code == _FENCE:
            self.check_fence()
            raise Fenced("another process of this run saw a new fence")
        if code == _STOP:
            raise Stopped("stopped at the edge of a step")

    def perform(self, work: Callable[[], T], *, shared: bool) -> T | None:
        """Do the work in every process; or, not shared, in the first, while the others wait."""
        if shared:
            return work()
        if not self.leads:
            self.wait()
            return None
        together, self.agree = self.agree, int
        code = _FAILURE
        try:
            result, code = work(), 0
        except Stopped:
            code = _STOP
            raise
        except Fenced:
            code = _FENCE
            raise
        finally:
            self.agree = together
            self.agree(code)
        return result

    def checkpoints(self, stage: str) -> Path:
        """Folder for resume state; it is never published."""
        folder = self.path / "checkpoints" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report(self, stage: str, step: int, total: int, message: str = "") -> None:
        """Append a progress line."""
        if not self.leads:
            return
        line = {"time": time.time(), "stage": stage, "step": step, "total": total}
        self._append("progress.jsonl", line | {"message": message})
        if self.listener is not None:
            self.listener(line | {"message": message})

    def record(self, stage: str, step: int, numbers: dict[str, float]) -> None:
        """Append a metrics line. Numbers that are not finite are written as null."""
        if not self.leads:
            return
        line = {"time": time.time(), "stage": stage, "step": step}
        line |= {k: _finite(v) for k, v in numbers.items()}
        self._append("metrics.jsonl", line)
        if self.metrics_listener is not None:
            self.metrics_listener(line)

    def _append(self, name: str, line: dict[str, Any]) -> None:
        assert self._lock is not None, "only the process that claimed the run writes to it"
        # One write to an O_APPEND file: a reader sees a line whole or not yet.
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)

    def partial(self, stage: str) -> Path:
        """A new empty folder for the results of a stage; what a killed attempt left is removed."""
        folder = self.folder(stage)
        partial = folder.with_name(f"{folder.name}.partial")
        if not self.leads:
            return partial
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def forget(self, stage: str) -> None:
        """Remove a stage's results, resume state and metrics, so that it runs from its start."""
        if self.leads:
            self.check_fence()
            if self.folder(stage).exists():
                # As an unfinished attempt: what a kill leaves of it is no result.
                self.folder(stage).rename(self.partial(stage))
            shutil.rmtree(self.path / "checkpoints" / stage, ignore_errors=True)
            kept = [line for line in self.metrics() if line["stage"] != stage]
            lines = (f"{json.dumps(line)}\n" for line in kept)
            durable.replace(self.path / "metrics.jsonl", "".join(lines))
        self.wait()

    def publish(self, stage: str, meta: dict[str, Any]) -> Path:
        """Write meta.json, fsync every file and folder of the stage, rename `.partial` away.

        Raises:
            Fenced: the run has a new owner.
        """
        folder = self.folder(stage)
        partial = folder.with_name(f"{folder.name}.partial")
        (partial / "meta.json").write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")
        # The content must be on the disk before the name that says the stage is done.
        durable.fsync_tree(partial)
        # Last: whoever lost the run while it computed must not publish over the new owner's work.
        self.check_fence()
        partial.rename(folder)
        durable.fsync(folder.parent)
        return folder

    def meta(
        self, stage: str, config: dict[str, Any], parents: dict[str, str], metrics: dict[str, float]
    ) -> dict[str, Any]:
        """The meta.json of a stage: config, parents, data_sha256, versions and metrics."""
        inputs = [name for name in INPUTS if (self.path / name).is_file()]
        return {
            "stage": stage,
            "config": config,
            "parents": parents,
            "data_sha256": {name: rows.sha256(self.path / name) for name in inputs},
            "versions": versions(),
            "metrics": {key: _finite(value) for key, value in metrics.items()},
        }

    def fail(self, stage: str, error: BaseException, traceback: str) -> None:
        """Write error.json, unless the run belongs to somebody else by now.

        The first error of an attempt stands: where one of several processes fails, the others
        fail because they lose it. Where the disk is full, the stage's unfinished results make room
        for it.
        """
        self.check_fence()
        if self.error() is not None:
            return
        data = {"stage": stage, "error": failures.describe(error), "traceback": traceback}
        text = json.dumps(data, indent=2) + "\n"
        try:
            durable.replace(self.path / "error.json", text)
        except OSError:
            folder = self.folder(stage)
            shutil.rmtree(folder.with_name(f"{folder.name}.partial"), ignore_errors=True)
            durable.replace(self.path / "error.json", text)

    def clear_error(self) -> None:
        """Remove the error of an attempt before this one."""
        if self.leads:
            (self.path / "error.json").unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of Python and the libraries, and a hash of the engine's own source."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    source = hashlib.sha256()
    engine = Path(__file__).parent.parent
    for path in sorted(engine.rglob("*.py")):
        source.update(path.relative_to(engine).as_posix().encode() + path.read_bytes())
    return installed | {"engine_sha256": source.hexdigest()}


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return data


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines that are whole JSON objects; a line torn by a killed writer is passed over."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    for line in text.split(b"\n"):
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield data


def _end_torn_line(path: Path) -> None:
    """Close a line that a killed writer left open, or the next line would be lost with it."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _finite(value: float) -> float | None:
    value = float(value)
    return value if value - value == 0 else None
