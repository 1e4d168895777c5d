"""Probes of a load balancer and a start script: is the process alive, can it serve?"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from psycopg_pool import PoolTimeout

from annotate.models import Installation, Pair


@login_not_required
@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """The process answers. Asks nothing else, so that a slow database kills no web process."""
    return JsonResponse({"status": "alive"})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database takes writes, is migrated and holds pairs to serve."""
    try:
        problem = _problem()
    except (DatabaseError, InterfaceError, PoolTimeout):
        problem = "The database does not answer or takes no writes."
    if problem:
        body = {"status": "not ready", "detail": problem}
        return JsonResponse(body, status=503, headers={"Retry-After": "2"})
    return JsonResponse({"status": "ready"})


def _problem() -> str:
    if not _migrated():
        return "Migrations are missing: run manage.py migrate."
    with transaction.atomic():
        # Takes the write lock and changes nothing; rolled back, so that it costs no sync.
        Installation.objects.update(id=1)
        transaction.set_rollback(True)
    if not Pair.objects.filter(project__archived=False).exists():
        return "No project has pairs yet."
    return ""


# Databases found fully migrated: migrations are not taken back under a running server.
_seen_migrated: set[str] = set()


def _migrated() -> bool:
    database = str(connection.settings_dict["NAME"])
    if database not in _seen_migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        _seen_migrated.add(database)
    return True
