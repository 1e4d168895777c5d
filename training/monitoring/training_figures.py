"""Figures of the training side for Prometheus: runs, rounds, workers, queues."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from training.models import Round, Run, WorkerBeat
from training.runs import task_queue


class TrainingFigures(Collector):
    """Counts of runs and rounds, and when workers were last seen; read when asked for."""

    def collect(self) -> Iterator[Metric]:
        yield from (_runs(), _oldest_waiting(), _rounds(), _workers(), _queues())


def _runs() -> Metric:
    runs = GaugeMetricFamily("pairloop_runs", "Runs by kind and state.", labels=["kind", "state"])
    for kind, state, n in (
        Run.objects.values_list("kind", "state").annotate(n=Count("pk")).order_by("kind", "state")
    ):
        runs.add_metric([kind, state], n)
    return runs


def _oldest_waiting() -> Metric:
    waiting = GaugeMetricFamily(
        "pairloop_oldest_waiting_run_seconds",
        "How long the run waits that has waited longest.",
        labels=["worker"],
    )
    queued = Run.objects.filter(state=Run.State.QUEUED).values_list("worker")
    for worker, first in queued.annotate(first=Min("created_at")).order_by("worker"):
        waiting.add_metric([worker], (timezone.now() - first).total_seconds())
    return waiting


def _rounds() -> Metric:
    rounds = GaugeMetricFamily(
        "pairloop_rounds", "Rounds by project and state.", labels=["project", "state"]
    )
    counted = Round.objects.values_list("project__slug", "state").annotate(n=Count("pk"))
    for slug, state, n in counted.order_by("project__slug", "state"):
        rounds.add_metric([slug, state], n)
    return rounds


def _workers() -> Metric:
    seen = GaugeMetricFamily(
        "pairloop_worker_seen_seconds", "Since a worker last reported.", labels=["worker"]
    )
    for beat in WorkerBeat.objects.order_by("kind"):
        seen.add_metric([beat.kind], (timezone.now() - beat.seen_at).total_seconds())
    return seen


def _queues() -> Metric:
    depth = GaugeMetricFamily(
        "pairloop_tasks_waiting", "Tasks that no worker has taken.", labels=["worker"]
    )
    kinds: tuple[task_queue.Kind, ...] = ("short", "gpu")
    for kind in kinds:
        depth.add_metric([kind], task_queue.huey(kind).pending_count())
    return depth
