"""A second factor: set up, asked for, spent, limited, lost, required."""

from __future__ import annotations

import re
import time
from base64 import b32decode
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings
from rest_framework.test import APIClient

from annotate.audit import erasure
from annotate.models import AuditEntry, Membership, Project
from annotate.people.joining.sign_in_link import path_of
from annotate.views.joining import sign_in_limits
from tests.conftest import PASSWORD

pytestmark = pytest.mark.database
LOGIN, CODE, PAGE = "/accounts/login/", "/accounts/login/code/", "/accounts/second-factor/"
TOKENS = "/accounts/tokens/"
ClientFor = Callable[[User], Client]


class App:
    """An authenticator, which knows what the page showed it."""

    def __init__(self, page: str) -> None:
        (shown,) = re.findall(r'<code class="mono">([A-Z2-7 ]+)</code>', page)
        self.key = b32decode(shown.replace(" ", ""))

    def code(self, *, steps: int = 0) -> str:
        # The device remembers the last step that was used: tests spend later ones within reach.
        return f"{totp(self.key, t0=-30 * steps if steps else 0):06d}"


def forget_last_code() -> None:
    """As if half a minute had gone by."""
    TOTPDevice.objects.update(last_t=int(time.time()) // 30 - 5)


def set_up(client: Client) -> tuple[App, list[str]]:
    """Turn it on as the page asks; the app, and the recovery codes."""
    client.post(PAGE, {"do": "start", "password": PASSWORD})
    app = App(client.get(PAGE).content.decode())
    page = client.post(PAGE, {"do": "confirm", "code": app.code()}).content.decode()
    codes = re.findall(r"\b[a-z2-9]{5}-[a-z2-9]{5}\b", page)
    forget_last_code()
    return app, codes


def proof(client: Client, **extra: str) -> str:
    """What the form that asks for the code holds after the right password."""
    answer = client.post(LOGIN, {"username": "ann", "password": PASSWORD}, **extra)
    (value,) = re.findall(r'name="proof" value="([^"]+)"', answer.content.decode())
    return str(value)


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.fixture
def app_and_codes(client_for: ClientFor, ann: User) -> tuple[App, list[str]]:
    return set_up(client_for(ann))


def test_signing_in_asks_for_the_code_after_the_password(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    given = proof(client)
    assert not signed_in(client)
    answer = client.post(CODE, {"proof": given, "code": app_and_codes[0].code()})
    assert answer.status_code == 302 and signed_in(client)


def test_without_a_second_factor_the_password_is_enough(client: Client, ann: User) -> None:
    assert client.post(LOGIN, {"username": "ann", "password": PASSWORD}).status_code == 302
    assert signed_in(client)


def test_the_page_that_was_asked_for_comes_after_the_code(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    asked = {"username": "ann", "password": PASSWORD, "next": "/projects/desk/votes/"}
    page = client.post(LOGIN, asked).content.decode()
    fields = dict(re.findall(r'name="(next|proof)" value="([^"]*)"', page))
    answer = client.post(CODE, {**fields, "code": app_and_codes[0].code()})
    assert answer.headers["Location"] == "/projects/desk/votes/"


def test_a_code_and_a_recovery_code_work_once(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    app, codes = app_and_codes
    for code in (app.code(), codes[0]):
        client.logout()
        assert client.post(CODE, {"proof": proof(client), "code": code}).status_code == 302
        client.logout()
        assert client.post(CODE, {"proof": proof(client), "code": code}).status_code == 400
        assert not signed_in(client)


def test_a_recovery_code_may_be_typed_in_capitals_and_without_its_dash(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    typed = app_and_codes[1][1].upper().replace("-", " ")
    assert client.post(CODE, {"proof": proof(client), "code": typed}).status_code == 302


def test_recovery_codes_are_not_in_the_database(app_and_codes: tuple[App, list[str]]) -> None:
    stored = set(StaticToken.objects.values_list("token", flat=True))
    codes = app_and_codes[1]
    assert len(codes) == len(stored) == 10
    assert not stored & {form for code in codes for form in (code, code.replace("-", ""))}


def test_five_wrong_codes_block_like_five_wrong_passwords_and_the_password_does_not_reset_them(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    for _ in range(sign_in_limits.LIMIT):
        assert client.post(CODE, {"proof": proof(client), "code": "000000"}).status_code == 400
    given = client.post(LOGIN, {"username": "ann", "password": PASSWORD})
    assert given.status_code == 429
    assert not signed_in(client)


def test_the_limit_holds_for_the_code_itself(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    given = proof(client)
    for _ in range(sign_in_limits.LIMIT):
        client.post(CODE, {"proof": given, "code": "wrong"})
    answer = client.post(CODE, {"proof": given, "code": app_and_codes[0].code()})
    assert answer.status_code == 429 and not signed_in(client)


def test_a_proof_that_is_forged_or_used_up_lets_nobody_in(
    client: Client, app_and_codes: tuple[App, list[str]], root: User
) -> None:
    given = proof(client)
    rest = given.partition(":")[2]
    for wrong in ("", "1", f"{root.pk}:{rest}", given[:-1], f"{'9' * 30}:{rest}"):
        answer = client.post(CODE, {"proof": wrong, "code": app_and_codes[1][0]})
        assert answer.status_code == 400, wrong
    assert client.post(CODE, {"proof": given, "code": app_and_codes[1][0]}).status_code == 302
    client.logout()
    # The sign-in ended it.
    assert client.post(CODE, {"proof": given, "code": app_and_codes[1][1]}).status_code == 400


def test_setting_up_takes_the_password_and_a_right_code(client_for: ClientFor, ann: User) -> None:
    client = client_for(ann)
    assert client.post(PAGE, {"do": "start", "password": "wrong"}).status_code == 400
    client.post(PAGE, {"do": "start", "password": PASSWORD})
    assert client.post(PAGE, {"do": "confirm", "code": "000000"}).status_code == 400
    assert client.post(LOGIN, {"username": "ann", "password": PASSWORD}).status_code == 302
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_turning_it_on_ends_sessions_that_a_password_alone_began(
    client_for: ClientFor, ann: User, ben: User
) -> None:
    here, elsewhere, of_ben = client_for(ann), client_for(ann), client_for(ben)
    set_up(here)
    assert here.get(PAGE).status_code == 200
    assert elsewhere.get(PAGE).status_code == 302
    assert of_ben.get(PAGE).status_code == 200


def test_turning_it_off_needs_password_and_code(
    client_for: ClientFor, ann: User, client: Client
) -> None:
    own = client_for(ann)
    app, codes = set_up(own)
    for wrong in (
        {"password": "wrong", "code": codes[0]},
        {"password": PASSWORD, "code": "000000"},
    ):
        assert own.post(PAGE, {"do": "off", **wrong}).status_code == 400
    assert (
        own.post(PAGE, {"do": "off", "password": PASSWORD, "code": app.code()}).status_code == 302
    )
    assert client.post(LOGIN, {"username": "ann", "password": PASSWORD}).status_code == 302


def test_new_recovery_codes_take_the_place_of_the_old(
    client_for: ClientFor, ann: User, client: Client
) -> None:
    own = client_for(ann)
    app, old = set_up(own)
    page = own.post(PAGE, {"do": "renew", "code": app.code()}).content.decode()
    assert not set(old) & set(re.findall(r"\b[a-z2-9]{5}-[a-z2-9]{5}\b", page))
    assert client.post(CODE, {"proof": proof(client), "code": old[0]}).status_code == 400


def test_secret_and_recovery_codes_are_never_shown_again(client_for: ClientFor, ann: User) -> None:
    own = client_for(ann)
    _app, codes = set_up(own)
    answer = own.get(PAGE)
    page = answer.content.decode()
    assert codes[0] not in page and '<code class="mono">' not in page
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_token_is_made_only_in_a_session_that_gave_a_code(
    client_for: ClientFor, ann: User, api_for: Callable[[User], APIClient]
) -> None:
    made = {"name": "script", "scopes": ["read"], "days": 30}
    script = api_for(ann)
    own = client_for(ann)
    set_up(own)
    assert own.post(TOKENS, made).status_code == 200
    by_force = client_for(ann)  # Begun without a code, as no page lets anybody.
    assert by_force.post(TOKENS, made).status_code == 400
    assert ann.api_tokens.count() == 2
    assert script.get("/api/v1/projects/").status_code == 200


def test_links_in_the_place_of_a_password_ask_for_the_code_too(
    client: Client, app_and_codes: tuple[App, list[str]], ann: User
) -> None:
    page = client.get(path_of(ann)).content.decode()
    assert not signed_in(client)
    (given,) = re.findall(r'name="proof" value="([^"]+)"', page)
    assert client.post(CODE, {"proof": given, "code": app_and_codes[1][0]}).status_code == 302


def test_a_password_chosen_by_a_link_does_not_sign_in_without_the_code(
    client_for: ClientFor,
    client: Client,
    app_and_codes: tuple[App, list[str]],
    ann: User,
    root: User,
) -> None:
    member = ann.memberships.get()
    page = client_for(root).post(f"/projects/desk/people/{member.pk}/", {"reset": "yes"})
    (path,) = re.findall(r"http://testserver(/accounts/forgotten/[^<]+)", page.content.decode())
    form = client.get(path, follow=True)
    client.post(form.redirect_chain[-1][0], {"password": "another horse battery"})
    assert not signed_in(client)
    ann.refresh_from_db()
    assert ann.check_password("another horse battery")


def test_an_admin_turns_a_lost_one_off_and_the_log_says_so(
    client_for: ClientFor,
    client: Client,
    app_and_codes: tuple[App, list[str]],
    ann: User,
    zed: User,
) -> None:
    address = f"/projects/desk/people/{ann.memberships.get().pk}/"
    assert "Second factor off" in client_for(zed).get("/projects/desk/people/").content.decode()
    assert client_for(zed).post(address, {"second_factor": "off"}).status_code == 302
    assert AuditEntry.objects.filter(action="second-factor-off", project_slug="desk").exists()
    assert client.post(LOGIN, {"username": "ann", "password": PASSWORD}).status_code == 302


def test_an_admin_of_one_project_cannot_turn_off_that_of_who_has_rights_elsewhere(
    client_for: ClientFor, app_and_codes: tuple[App, list[str]], ann: User, zed: User
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann, role="reviewer", pseudonym="x")
    address = f"/projects/desk/people/{ann.memberships.get(project__slug='desk').pk}/"
    assert client_for(zed).post(address, {"second_factor": "off"}).status_code == 403
    assert TOTPDevice.objects.filter(user=ann, confirmed=True).exists()


def test_the_operator_turns_one_off_by_a_command(
    client: Client, app_and_codes: tuple[App, list[str]]
) -> None:
    call_command("second_factor", "ann", "--off")
    assert client.post(LOGIN, {"username": "ann", "password": PASSWORD}).status_code == 302
    with pytest.raises(CommandError, match="no account"):
        call_command("second_factor", "nobody", "--off")


def test_erasing_a_person_takes_the_secret_along(
    app_and_codes: tuple[App, list[str]], ann: User
) -> None:
    erasure.erase(ann)
    assert not TOTPDevice.objects.exists() and not StaticToken.objects.exists()


def test_staff_set_it_up_before_anything_else_where_the_operator_asks_for_it(
    client_for: ClientFor, settings: Settings, root: User, zed: User, ann: User
) -> None:
    settings.REQUIRE_TOTP = True
    for user in (root, zed):
        client = client_for(user)
        assert client.get("/projects/").headers["Location"] == PAGE
        assert client.get("/api/v1/projects/").status_code == 403
        assert client.post("/accounts/tokens/").headers["Location"] == PAGE
        set_up(client)
        assert client.get("/projects/").status_code == 200
    assert client_for(ann).get("/projects/").status_code == 200


def test_scripts_go_on_where_the_operator_asks_staff_for_it(
    settings: Settings, zed: User, api_for: Callable[[User], APIClient]
) -> None:
    settings.REQUIRE_TOTP = True
    assert api_for(zed).get("/api/v1/projects/").status_code == 200
