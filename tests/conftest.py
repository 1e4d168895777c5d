"""The cast: the same people and the same project in every test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient
from xdist.scheduler import LoadScopeScheduling

from annotate.models import ApiToken, Completion, Membership, Pair, Project, Prompt
from annotate.models.content import is_held_out, messages_sha256, text_sha256
from annotate.models.roles import Role

PASSWORD = "correct horse battery"
Result = TypeVar("Result")
DATABASES = {"db", "transactional_db"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks a database; begin with the groups, which take longest."""
    for item in items:
        asked = DATABASES & set(getattr(item, "fixturenames", ()))
        if asked or item.get_closest_marker("django_db"):
            item.add_marker("database")
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


class ByTestOrFile(LoadScopeScheduling):
    """Hands out single tests, but all of a file whose tests share something that takes long.

    pytest-xdist 3.8 does not find its own xdist_group with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith("/test_distributed.py") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByTestOrFile | None:
    return ByTestOrFile(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Threads need a test database that they can share: on SQLite a file, not memory."""
    if connection.vendor == "sqlite":
        path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(path)
    else:
        options = connection.settings_dict["OPTIONS"]
        # The test client keeps a thread's connection between requests.
        options["pool"] = {**options["pool"], "max_size": 50}
        # A test is one transaction, in which much else is done on a slow machine.
        options["options"] += " -c idle_in_transaction_session_timeout=0"


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def project(db: None) -> Project:
    """Two votes per pair, a third when they disagree."""
    return Project.objects.create(slug="desk", name="Support desk", guidelines="Be *kind*.")


def person(name: str, *, project: Project | None = None, role: str = "") -> User:
    user = User.objects.create_user(name, password=PASSWORD)
    if project is not None:
        Membership.objects.create(project=project, user=user, role=role, pseudonym=f"ann-{name}")
    return user


@pytest.fixture
def ann(project: Project) -> User:
    return person("ann", project=project, role=Role.ANNOTATOR)


@pytest.fixture
def ben(project: Project) -> User:
    return person("ben", project=project, role=Role.ANNOTATOR)


@pytest.fixture
def cleo(project: Project) -> User:
    return person("cleo", project=project, role=Role.ANNOTATOR)


@pytest.fixture
def olga(project: Project) -> User:
    """Reviews."""
    return person("olga", project=project, role=Role.REVIEWER)


@pytest.fixture
def zed(project: Project) -> User:
    """Administers the project."""
    return person("zed", project=project, role=Role.ADMIN)


@pytest.fixture
def eve(db: None) -> User:
    """A stranger: has an account and no project."""
    return person("eve")


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def make_pairs(project: Project) -> Callable[..., list[Pair]]:
    """make_pairs(n, **columns): n pairs of `project` (or of project=...), each its own prompt."""
    default = project

    def make(n: int = 1, *, project: Project = default, **columns: object) -> list[Pair]:
        start = project.pairs.count()
        return [make_pair(project, start + i, **columns) for i in range(n)]

    return make


def make_pair(project: Project, i: int, **columns: object) -> Pair:
    messages = [{"role": "user", "content": f"Where is my order {i}?"}]
    sha = messages_sha256(messages)
    prompt = Prompt.objects.create(
        project=project, messages=messages, sha256=sha, held_out=is_held_out(sha)
    )
    a, b = (
        Completion.objects.create(
            prompt=prompt, text=text, sha256=text_sha256(text), source="starter", policy="starter"
        )
        for text in (f"Order {i} is on its way.", f"Order {i}? No idea.")
    )
    kind = str(columns.pop("kind", Pair.Kind.NORMAL))
    quota = Pair.quota(project, kind, key=f"pair-{i}")
    return Pair.objects.create(
        project=project,
        prompt=prompt,
        completion_a=a,
        completion_b=b,
        key=f"pair-{i}",
        **{**quota, **columns},
    )


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """client_for(user): a browser in which the user is signed in."""

    def make(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def api_for() -> Callable[[User], APIClient]:
    """api_for(user): a script that has the user's token."""

    def make(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.issue(user)[1]}")
        return client

    return make


@contextmanager
def own_connection() -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


def at_once(*work: Callable[[], Result]) -> list[Result | BaseException]:
    """Run all of it in threads that start at the same instant; exceptions are results."""
    barrier = threading.Barrier(len(work), timeout=60)

    def start(one: Callable[[], Result]) -> Result:
        with own_connection():
            connection.ensure_connection()
            barrier.wait()
            return one()

    with ThreadPoolExecutor(len(work)) as pool:
        futures = [pool.submit(start, one) for one in work]
    return [future.exception() or future.result() for future in futures]
