"""A POST that is sent again with its key is done once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.jobs.job_runner import tidy_jobs
from annotate.models import ApiToken, Guideline, IdempotencyKey, Invitation, Project, Prompt
from tests.conftest import at_once, person

Api = Callable[[User], APIClient]
GUIDELINES = "/api/v1/projects/desk/guidelines/"
INVITATIONS = "/api/v1/projects/desk/invitations/"
IMPORTS = "/api/v1/projects/desk/imports/"


def keyed(client: APIClient, path: str, body: object, key: str = "k-1") -> tuple[int, dict, dict]:  # type: ignore[type-arg]
    answer = client.post(path, body, format="json", headers={"Idempotency-Key": key})
    return answer.status_code, answer.json(), dict(answer.headers)


def test_the_same_request_gets_the_stored_answer(project: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    status, first, _ = keyed(client, GUIDELINES, {"text": "Be brief."})
    again, same, headers = keyed(client, GUIDELINES, {"text": "Be brief."})
    assert (status, again) == (201, 201) and same == first
    assert headers["Idempotency-Replayed"] == "true"
    assert project.guideline_history.filter(text="Be brief.").count() == 1
    assert keyed(client, GUIDELINES, {"text": "Be brief."}, '"k-1"')[1] == first, "in quotes, too"


def test_the_header_of_the_place_is_repeated(project: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    places = [
        client.post(
            f"{IMPORTS}?name=a.jsonl",
            b'{"prompt": "Hi"}\n',
            content_type="application/octet-stream",
            headers={"Idempotency-Key": "file"},
        ).headers["Location"]
        for _ in range(2)
    ]
    assert len(set(places)) == 1 and project.imports.count() == 1


def test_another_request_with_the_key_is_422(project: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    keyed(client, GUIDELINES, {"text": "Be brief."})
    status, said, _ = keyed(client, GUIDELINES, {"text": "Be long."})
    assert status == 422 and "new key" in said["detail"]
    assert keyed(client, INVITATIONS, {})[0] == 422, "another address is another request"
    assert not Guideline.objects.filter(text="Be long.").exists()


def test_a_key_belongs_to_its_person(project: Project, zed: User, api_for: Api) -> None:
    yan = person("yan", project=project, role="admin")
    assert keyed(api_for(zed), GUIDELINES, {"text": "Be brief."})[0] == 201
    assert keyed(api_for(yan), GUIDELINES, {"text": "Be long."})[0] == 201


def test_another_token_of_the_same_person_is_told_nothing(
    project: Project, zed: User, api_for: Api
) -> None:
    keyed(api_for(zed), INVITATIONS, {})
    assert keyed(api_for(zed), INVITATIONS, {})[0] == 422


def test_after_a_refusal_the_key_may_come_with_another_body(
    project: Project, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    assert keyed(client, GUIDELINES, {"txt": "Be brief."})[0] == 400
    assert keyed(client, GUIDELINES, {"text": "Be brief."})[0] == 201


def test_a_request_in_flight_is_409_until_its_process_is_lost(
    project: Project, zed: User, api_for: Api
) -> None:
    now = timezone.now()
    lost = IdempotencyKey.objects.create(
        user=zed, key="k-1", started_at=now, expires_at=now + timedelta(days=1)
    )
    client = api_for(zed)
    status, _, headers = keyed(client, GUIDELINES, {"text": "Be brief."})
    assert status == 409 and headers["Retry-After"] == "1"
    IdempotencyKey.objects.filter(pk=lost.pk).update(started_at=now - timedelta(minutes=6))
    assert keyed(client, GUIDELINES, {"text": "Be brief."})[0] == 201


def test_answers_are_forgotten_after_a_day(project: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    keyed(client, GUIDELINES, {"text": "Be brief."})
    keyed(client, INVITATIONS, {}, "other")
    IdempotencyKey.objects.filter(key="k-1").update(expires_at=timezone.now())
    assert keyed(client, GUIDELINES, {"text": "Be long."})[0] == 201, "the key is free again"
    IdempotencyKey.objects.filter(key="other").update(expires_at=timezone.now())
    tidy_jobs()
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["k-1"]


def test_a_link_is_told_once_and_stored_nowhere(project: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    _, first, _ = keyed(client, INVITATIONS, {"role": "reviewer"})
    _, again, _ = keyed(client, INVITATIONS, {"role": "reviewer"})
    assert "/join/" in first["link"] or "/invitation" in first["link"]
    assert again == {**first, "link": None} and Invitation.objects.count() == 1
    assert first["link"].rstrip("/").rsplit("/", 1)[-1] not in IdempotencyKey.objects.get().body


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "schlüssel".encode().decode("latin-1"), "\t"])
def test_a_key_that_is_none_is_400(project: Project, zed: User, api_for: Api, key: str) -> None:
    status, said, _ = keyed(api_for(zed), GUIDELINES, {"text": "Be brief."}, key)
    assert status == 400 and "Idempotency-Key" in said["detail"]


def test_without_a_known_token_a_key_is_not_kept(project: Project, client: APIClient) -> None:
    answer = client.post(GUIDELINES, headers={"Idempotency-Key": "k", "Authorization": "Token x"})
    assert answer.status_code == 401 and not IdempotencyKey.objects.exists()


def test_who_is_signed_in_by_a_session_has_keys_too(
    project: Project, zed: User, client: APIClient
) -> None:
    client.force_login(zed)
    for _ in range(2):
        body = {"text": "Be brief."}
        headers = {"Idempotency-Key": "k"}
        answer = client.post(GUIDELINES, body, content_type="application/json", headers=headers)
        assert answer.status_code == 201
    assert project.guideline_history.filter(text="Be brief.").count() == 1


def test_of_requests_at_the_same_instant_one_is_done(
    transactional_db: None, project: Project, zed: User
) -> None:
    secret = ApiToken.issue(zed)[1]
    clients = [APIClient(headers={"Authorization": f"Token {secret}"}) for _ in range(4)]
    body = {"prompts": [{"messages": [{"role": "user", "content": "Hi"}]}]}

    def send(client: APIClient) -> Callable[[], int]:
        return lambda: keyed(client, "/api/v1/projects/desk/prompts/", body)[0]

    statuses = at_once(*(send(client) for client in clients))
    assert statuses.count(201) >= 1 and set(map(int, statuses)) <= {201, 409}, statuses  # type: ignore[arg-type]
    assert Prompt.objects.count() == 1
    assert IdempotencyKey.objects.get().status == 201
    connection.close()
