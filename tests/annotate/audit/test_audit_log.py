"""Who did what: recorded by itself, chained, and without a name once a person is erased."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from annotate.audit import chain, erasure
from annotate.audit.actions import ACTIONS, NOT_RECORDED
from annotate.models import (
    ApiToken,
    AuditEntry,
    ExternalIdentity,
    Membership,
    Message,
    PersonKey,
    Project,
)
from annotate.models.roles import Role
from tests.conftest import PASSWORD, at_once
from tests.test_access import PARAMETERS
from training.models import LoopEvent, LoopSchedule, ModelVersion

ClientFor = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def test_somebody_has_said_of_each_address_whether_it_is_recorded() -> None:
    assert set(PARAMETERS) == set(ACTIONS) | NOT_RECORDED
    assert set(ACTIONS) & NOT_RECORDED == set()


def test_an_act_is_recorded_with_who_what_where_and_from_where(
    client_for: ClientFor, zed: User, project: Project, ann: User
) -> None:
    member = project.memberships.get(user=ann)
    client_for(zed).post(
        reverse("member", args=["desk", member.pk]),
        {"action": "role", "role": "reviewer", "secret": "hidden"},
        REMOTE_ADDR="192.0.2.7",
    )
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.project_slug, entry.address) == ("member", "desk", "192.0.2.7")
    assert entry.person == chain.key_of(zed)
    assert entry.details["member_id"] == str(member.pk)
    assert entry.details["role"] == "reviewer"
    assert "hidden" not in json.dumps(entry.details)


def test_nobody_keeps_an_act_out_of_the_log_by_what_a_database_refuses(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    archive = reverse("project-archive", args=["desk"])
    client_for(zed).post(f"{archive}?archived=%00", {"archived": "1\0"})
    assert actions() == ["project-archive"]
    assert AuditEntry.objects.get().details == {"archived": "1\ufffd"}
    assert chain.verify().entries == 1


def test_what_was_refused_is_not_recorded(
    client_for: ClientFor, zed: User, olga: User, project: Project
) -> None:
    assert client_for(olga).post(reverse("project-archive", args=["desk"])).status_code == 403
    assert client_for(zed).post(reverse("webhooks", args=["desk"]), {"url": "?"}).status_code < 500
    assert client_for(zed).post(reverse("password"), {"old_password": "wrong"}).status_code == 200
    assert actions() == []


def test_calls_with_a_token_name_the_token(
    api_for: Callable[[User], APIClient], zed: User, project: Project
) -> None:
    body = {"events": ["round.finished"], "url": "https://example.org/hook"}
    answer = api_for(zed).post(reverse("api-webhooks", args=["desk"]), body, format="json")
    assert answer.status_code == 201, answer.content
    (entry,) = AuditEntry.objects.all()
    assert entry.details == {
        "events": ["round.finished"],
        "api_token": ApiToken.objects.get().prefix,
    }


def test_signing_in_failing_to_and_signing_out_are_recorded(
    client: Client, ann: User, project: Project
) -> None:
    login = reverse("login")
    client.post(login, {"username": "ann", "password": "wrong"})
    client.post(login, {"username": PASSWORD, "password": "ann"})
    client.post(login, {"username": "ann", "password": PASSWORD})
    client.post(reverse("logout"))
    assert actions() == ["sign-in-failed", "sign-in", "sign-out"]
    assert {entry.person for entry in AuditEntry.objects.all()} == {chain.key_of(ann)}


def test_a_changed_a_missing_and_an_added_entry_break_the_chain(project: Project) -> None:
    for number in range(5):
        chain.append("command", project_slug="desk", details={"number": number, "ä": 1.5})
    assert chain.verify() == chain.Chain(entries=5, head=AuditEntry.objects.latest("pk").sha256)
    call_command("audit", "--head", AuditEntry.objects.all()[2].sha256, stdout=StringIO())
    with pytest.raises(CommandError, match="not in the chain"):
        call_command("audit", "--head", "0" * 64)

    second, third, fourth = AuditEntry.objects.order_by("pk")[1:4]
    AuditEntry.objects.filter(pk=third.pk).update(details={"number": 20})
    assert chain.verify().broken_at == third.pk
    with pytest.raises(CommandError, match=f"Entry {third.pk} is not what was written"):
        call_command("audit")
    third.delete()
    assert chain.verify().broken_at == fourth.pk
    AuditEntry.objects.filter(pk=fourth.pk).update(previous=second.sha256)
    assert chain.verify().broken_at == fourth.pk


@pytest.mark.django_db(transaction=True)
def test_entries_of_several_processes_make_one_chain(project: Project) -> None:
    results = at_once(*(lambda: [chain.append("command") for _ in range(10)] for _ in range(3)))
    assert all(isinstance(result, list) for result in results), results
    assert chain.verify().entries == 30
    assert chain.verify().broken_at == 0


def test_admins_read_the_log_by_what_was_done_and_take_it_with_them(
    client_for: ClientFor, zed: User, olga: User, project: Project
) -> None:
    admin = client_for(zed)
    admin.post(reverse("project-archive", args=["desk"]), {"archived": "1"})
    call_command("add_user", "mia", "--role", "annotator", "--project", "desk", stdout=StringIO())
    page = admin.get(reverse("audit", args=["desk"])).content.decode()
    assert "archived or reopened the project" in page
    assert "The operator" in page and "ran a command" in page
    only = admin.get(reverse("audit", args=["desk"]), {"q": "project-archive"}).content.decode()
    assert only.count('data-label="Did what"') == 1
    file = admin.get(reverse("audit-download", args=["desk"]))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["action"] for line in lines] == ["project-archive", "command", "audit-download"]
    assert lines[0]["name"] == "zed"
    assert [line["previous"] for line in lines[1:]] == [line["sha256"] for line in lines[:-1]]
    assert client_for(olga).get(reverse("audit", args=["desk"])).status_code == 403


def test_nothing_in_the_database_names_an_erased_person(
    client: Client, project: Project, ann: User, zed: User
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann.smith@example.org", last_name="Smithson")
    User.objects.filter(pk=ann.pk).update(username="ann.smith")
    client.post(reverse("login"), {"username": "ann.smith", "password": PASSWORD})
    member = Membership.objects.get(user=ann)
    Message.objects.create(member=member, author=zed, text="Well done, Smithson.")
    ApiToken.issue(ann, name="Smithson's laptop")
    there = {"issuer": "https://login.example.org", "subject": "smithson-1"}
    ExternalIdentity.objects.create(user=ann, address="ann.smith@example.org", **there)
    before = chain.verify()

    call_command("erase_person", "ann.smith", "--yes", stdout=StringIO())
    assert client.get(reverse("projects")).status_code == 302  # signed out
    assert not client.login(username="ann.smith", password=PASSWORD)
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            text = " ".join(map(str, cursor.fetchall())).lower()
        assert "smith" not in text, table
    member.refresh_from_db()
    assert (member.pseudonym, member.active) == ("ann-ann", False)
    after = chain.verify()
    assert (after.broken_at, after.entries) == (0, before.entries + 1)
    assert not PersonKey.objects.exists()


def test_texts_of_the_loop_lose_the_name_of_an_erased_person(
    client_for: ClientFor, project: Project, zed: User, root: User
) -> None:
    client_for(zed).post(reverse("schedule-pause", args=["desk"]), {"pause": "1"})
    policy = ModelVersion.objects.create(
        project=project, kind="policy", number=1, path="/m", note="Promoted by zed: it is kind."
    )
    other = ModelVersion.objects.create(
        project=project, kind="policy", number=2, path="/m", note="Promoted by zeddie."
    )
    Membership.objects.create(project=project, user=root, role=Role.ADMIN)
    name = erasure.erase(zed)
    for row in (policy, other):
        row.refresh_from_db()
    assert policy.note == f"Promoted by {name}: it is kind."
    assert other.note == "Promoted by zeddie."
    assert LoopEvent.objects.get().text == f"By {name}."
    assert LoopSchedule.objects.get().paused_because == f"By {name}."


def test_the_last_admin_of_a_project_is_not_erased(project: Project, zed: User) -> None:
    with pytest.raises(CommandError, match="nobody else administers Support desk"):
        call_command("erase_person", "zed", "--yes")
    zed.refresh_from_db()
    assert zed.is_active
    with pytest.raises(CommandError, match="There is no account 'nobody'"):
        call_command("erase_person", "nobody", "--yes")


def test_addresses_are_dropped_after_their_time_and_the_chain_holds(
    project: Project, settings: Settings, zed: User
) -> None:
    settings.ADDRESS_DAYS = 30
    old, new = (chain.append("command", address="192.0.2.1") for _ in range(2))
    AuditEntry.objects.filter(pk=new.pk).update(address="192.0.2.2")
    assert erasure.drop_old_addresses() == 0
    settings.ADDRESS_DAYS = 0
    AuditEntry.objects.filter(pk=old.pk)
    assert erasure.drop_old_addresses() == 2
    assert chain.verify().broken_at == 0


def test_a_project_of_several_admins_lets_one_of_them_go(
    project: Project, zed: User, olga: User
) -> None:
    Membership.objects.filter(user=olga).update(role=Role.ADMIN)
    assert erasure.erase(zed) == f"erased-{zed.pk}"
    assert timezone.now() - AuditEntry.objects.get().at < timedelta(minutes=5)
