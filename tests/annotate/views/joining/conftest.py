"""An identity provider that runs while a test does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from annotate.models import ExternalIdentity
from annotate.people.joining import openid_answers
from tests.annotate.views.joining import identity_provider
from tests.annotate.views.joining.identity_provider import CLIENT, SECRET, IdentityProvider


@pytest.fixture
def provider(settings: Settings) -> Iterator[IdentityProvider]:
    openid_answers.forget()
    with identity_provider.running() as here:
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = here.url, CLIENT
        settings.OIDC_CLIENT_SECRET, settings.OIDC_NAME = SECRET, "Acme"
        yield here
    openid_answers.forget()


@pytest.fixture
def connected(provider: IdentityProvider, ann: User) -> User:
    ExternalIdentity.objects.create(user=ann, issuer=provider.url, subject="s-1")
    return ann
