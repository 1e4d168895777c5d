"""Token authentication against hashes: a stolen database holds no working key."""

from __future__ import annotations

from django.contrib.auth.models import User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from annotate.models import ApiToken

KEYWORD = "Token"


def user_of(request: Request) -> User:
    """The person behind the request; the API's permissions let nobody in who is not known."""
    assert isinstance(request.user, User)
    return request.user


class HashedTokenAuthentication(BaseAuthentication):
    """`Authorization: Token SECRET`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != KEYWORD.lower().encode():
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("The header must read: Authorization: Token SECRET")
        secret = parts[1].decode("ascii", "replace")
        token = ApiToken.objects.for_secret(secret).select_related("user").first()
        if token is None:
            raise AuthenticationFailed("This token is unknown or has expired.")
        token.touch()
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return KEYWORD


class HashedTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular registers it untyped.
    """The token scheme as the OpenAPI schema words it."""

    target_class = "annotate.api.authentication.HashedTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token SECRET`; `manage.py add_user --token` prints a secret.",
        }
