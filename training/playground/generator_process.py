"""Answers the playground's trials, one after another, in a process that is kept while it is used.

Runs in a thread of the training worker, beside rounds: a trial does not wait for a round to end.
The models are in a process of their own (training.rlhf.serving.playground_generator), which ends
with this thread and by itself after a while without trials. The row is the record: whatever dies,
it says so in the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections
from django.utils import timezone

from training.models import ModelVersion, Trial
from training.rlhf.run import durable
from training.runs import exit_reasons, processes, supervisor
from training.versions import engine_environment, serving

log = logging.getLogger(__name__)

SPOOL, LOCK = "pairloop-playground-", "lock"
IDLE_SECONDS = 600
MOST_SECONDS = 600
"""A trial that takes longer is ended, with its process."""
LOOK_SECONDS = 1.0
FOLLOW_SECONDS = 0.15
NOTE_SECONDS = 1.0
"""Time between renewals of the lease, and so until it is noticed that somebody stopped a trial."""

Program = Callable[[Path], list[str]]


def generator(spool: Path) -> list[str]:
    """Command line of the process that has the models."""
    options = ["--idle", str(IDLE_SECONDS), "--device", settings.PLAYGROUND_DEVICE]
    return [
        sys.executable,
        "-m",
        "training.rlhf.serving.playground_generator",
        str(spool),
        *options,
    ]


def answer_until_stopped(program: Program = generator) -> None:
    """Answer trials until this process shall end."""
    clear_left_behind()
    with tempfile.TemporaryDirectory(prefix=SPOOL) as spool, Path(spool, "new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(Path(spool, LOCK))  # nobody sees it without its lock
        answerer = Answerer(Path(spool), program)
        try:
            while not supervisor.stopping.wait(LOOK_SECONDS):
                answerer.answer_waiting()
        finally:
            answerer.close()
            connections.close_all()


def clear_left_behind() -> None:
    """Remove the spools of workers that were killed: what people asked is in them."""
    for path in Path(tempfile.gettempdir()).glob(f"{SPOOL}*/{LOCK}"):
        with contextlib.suppress(OSError), path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its worker lives
            shutil.rmtree(path.parent)


class Answerer:
    """Answers trials with one generator process, which it starts when it is needed.

    Question and answer are files in the spool's inbox and outbox.
    """

    def __init__(self, spool: Path, program: Program = generator) -> None:
        self.spool, self.program = spool, program
        self.process: Popen[bytes] | None = None

    def answer_waiting(self) -> None:
        """Answer every trial that waits."""
        try:
            Trial.objects.close_lost()
            owner = processes.this_process()
            while not supervisor.stopping.is_set() and (trial := Trial.objects.take(owner=owner)):
                self.answer(trial)
        except (OperationalError, InterfaceError):
            log.warning("the playground waits: the database does not answer")
            close_old_connections()
        except Exception:  # whatever it was, the next trial must not wait for a new worker
            log.exception("the playground goes on after an error")

    def answer(self, trial: Trial) -> None:
        """Answer one trial, and write down how that ended."""
        name = f"{trial.pk:012d}.json"
        question, answer = self.spool / "inbox" / name, self.spool / "outbox" / name
        try:
            self._ask(trial, question)
            error = self._follow(trial, answer)
        except (OperationalError, InterfaceError):
            raise
        except serving.NotServable as problem:
            error = str(problem)
        except Exception as problem:  # whatever it was, the row must say so
            log.exception("answering %s failed", trial)
            error = f"{type(problem).__name__}: {problem}"
        finally:
            question.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
        state = Trial.State.FAILED if error else Trial.State.DONE
        now = timezone.now()
        Trial.objects.held(trial).update(state=state, error=error, stage="", finished_at=now)

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            processes.stop(self.process, grace=1.0)
            self.process = None

    def _ask(self, trial: Trial, question: Path) -> None:
        """Put the question before a living process."""
        models = [_model(trial, choice) for choice in trial.choices]
        reward = ModelVersion.objects.rewards().promoted().filter(project=trial.project).first()
        Trial.objects.held(trial).update(scorer=reward.name if reward else "")
        asked = {
            "messages": trial.messages,
            "models": models,
            "reward": reward.location if reward else "",
            "temperature": trial.temperature,
            "max_new_tokens": trial.max_new_tokens,
            "seed": trial.seed,
        }
        for name in ("inbox", "outbox"):  # each time: systems clear what long lies idle in /tmp
            (self.spool / name).mkdir(parents=True, exist_ok=True)
        for late in (self.spool / "outbox").iterdir():  # of a trial that was stopped while it wrote
            late.unlink(missing_ok=True)
        durable.replace(question, json.dumps(asked))
        if self.process is None or processes.has_exited(self.process):
            self._begin()

    def _begin(self) -> None:
        """Start the process, in the place of one that ended."""
        self.close()
        self.process = processes.start(
            self.program(self.spool),
            mark=f"playground-{processes.this_process()}",
            log=self.spool / "log.txt",
            directory=Path(settings.BASE_DIR),
            environment=engine_environment.environment(),
        )

    def _follow(self, trial: Trial, answer: Path) -> str:
        """Copy the answer into the row until it is whole; why it ended early, or nothing."""
        begun = written = time.monotonic()
        seen: dict[str, Any] = {}
        while not supervisor.stopping.wait(FOLLOW_SECONDS):
            reply, now = _read(answer), time.monotonic()
            if reply != seen or now - written > NOTE_SECONDS:
                if not self._note(trial, reply):
                    return "Stopped."  # the row is somebody else's decision by now
                seen, written = reply, now
            if reply.get("state") == "done":
                return str(reply["error"])
            if now - begun > MOST_SECONDS:
                self.close()
                return f"Took longer than {MOST_SECONDS} seconds."
            if self.process is None:
                return "The process with the models was ended."
            if processes.has_exited(self.process):
                code = processes.reap(self.process)
                if code < 0:
                    return f"The process with the models was {exit_reasons.ended_by(code)}."
                if reply or code:
                    return f"The process with the models ended: {self._last_line()}"
                self._begin()  # its idle time was over just as the question came
        return "The worker was stopped. Ask again."

    def _note(self, trial: Trial, reply: dict[str, Any]) -> bool:
        fields = {"replies": reply["replies"], "stage": reply["state"]} if reply else {}
        until = timezone.now() + Trial.LEASE
        return bool(Trial.objects.held(trial).update(lease_until=until, **fields))

    def _last_line(self) -> str:
        path = self.spool / "log.txt"
        lines = path.read_text("utf-8", "replace").strip().splitlines() if path.is_file() else []
        return lines[-1][:300] if lines else "no output"


def _model(trial: Trial, choice: str) -> dict[str, str]:
    """A choice as the generator takes it: a folder, or a server and its model."""
    if not choice.isdigit():
        return {"url": settings.ENDPOINT, "model": choice}
    version = ModelVersion.objects.get(project=trial.project, pk=int(choice))
    return {"path": serving.location(version, merge=False)}


def _read(path: Path) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return reply
