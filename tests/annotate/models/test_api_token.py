from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import ApiToken, Membership, Pair, Project

MakePairs = Callable[..., list[Pair]]
NEXT = "/api/v1/projects/desk/next/"


def call(header: str) -> int:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    return client.post(NEXT, {}, format="json").status_code


def test_a_token_signs_in_and_is_stored_only_as_a_hash(ann: User) -> None:
    token, secret = ApiToken.issue(ann, name="script")
    assert call(f"Token {secret}") == 204
    columns = {str(value) for value in ApiToken.objects.values_list().get()}
    assert not any(secret in value for value in columns)
    token.refresh_from_db()
    assert token.last_used_at is not None and secret.startswith(token.prefix)


@pytest.mark.parametrize(
    "header", ["", "Token", "Token a b", "Token wrong", "Token \xff", "Bearer x"]
)
def test_anything_else_is_refused(ann: User, header: str) -> None:
    ApiToken.issue(ann)
    assert call(header) == 401


def test_an_expired_token_is_refused(ann: User) -> None:
    _, secret = ApiToken.issue(ann)
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert call(f"Token {secret}") == 401


def test_the_token_of_a_deactivated_account_is_refused(ann: User) -> None:
    _, secret = ApiToken.issue(ann)
    User.objects.update(is_active=False)
    assert call(f"Token {secret}") == 401


def add_user(*arguments: str) -> str:
    out = StringIO()
    call_command("add_user", *arguments, stdout=out)
    return out.getvalue()


def test_add_user_prints_a_working_password_last(project: Project) -> None:
    out = add_user("nina", "--role", "reviewer", "--project", "desk")
    nina = User.objects.get(username="nina")
    assert nina.check_password(out.split()[-1])
    assert Membership.objects.get(user=nina).role == "reviewer"


def test_add_user_prints_a_working_token_last(project: Project) -> None:
    out = add_user("nina", "--role", "annotator", "--project", "desk", "--token")
    assert call(f"Token {out.split()[-1]}") == 204
    assert not User.objects.get(username="nina").has_usable_password()


def test_add_user_gives_a_token_the_scopes_and_the_days_it_is_told(project: Project) -> None:
    asked = ("nina", "--role", "annotator", "--project", "desk", "--token")
    add_user(*asked)
    assert ApiToken.objects.get().scopes == ["read", "vote", "write", "admin"]
    out = add_user(*asked, "--scope", "read", "--scope", "write", "--days", "3")
    assert call(f"Token {out.split()[-1]}") == 403
    token = ApiToken.objects.latest("pk")
    assert token.scopes == ["read", "write"] and token.expires_at is not None
    assert token.expires_at < timezone.now() + timedelta(days=3)


def test_add_user_changes_the_role_of_a_known_person_and_keeps_the_password(ann: User) -> None:
    before = ann.password
    add_user("ann", "--role", "admin", "--project", "desk")
    ann.refresh_from_db()
    assert Membership.objects.get(user=ann).role == "admin" and ann.password == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("nina", "--role", "annotator", "--project", "nowhere"),
        ("no spaces", "--role", "annotator", "--project", "desk"),
        ("nina", "--role", "owner", "--project", "desk"),
        ("nina", "--role", "admin", "--project", "desk", "--scope", "read"),
        ("nina", "--role", "admin", "--project", "desk", "--token", "--scope", "all"),
        ("nina", "--role", "admin", "--project", "desk", "--token", "--days", "0"),
    ],
)
def test_add_user_refuses_nonsense_and_leaves_nothing(
    project: Project, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(CommandError):
        add_user(*arguments)
    assert not User.objects.exists()
