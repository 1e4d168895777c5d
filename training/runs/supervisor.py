"""See one run through: claim it, run its process, keep the lease, apply results, conclude.

The row is the record. Whoever holds it (owner and fence) may write; every write here names both,
so a supervisor that slept through its lease changes nothing any more. A run survives its process,
its supervisor and its machine: whoever claims it next goes on where the files end.
"""

from __future__ import annotations

import enum
import functools
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    transaction,
)
from django.db.models import F

from training.models import Lost, Round, Run, RunKind
from training.rlhf.round import DONE
from training.runs import (
    crash_recovery,
    exit_reasons,
    processes,
    run_inputs,
    run_kinds,
    run_states,
    stage_results,
    streamed_rows,
)
from training.runs.metrics_and_log import LOG, Journal, progress_fields, store_metrics
from training.versions import fetched_models
from training.versions.added_models import Declined

log = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[dict[str, Any]], None]

stopping = threading.Event()
"""Set when this process shall end: runs are stopped at the edge of a step and given back."""


class Refused(Exception):
    """The run cannot be started; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Waiting times of a supervisor, seconds."""

    beat: float = 10.0
    poll: float = 0.5
    cancel_grace: float = 10.0
    stop_grace: float = 20.0
    pause: float = 1.0
    """Before a process that died is started again; grows with each attempt."""


def supervise(
    run: Run,
    *,
    program: run_kinds.Program | None = None,
    listener: Listener | None = None,
    pace: Pace | None = None,
) -> None:
    """See `run` through until it is final, somebody else has it, or this process shall end.

    Args:
        program: makes the command line of the training process; None takes the run's own.
        listener: called with every progress line.
    """
    pace = pace or Pace()
    crash_recovery.expire_dead_owner(run)
    while not stopping.is_set():
        owner = f"{processes.this_process()} {uuid.uuid4().hex[:8]}"
        held = Run.objects.claim(run.pk, owner=owner)
        if held is None:
            crash_recovery.give_up_exhausted(run.pk)
            return
        try:
            again = Supervision(held, program or run_kinds.program, listener, pace).attempt()
        except Lost:
            log.warning("%s has another supervisor now", run)
            return
        if not again:
            return
        stopping.wait(min(30.0, pace.pause * held.attempts))


