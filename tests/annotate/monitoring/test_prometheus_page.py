"""The page of figures that Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from annotate import queue
from annotate.models import Pair, Project
from training.models import Round, Run, WorkerBeat

MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]


def figures(client: Client, **extra: str) -> dict[tuple[str, ...], float]:
    """Every sample of the page by its name and its labels' values."""
    response = client.get("/metrics", **extra)  # type: ignore[arg-type]
    assert response.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_votes_leases_pairs_runs_and_workers_are_figures(
    client: Client, project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    make_pairs(3)
    for person in (ann, ben):
        lease = queue.next_pair(project, person)
        assert lease is not None
        queue.vote(person, lease.token, choice="a")
    queue.next_pair(project, ann)
    Run.objects.create(project=project, kind="round")
    WorkerBeat.objects.create(kind="gpu", host="here", pid=1, seen_at=project.created_at)
    said = figures(client)
    assert said["pairloop_votes_total", "desk"] == 2
    assert said["pairloop_leases", "desk"] == 1
    assert said["pairloop_oldest_lease_seconds", "desk"] >= 0
    assert said["pairloop_overdue_leases", "desk"] == 0
    states = [said.get(("pairloop_pairs", "desk", state), 0) for state in Pair.State.values]
    assert sum(states) == 3
    assert said["pairloop_runs", "round", "queued"] == 1
    assert said["pairloop_oldest_waiting_run_seconds", "gpu"] >= 0
    assert said["pairloop_worker_seen_seconds", "gpu"] >= 0
    assert said["pairloop_tasks_waiting", "short"] >= 0


def test_requests_are_timed_by_the_name_of_their_address_and_never_by_their_path(
    client: Client, db: None
) -> None:
    client.get("/invitations/a-secret-token/")
    client.get("/no/such/page/")
    response = client.get("/metrics").content.decode()
    assert 'view="invitation"' in response and 'view="none"' in response
    assert "a-secret-token" not in response and "no/such" not in response


def test_the_page_is_for_this_machine_for_superusers_and_for_the_token(
    client: Client, client_for: ClientFor, root: User, zed: User, settings: Settings
) -> None:
    away = {"REMOTE_ADDR": "10.0.0.9"}

    def status(one: Client, **extra: str) -> int:
        return one.get("/metrics", **extra).status_code  # type: ignore[arg-type]

    assert status(client) == 200
    assert status(client, HTTP_X_FORWARDED_FOR="10.0.0.9") == 403, "behind a proxy"
    assert status(client, **away) == 403
    assert status(client_for(zed), **away) == 403
    assert status(client_for(root), **away) == 200
    settings.METRICS_TOKEN = "a long token"
    assert status(client) == 403, "once there is a token, it is asked for"
    for given, expected in (("Bearer a long token", 200), ("Bearer wrong", 403), ("", 403)):
        assert status(client, HTTP_AUTHORIZATION=given, **away) == expected


def test_the_alerts_ask_for_figures_that_there_are(
    client: Client, project: Project, make_pairs: MakePairs, ann: User
) -> None:
    make_pairs(1)
    queue.next_pair(project, ann)
    WorkerBeat.objects.create(kind="gpu", host="here", pid=1, seen_at=project.created_at)
    run = Run.objects.create(project=project)
    Round.objects.create(project=project, number=1)
    client.get("/livez")
    there = {name for name, *_labels in figures(client)}
    assert run.state == "queued"
    rules = yaml.safe_load(Path("config/prometheus_alerts.yml").read_text())
    (group,) = rules["groups"]
    asked = {name for rule in group["rules"] for name in re.findall(r"pairloop_\w+", rule["expr"])}
    assert len(asked) == len(group["rules"])
    assert asked <= there


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_page_is_only_read(client: Client, db: None, method: str) -> None:
    assert getattr(client, method)("/metrics").status_code in (403, 405)


def test_words_that_are_no_methods_make_no_figures_of_their_own(client: Client, db: None) -> None:
    for n in range(5):
        client.generic(f"INVENTED{n}", "/livez")
    text = client.get("/metrics").content.decode()
    assert "INVENTED" not in text and 'method="other"' in text
