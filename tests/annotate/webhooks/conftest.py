from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.annotate.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    with receiving() as server:
        yield server
