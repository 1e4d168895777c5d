from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture(scope="session")
def folder_of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def home(settings: Settings, folder_of_session: Path) -> Path:
    """Imports leave files; not in the developer's folder."""
    settings.HOME = folder_of_session
    settings.MIN_FREE_GB = 0.0
    return folder_of_session
