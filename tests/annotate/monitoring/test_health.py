from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import OperationalError
from django.test import Client

from annotate.models import Pair, Project
from annotate.monitoring import health

MakePairs = Callable[..., list[Pair]]


def test_livez_asks_nobody(client: Client) -> None:
    response = client.get("/livez")
    assert response.status_code == 200 and response.json() == {"status": "alive"}


def test_readyz_is_red_until_the_first_pairs_can_be_served(
    client: Client, project: Project, make_pairs: MakePairs
) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503 and "pairs" in response.json()["detail"]
    assert "Retry-After" in response
    make_pairs(1)
    assert client.get("/readyz").status_code == 200


def test_readyz_is_red_while_the_database_is_away(
    client: Client, make_pairs: MakePairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pairs(1)

    def away(*args: object, **options: object) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", away)
    response = client.get("/readyz")
    assert response.status_code == 503 and "disk full" not in response.content.decode()


def test_readyz_is_red_while_migrations_are_missing(
    client: Client, make_pairs: MakePairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pairs(1)
    plan = "django.db.migrations.executor.MigrationExecutor.migration_plan"
    monkeypatch.setattr(health, "_seen_migrated", set())
    monkeypatch.setattr(plan, lambda self, targets: [("annotate", "0009")])
    assert "migrate" in client.get("/readyz").json()["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_only_reading_is_allowed(client: Client, db: None, path: str) -> None:
    assert client.post(path).status_code == 405
