"""Figures of the labelling side for Prometheus: votes, pairs, leases, jobs, webhooks, the pool."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from annotate.models import Assignment, Export, Import, Pair, WebhookDelivery


class LabellingFigures(Collector):
    """Counts by project, read when they are asked for."""

    def collect(self) -> Iterator[Metric]:
        yield from _votes_and_leases()
        pairs = GaugeMetricFamily("pairloop_pairs", "Pairs by state.", labels=["project", "state"])
        states = Pair.objects.values_list("project__slug", "state").annotate(n=Count("pk"))
        for slug, state, n in states.order_by("project__slug", "state"):
            pairs.add_metric([slug, state], n)
        yield pairs
        yield _jobs()
        waiting = WebhookDelivery.objects.filter(state=WebhookDelivery.State.WAITING).count()
        yield GaugeMetricFamily("pairloop_webhooks_waiting", "Deliveries to send.", value=waiting)
        yield from _pool()


def _votes_and_leases() -> Iterator[Metric]:
    votes = CounterMetricFamily("pairloop_votes", "Votes that stand.", labels=["project"])
    leases = GaugeMetricFamily("pairloop_leases", "Pairs on screens.", labels=["project"])
    oldest = GaugeMetricFamily(
        "pairloop_oldest_lease_seconds", "Age of the oldest lease.", labels=["project"]
    )
    overdue = GaugeMetricFamily(
        "pairloop_overdue_leases", "Expired leases that nobody released yet.", labels=["project"]
    )
    now = timezone.now()
    reserved = Q(state=Assignment.State.RESERVED)
    rows = Assignment.objects.values_list("pair__project__slug").annotate(
        votes=Count("pk", filter=Q(state=Assignment.State.VOTED, surplus=False)),
        leases=Count("pk", filter=reserved),
        first=Min("leased_at", filter=reserved),
        overdue=Count("pk", filter=reserved & Q(expires_at__lt=now)),
    )
    for slug, voted, leased, first, late in rows.order_by("pair__project__slug"):
        votes.add_metric([slug], voted)
        leases.add_metric([slug], leased)
        oldest.add_metric([slug], (now - first).total_seconds() if first else 0)
        overdue.add_metric([slug], late)
    yield from (votes, leases, oldest, overdue)


def _jobs() -> Metric:
    jobs = GaugeMetricFamily(
        "pairloop_jobs", "Imports and exports that wait or run.", labels=["kind", "state"]
    )
    for model in (Import, Export):
        kind = model.__name__.lower()
        counted = model.objects.unfinished().values_list("state").annotate(n=Count("pk"))
        for state, n in counted.order_by("state"):
            jobs.add_metric([kind, state], n)
    return jobs


def _pool() -> Iterator[Metric]:
    """PostgreSQL's connections of the process that answers."""
    if connection.vendor == "postgresql" and connection.settings_dict["OPTIONS"].get("pool"):
        pool = GaugeMetricFamily(
            "pairloop_database_pool", "Connections of this process.", labels=["figure"]
        )
        for name, value in connection.pool.get_stats().items():  # type: ignore[attr-defined]
            pool.add_metric([name], value)
        yield pool
