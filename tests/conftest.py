"""The cast: the same people and the same project in every test."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.management import create_contenttypes
from django.core.cache import cache
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client
from pytest_django import DjangoDbBlocker, Settings
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware

from annotate.models import ApiToken, Completion, Membership, Pair, Project, Prompt
from annotate.models.content import is_held_out, messages_sha256, text_sha256
from annotate.models.roles import Role

# The same examples in every run, so that one run of a commit says what the next one will; a busy
# machine is no fault. `--long` looks at random for what nobody has met yet.
hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "searching", hypothesis.settings.get_profile("fixed"), derandomize=False
)
hypothesis.settings.load_profile("fixed")

PASSWORD = "correct horse battery"
Result = TypeVar("Result")
DATABASES = {"db", "transactional_db"}
LONGEST = ("rlhf", "browser", "setup", "versions", "runs", "queue")
"""Rooms with files of many seconds, in the order in which they are handed out."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A name for bytes that is the same in every process.

    pytest takes the bytes themselves. Archives hold the second in which they were made, and workers
    that collect their tests a second apart would run none.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks a database; begin with what takes long, and end with files of seconds."""
    for item in items:
        asked = DATABASES & set(getattr(item, "fixturenames", ()))
        if asked or item.get_closest_marker("django_db"):
            item.add_marker("database")
    early = {item.path for item in items if item.get_closest_marker("early")}
    items.sort(key=lambda item: (item.path not in early, place(item)))


def place(item: pytest.Item) -> int:
    """The place of a test's room in LONGEST; a room that is not there comes last."""
    rooms = item.nodeid.partition("::")[0].split("/")
    return min((LONGEST.index(room) for room in rooms if room in LONGEST), default=len(LONGEST))


def pytest_sessionstart() -> None:
    """Collect no garbage while libraries are imported, which make a million objects that stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave those objects out of every later collection: it took a third of the engine's tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IO[str]]:
    """A file in which the first worker names a migrated copy for the others; one holds it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "migrated.txt").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    tmp_path_factory: pytest.TempPathFactory,
    migrations: IO[str],
) -> None:
    """Threads need a test database that they can share: on SQLite a file, not memory."""
    # Migrations make 7,000 classes of models, among which a third of their time looked for garbage.
    gc.disable()
    migrated, options = migrations.read(), connection.settings_dict["OPTIONS"]
    if connection.vendor == "sqlite":
        path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(path)
        # Tests end processes, not the machine: nothing here is lost without waiting for a disk.
        lasting = options["init_command"]
        options["init_command"] = lasting.replace("synchronous=FULL", "synchronous=OFF")
        if migrated:
            shutil.copy(migrated, path)
    else:
        if migrated:
            connection.settings_dict["TEST"]["TEMPLATE"] = migrated
        # The test client keeps a thread's connection between requests.
        options["pool"] = {**options["pool"], "max_size": 50}
        # A test is one transaction, in which much else is done on a slow machine.
        options["options"] += " -c idle_in_transaction_session_timeout=0"
        options["options"] += " -c synchronous_commit=off"


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """The file of SQLite may be a copy that Django must not remove; it goes with its folder."""
    return django_db_keepdb or connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_setup(
    migrations: IO[str], django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """One worker migrates, which takes seconds; the others begin with a copy of its database."""
    gc.enable()
    gc.collect()
    first = "PYTEST_XDIST_WORKER" in os.environ and not Path(migrations.name).stat().st_size
    if first:
        with django_db_blocker.unblock():
            # The last connection to a file of SQLite leaves everything in that file.
            connection.close()
            connection.creation.clone_test_db("migrated", verbosity=0)
        migrations.write(connection.creation.get_test_db_clone_settings("migrated")["NAME"])
        migrations.flush()
    fcntl.flock(migrations, fcntl.LOCK_UN)
    if connection.vendor == "postgresql":
        # After a test of transactions. TRUNCATE makes a new file for each table and each index,
        # which takes a second and a half; there are few rows, and keys are checked at the end.
        connection.ops.sql_flush = delete_all
    # A test of transactions empties the tables and would fill in again what nobody reads here.
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    yield
    if first:
        with django_db_blocker.unblock():
            fcntl.flock(migrations, fcntl.LOCK_EX)
            migrations.truncate(0)
            connection.creation.destroy_test_db(suffix="migrated", verbosity=0)


def delete_all(style: object, tables: list[str], **_: object) -> list[str]:
    """Statements that leave no row in the tables."""
    return [f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables]


def examples(number: int) -> int:
    """Examples for a test of many orders of events: on the second database a third of them.

    The rules that they hold are the same; PostgreSQL is asked whether its statements are.
    """
    return number if connection.vendor == "sqlite" else max(2, number // 3)


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def static_files_are_listed_once() -> None:
    """Each client of a test starts the middleware, which would look at all static files again."""
    look = WhiteNoiseMiddleware.add_files_from_finders
    known: dict[str, object] = {}

    def add_files_from_finders(middleware: WhiteNoiseMiddleware) -> None:
        if not known:
            look(middleware)
            known.update(middleware.files)
        middleware.files.update(known)

    WhiteNoiseMiddleware.add_files_from_finders = add_files_from_finders


@pytest.fixture(autouse=True)
def nobody_is_throttled_yet() -> None:
    """Sign-in attempts and calls are counted in this process's cache, over tests as over people."""
    cache.clear()


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
        return add_pairs(project, range(start, start + n), **columns)

    return make


def make_pair(project: Project, i: int, **columns: object) -> Pair:
    (pair,) = add_pairs(project, [i], **columns)
    return pair


def add_pairs(project: Project, numbers: Iterable[int], **columns: object) -> list[Pair]:
    """One pair for each number, in few statements however many there are."""
    kind = str(columns.pop("kind", Pair.Kind.NORMAL))
    prompts, completions, pairs = [], [], []
    for i in numbers:
        messages = [{"role": "user", "content": f"Where is my order {i}?"}]
        sha = messages_sha256(messages)
        prompts.append(
            Prompt(project=project, messages=messages, sha256=sha, held_out=is_held_out(sha))
        )
        a, b = (
            Completion(
                prompt=prompts[-1],
                text=text,
                sha256=text_sha256(text),
                source="starter",
                policy="starter",
            )
            for text in (f"Order {i} is on its way.", f"Order {i}? No idea.")
        )
        completions += [a, b]
        quota = Pair.quota(project, kind, key=f"pair-{i}")
        told = {"completion_a": a, "completion_b": b, "key": f"pair-{i}", **quota, **columns}
        pairs.append(Pair(project=project, prompt=prompts[-1], **told))
    Prompt.objects.bulk_create(prompts)
    Completion.objects.bulk_create(completions)
    return Pair.objects.bulk_create(pairs)


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
