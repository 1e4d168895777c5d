"""The page of the loop by itself, and the same by REST."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import Project
from training.models import LoopEvent, LoopSchedule
from training.rounds import schedule_limits

PAGE = "/projects/desk/rounds/schedule/"
API = "/api/v1/projects/desk/schedule/"
GIVEN = {
    "round_after": "40",
    "round_schedule": "0 3 * * *",
    "zone": "Europe/Berlin",
    "quiet_from": "22:00",
    "quiet_until": "06:00",
    "most_rounds": "5",
    "most_hours": "12.5",
    "stop_after": "3",
}
ClientFor = Callable[[User], Client]


def test_an_admin_sets_triggers_and_bounds(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    assert client_for(zed).post(PAGE, GIVEN).status_code == 302
    project.refresh_from_db()
    assert (project.round_after, project.round_schedule) == (40, "0 3 * * *")
    kept = LoopSchedule.objects.get(project=project)
    assert (kept.quiet_from, kept.quiet_until) == (time(22), time(6))
    assert (kept.most_rounds, kept.most_hours, kept.stop_after) == (5, 12.5, 3)
    html = client_for(zed).get(PAGE).content.decode()
    assert "Next times" in html and "Europe/Berlin" in html


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"round_schedule": "every night"}, "Not a cron expression"),
        ({"quiet_until": ""}, "a beginning and an end"),
        ({"quiet_until": "22:00"}, "never end"),
        ({"zone": "Atlantis/Capital"}, "valid choice"),
        ({"round_after": "-1"}, "greater than or equal"),
        ({"most_hours": "many"}, "number"),
    ],
)
def test_a_wrong_value_is_said_at_its_field_and_changes_nothing(
    client_for: ClientFor, zed: User, project: Project, changed: dict[str, str], said: str
) -> None:
    response = client_for(zed).post(PAGE, GIVEN | changed)
    assert response.status_code == 400
    assert said in response.content.decode()
    project.refresh_from_db()
    assert project.round_schedule == ""
    assert not LoopSchedule.objects.exists()


def test_a_reviewer_sees_what_happened_and_changes_nothing(
    client_for: ClientFor, olga: User, project: Project
) -> None:
    LoopEvent.objects.tell(project.pk, "failed", "No space left on device")
    client = client_for(olga)
    html = client.get(PAGE).content.decode()
    assert "No space left on device" in html
    assert 'name="round_after"' not in html
    assert client.post(PAGE, GIVEN).status_code == 403
    assert client.post(f"{PAGE}pause/", {"pause": "yes"}).status_code == 403


def test_the_loop_is_paused_and_goes_on_by_a_button(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    client = client_for(zed)
    client.post(PAGE, GIVEN)
    page = client.post(f"{PAGE}pause/", {"pause": "yes"}, follow=True).content.decode()
    assert "By zed." in page and "Go on" in page
    page = client.post(f"{PAGE}pause/", {"resume": "yes"}, follow=True).content.decode()
    assert 'name="pause"' in page
    assert schedule_limits.schedule_of(project).paused_at is None


def test_a_script_reads_and_changes_the_schedule(
    api_for: Callable[[User], APIClient], zed: User, olga: User, project: Project
) -> None:
    def patch(user: User, **body: Any) -> Any:
        return api_for(user).patch(API, body, format="json")

    assert patch(olga, round_after=10).status_code == 403
    said = patch(zed, round_after=10, most_rounds=2, quiet_from="22:00", quiet_until="06:30")
    assert said.status_code == 200
    assert (said.json()["round_after"], said.json()["most_rounds"]) == (10, 2)
    said = patch(zed, paused=True).json()
    assert (said["paused"], said["round_after"], said["most_rounds"]) == (True, 10, 2)
    assert [one["kind"] for one in said["events"]] == ["paused"]
    assert said["quiet_until"] == "06:30:00"
    offset = {"quiet_from": "22:00:00+02:00"}  # the zone is the schedule's
    for wrong in (
        {"quiet_from": None},
        {"zone": "nowhere"},
        {"round_schedule": "x"},
        {"x": 1},
        offset,
    ):
        assert patch(zed, **wrong).status_code == 400, wrong
    assert api_for(olga).get(API).json()["held"].startswith("Rounds by themselves are paused")