class Heartbeat:
    """Renews the lease from a thread, so that no slow step of the supervisor loses it."""

    def __init__(self, run: Run, every: float) -> None:
        self.run = run
        self.every = every
        self.lost = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {run.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        good = time.monotonic()
        try:
            while not self._end.wait(self.every) and not self.lost.is_set():
                try:
                    # False is lost or cancelled; the supervisor's own look tells which.
                    if Run.objects.beat(self.run):
                        good = time.monotonic()
                except (OperationalError, InterfaceError):
                    log.warning("no heartbeat for %s: the database does not answer", self.run)
                    close_old_connections()
                # Nobody else may believe the lease has run out while the child still works.
                if time.monotonic() - good > Run.LEASE.total_seconds() - self.every:
                    self.lost.set()
        finally:
            connections.close_all()


class Verdict(enum.Enum):
    """Why a supervisor ends a process that still works."""

    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPING = "stopping"
    TOO_LONG = "too long"


class Supervision:
    """One attempt at one claimed run."""

    def __init__(
        self, run: Run, program: run_kinds.Program, listener: Listener | None, pace: Pace
    ) -> None:
        self.run = run
        self.program = program
        self.listener = listener
        self.pace = pace
        self.journal = Journal(run.directory)
        self.applied: set[str] = set()
        self.started = time.monotonic()
        self.heart = Heartbeat(run, pace.beat)

    def attempt(self) -> bool:
        """Run the process once; True when it died and the run should be tried again."""
        with self.heart:
            try:
                self.make_ready()
                return self.conclude(*self.watch())
            except (Refused, Declined) as refusal:
                return self.finish(Run.State.FAILED, str(refusal))
            except Lost:
                raise
            except Exception as error:  # whatever it was, the row must say so
                log.exception("supervising %s failed", self.run)
                return self.finish(Run.State.FAILED, f"{type(error).__name__}: {error}")

    def make_ready(self) -> None:
        """End what a supervisor before this one left running, and write the inputs."""
        run = self.run
        recorded = (run.pid or 0, run.pid_started) if run.host == processes.this_host() else None
        processes.stop_marked(str(run.uuid), also=recorded)
        check_disk(run.directory)
        with transaction.atomic():
            Run.objects.write(run, host=processes.this_host(), pid=None)
            if run.round_id is not None:
                Round.objects.filter(pk=run.round_id).update(state=Round.State.RUNNING)
        try:
            run_inputs.prepare(run)
        except run_inputs.CannotPrepare as error:
            raise Refused(str(error)) from error

    def watch(self) -> tuple[Verdict | None, int]:
        """Start the process and follow it to its end: why it was ended, and its exit code."""
        run = self.run
        # The fence on the disk, too: the engine of a supervisor before us stops when it sees it.
        if not run_kinds.take_over(run):
            raise Lost
        process = processes.start(
            self.program(run),
            mark=str(run.uuid),
            log=run.directory / LOG,
            directory=Path(settings.BASE_DIR),
            environment=run_kinds.environment(self.run),
            on_death=run_kinds.signal_on_death(),
        )
        try:
            self.record(process.pid)
            verdict = None
            while verdict is None and not processes.has_exited(process):
                self.follow()
                stopping.wait(self.pace.poll)
                verdict = self.verdict()
            if verdict is Verdict.LOST:
                raise Lost
            grace = self.pace.stop_grace if stopping.is_set() else self.pace.cancel_grace
            code = processes.stop(process, grace=grace)
            self.follow()
            return verdict, code
        finally:
            processes.stop(process, grace=0.0)

    def record(self, pid: int) -> None:
        """Write down whom a later supervisor has to stop first."""
        Run.objects.write(self.run, pid=pid, pid_started=processes.start_time(pid))

    def verdict(self) -> Verdict | None:
        """The reason why the process has to end now, or None."""
        cancelled = self.patiently(
            Run.objects.held(self.run).values_list("cancel_requested", flat=True).first
        )
        if cancelled is None or self.heart.lost.is_set():
            return Verdict.LOST
        if cancelled:
            return Verdict.CANCELLED
        if stopping.is_set():
            return Verdict.STOPPING
        too_long = time.monotonic() - self.started > settings.RUN_HOURS * 3600
        return Verdict.TOO_LONG if too_long else None

    def follow(self) -> None:
        """Bring the row up to the files: progress, metrics, log, and finished stages."""
        self.patiently(self._copy_journal)
        self.patiently(functools.partial(streamed_rows.take_in, self.run))
        for stage in run_kinds.stages(self.run):
            if stage not in self.applied and run_kinds.is_finished(self.run, stage):
                self.patiently(functools.partial(stage_results.apply, self.run, stage))
                self.applied.add(stage)

    def _copy_journal(self) -> None:
        lines, metrics = list(self.journal.progress.read()), list(self.journal.metrics.read())
        fields = progress_fields(lines[-1]) if lines else {}
        if (tail := self.journal.log_tail()) is not None:
            fields["log_tail"] = tail
        if fields or metrics:
            with transaction.atomic():
                Run.objects.write(self.run, fence=self.run.fence, **fields)
                store_metrics(self.run, metrics)
        if self.listener is not None:
            for line in lines:
                self.listener(line)

    def patiently(self, action: Callable[[], T]) -> T:
        """Repeat `action` while the database does not answer and the lease lasts."""
        while True:
            try:
                return action()
            except (OperationalError, InterfaceError):
                if self.heart.lost.is_set():
                    raise Lost from None
                log.warning("the database does not answer; %s goes on", self.run)
                self.journal.rewind()
                close_old_connections()
                time.sleep(self.pace.poll)

    def conclude(self, verdict: Verdict | None, code: int) -> bool:
        """Turn the end of the process into the state of the run."""
        if code == DONE and self.applied.issuperset(run_kinds.stages(self.run)):
            return self.finish(Run.State.DONE, code=code)
        if verdict is Verdict.CANCELLED:
            return self.finish(Run.State.CANCELLED, "Cancelled.", code=code)
        if verdict is Verdict.TOO_LONG:
            error = f"Ran longer than {settings.RUN_HOURS:g} hours (PAIRLOOP_RUN_HOURS)."
            return self.finish(Run.State.FAILED, error, code=code)
        if verdict is Verdict.STOPPING:
            return self.give_back("", code=code, attempts=F("attempts") - 1)
        if exit_reasons.was_interrupted(self.run, code):
            return self.give_back(exit_reasons.explain(self.run, code), code=code)
        return self.finish(Run.State.FAILED, exit_reasons.explain(self.run, code), code=code)

    def give_back(self, error: str, *, code: int, **fields: Any) -> bool:
        """Make the run claimable at once; finished stages and checkpoints are kept.

        A cancel that came while the process ended closes it instead: nobody would claim it.
        """
        fields |= {"error": error, "exit_code": code, "enqueued_at": None}
        if self._set_state(Run.State.QUEUED, where={"cancel_requested": False}, **fields):
            return True
        return self.finish(Run.State.CANCELLED, "Cancelled.", code=code)

    def finish(self, state: str, error: str = "", *, code: int | None = None) -> bool:
        """Close the run."""
        if not self._set_state(state, error=error, exit_code=code, pid=None):
            raise Lost
        if self.run.kind == RunKind.CHECK and state != Run.State.DONE:
            fetched_models.sweep()  # or models that cannot be used would fill the disk
        return False

    def _set_state(self, state: str, *, where: dict[str, Any] | None = None, **fields: Any) -> bool:
        def write() -> bool:
            with transaction.atomic():
                rows = Run.objects.held(self.run).filter(**where or {})
                return run_states.set_state(self.run, state, rows=rows, **fields)

        return self.patiently(write)


def check_disk(directory: Path) -> None:
    """Refuse to start what would fill the disk.

    Raises:
        Refused: less than MIN_FREE_GB is free where the run writes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free / 1e9
    if free < settings.MIN_FREE_GB:
        raise Refused(
            f"{free:.1f} GB free in {directory.parent}, {settings.MIN_FREE_GB:g} GB wanted "
            "(PAIRLOOP_MIN_FREE_GB). Free some space and retry."
        )
