"""Tokens: known by their hashes, so that a stolen database holds no working key, and held to
their scopes and projects at every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.http import Http404
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from annotate.models import ApiToken
from annotate.models.integrations.api_token import digest
from annotate.people.permissions import NO_SUCH_PROJECT
from annotate.people.token_scopes import MEANS, scope_needed
from annotate.statements import prepared
from annotate.statements.instances import Columns

if TYPE_CHECKING:
    # Not at run time: rest_framework.views loads this module.
    from rest_framework.views import APIView

KEYWORD = "Token"
DESCRIPTION = (
    "`Token SECRET`. Make one on the page *API tokens* of your menu. It expires, may be limited to "
    "one project, and never allows more than your role. "
    "A call answers 403 to a token without the scope that it needs: "
    + "; ".join(f"`{scope}`: {means}" for scope, means in MEANS.items())
    + "."
)


def user_of(request: Request) -> User:
    """The person behind the request; the API's permissions let nobody in who is not known."""
    assert isinstance(request.user, User)
    return request.user


TOKEN = Columns(ApiToken, "token")
OWNER = Columns(User, "person")
# As `ApiTokenQuerySet.live` has it.
KNOWN = f"""
    SELECT {TOKEN.sql}, {OWNER.sql}, EXISTS (
        SELECT 1 FROM annotate_apitoken_ended_in ended WHERE ended.apitoken_id = token.id
    )
    FROM annotate_apitoken token JOIN auth_user person ON person.id = token.user_id
    WHERE token.sha256 = %(sha256)s AND person.is_active
        AND (token.expires_at IS NULL OR token.expires_at > %(now)s)
"""


def known(secret: str) -> ApiToken | None:
    """The live token with this secret and its owner, by one prepared statement; it knows whether an
    admin ended its access anywhere."""
    row = prepared.row(KNOWN, {"sha256": digest(secret), "now": timezone.now()})
    if row is None:
        return None
    token = TOKEN.instance(row[: len(TOKEN)])
    token.user = OWNER.instance(row[len(TOKEN) : -1])
    token.ended_somewhere = bool(row[-1])  # type: ignore[attr-defined]  # Set here alone.
    return token


class HashedTokenAuthentication(BaseAuthentication):
    """`Authorization: Token SECRET`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != KEYWORD.lower().encode():
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("The header must read: Authorization: Token SECRET")
        secret = parts[1].decode("ascii", "replace")
        token = known(secret)
        if token is None:
            raise AuthenticationFailed("This token is unknown or has expired.")
        token.touch()
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return KEYWORD


class WithinToken(BasePermission):
    """Hold a token to its scopes and its projects. Who is signed in by a session has them all.

    One of REST_FRAMEWORK's default permissions: it stands before every call, whatever app has it.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if isinstance(token, ApiToken):
            _require_scope(token, scope_needed(request.method, view))
            if token.limited and not getattr(view, "over_projects", False):
                _require_reach(token, view.kwargs)
        return True


def _require_scope(token: ApiToken, needed: str) -> None:
    """Raises PermissionDenied."""
    if needed not in token.scopes:
        has = ", ".join(token.scopes) or "none"
        raise PermissionDenied(
            f"This call needs a token with the scope {needed}; this token's scopes: {has}."
        )


def _require_reach(token: ApiToken, named: dict[str, Any]) -> None:
    """Raises Http404, as for a project that the owner is not in, or PermissionDenied.

    Args:
        named: what the call's address names.
    """
    if "slug" in named:
        within = token.projects().filter(slug=named["slug"])
    elif "token" in named:
        # A project imported as a whole has the assignments of its original, with their tokens.
        within = token.projects().filter(
            pairs__assignments__token=named["token"], pairs__assignments__annotator=token.user
        )
    else:
        # A list over projects would show those out of reach.
        raise PermissionDenied("This token is limited to projects; this call is about all of them.")
    if not within.exists():
        raise Http404(NO_SUCH_PROJECT)


class HashedTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular registers it untyped.
    """The token scheme as the OpenAPI schema words it."""

    target_class = "annotate.api.authentication.HashedTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": DESCRIPTION,
        }
