"""An identity provider that runs while a test does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from annotate.models import ExternalIdentity
from tests.annotate.views.joining import identity_provider
from tests.annotate.views.joining.identity_provider import IdentityProvider


@pytest.fixture
def provider(settings: Settings) -> Iterator[IdentityProvider]:
    with identity_provider.named_by(settings) as here:
        yield here


@pytest.fixture
def connected(provider: IdentityProvider, ann: User) -> User:
    ExternalIdentity.objects.create(user=ann, issuer=provider.url, subject="s-1")
    return ann
