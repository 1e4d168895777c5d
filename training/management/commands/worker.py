"""Run a worker: short jobs and the schedule, or (--gpu) training runs."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connections
from huey.consumer import Consumer

from training.active import quick_order
from training.playground import generator_process
from training.runs import crash_recovery, supervisor
from training.runs.task_queue import Kind, huey
from training.worker import scheduler, tasks

BEAT_SECONDS = 20.0


class Command(BaseCommand):
    # A worker serves no pages: checking every URL would only slow its start.
    requires_system_checks = []
    help = "Run a worker until SIGINT or SIGTERM; exactly one without --gpu, one per GPU with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--gpu", action="store_true", help="supervise training runs")

    def handle(self, *args: Any, gpu: bool, **options: Any) -> None:
        kind: Kind = "gpu" if gpu else "short"
        supervisor.stopping.clear()
        tasks.register(kind)
        consumer = OrderlyConsumer(
            huey(kind),
            workers=1 if gpu else tasks.THREADS,
            # Of two schedulers both would fire; the training workers have none.
            periodic=not gpu,
            worker_type="thread",
            max_delay=1.0,
            shutdown_timeout=supervisor.Pace.stop_grace + 5,
        )
        threads = [threading.Thread(target=_beat, args=(kind,), name="beat", daemon=True)]
        # What a killed worker held goes on at once instead of when its lease ends.
        crash_recovery.recover(at_once=True)
        if gpu:
            threads.append(
                threading.Thread(
                    target=generator_process.answer_until_stopped, name="playground", daemon=True
                )
            )
        else:
            stop = (supervisor.stopping,)
            threads.append(
                threading.Thread(target=quick_order.follow, args=stop, name="queue", daemon=True)
            )
        for thread in threads:
            thread.start()
        connections.close_all()
        consumer.run()
        supervisor.stopping.set()
        for thread in threads:
            thread.join(timeout=5)


class OrderlyConsumer(Consumer):  # type: ignore[misc]  # huey is untyped
    """Ends for both signals alike: its runs are stopped at a step's edge and given back first.

    Threads, not processes: killing a consumer must end all of it, and a forked worker would live
    on as an orphan that still takes tasks.
    """

    def stop(self, graceful: bool = False) -> None:
        supervisor.stopping.set()
        super().stop(graceful=True)


def _beat(kind: Kind) -> None:
    while True:
        try:
            scheduler.seen(kind)
        except OperationalError:
            connections.close_all()
        if supervisor.stopping.wait(BEAT_SECONDS):
            connections.close_all()
            return
