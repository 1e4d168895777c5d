"""An installation made from a backup: into a home and a database that hold nothing yet."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from training.backups import backup_archive, database_copy
from training.backups.backup_archive import DATABASE, HOME, Manifest
from training.backups.make_backup import QUEUES

STAGING = ".restore-"
HELD = ("auth_user", "annotate_project")
"""Tables that are empty in a new installation, and in no other."""
ADVICE = "Restore into a new PAIRLOOP_HOME and an empty database."


class CannotRestore(RuntimeError):
    """Nothing was changed, for the reason that is said."""


def check(archive: Path) -> Manifest:
    """Read a backup to its end and return what it says of itself.

    Raises:
        CannotRestore: it cannot be read, is damaged, or not for this database or version.
    """
    try:
        with archive.open("rb"):
            pass
        manifest = backup_archive.read(archive, _nowhere)
    except OSError as error:
        raise CannotRestore(f"{archive}: {error.strerror}.") from error
    except backup_archive.Unusable as error:
        raise CannotRestore(f"{archive}: {error}") from error
    _refuse_other_database(manifest)
    return manifest


def restore(archive: Path) -> Manifest:
    """Make this installation what the backup holds.

    Everything is read, compared and unpacked beside the home first. Then the database is loaded in
    one step, the files are moved to their places, and the migrations that came since are applied.

    Raises:
        CannotRestore: something is there already, or the backup is not usable here.
    """
    home = Path(settings.HOME)
    _refuse_what_is_there(home)
    with tempfile.TemporaryDirectory(dir=home, prefix=STAGING) as folder:
        staging = Path(folder)
        manifest = _unpack(archive, staging)
        _refuse_other_database(manifest)
        copy = staging / DATABASE / database_copy.FILES[connection.vendor]
        if not copy.is_file():
            raise CannotRestore(f"{archive}: there is no database in it.")
        try:
            database_copy.load(copy)
        except database_copy.CannotCopy as error:
            raise CannotRestore(str(error)) from error
        _compare_rows(manifest)
        _place(staging / HOME, home)
    call_command("migrate", verbosity=0, interactive=False)
    return manifest


def _refuse_what_is_there(home: Path) -> None:
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    rows = database_copy.rows() if tables else {}
    if any(rows.get(table) for table in HELD):
        raise CannotRestore(f"the database has users or projects. {ADVICE}")
    for path in sorted(home.iterdir()):
        if path.is_dir() and any(path.iterdir()):
            raise CannotRestore(f"{path} has files. {ADVICE}")


def _unpack(archive: Path, staging: Path) -> Manifest:
    @contextlib.contextmanager
    def unpacked(name: str, member: tarfile.TarInfo) -> Iterator[IO[bytes]]:
        path = staging / PurePosixPath(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Nothing that was stored may be run, or read by more people than it was.
        path.chmod(member.mode & 0o644)
        os.utime(path, (member.mtime, member.mtime))

    try:
        return backup_archive.read(archive, unpacked)
    except backup_archive.Unusable as error:
        raise CannotRestore(f"{archive}: {error}") from error
    except OSError as error:
        raise CannotRestore(f"{error.filename or archive}: {error.strerror}.") from error


@contextlib.contextmanager
def _nowhere(name: str, member: tarfile.TarInfo) -> Iterator[None]:
    yield None


def _refuse_other_database(manifest: Manifest) -> None:
    """A backup goes to the engine that it came from, and to no older version of the product."""
    if manifest.engine != connection.vendor:
        theirs = database_copy.ENGINES.get(manifest.engine, manifest.engine)
        ours = database_copy.ENGINES[connection.vendor]
        raise CannotRestore(
            f"the backup is of {theirs} and DATABASE_URL names {ours}. Projects travel between "
            "them one by one: manage.py export_data --format project, then import_data."
        )
    known = MigrationLoader(None).disk_migrations
    newer = sorted(
        f"{app}.{name}"
        for app, name in manifest.migrations.items()
        if (app, name) not in (known or {})
    )
    if newer:
        raise CannotRestore(
            f"the backup is of a newer version of Pairloop ({', '.join(newer)}). Use that version."
        )


def _compare_rows(manifest: Manifest) -> None:
    rows = database_copy.rows()
    for table, count in manifest.rows.items():
        if rows.get(table) != count:
            raise CannotRestore(
                f"the table {table} has {rows.get(table, 0)} rows after loading, and had {count}. "
                "Empty the database and try again."
            )


def _place(unpacked: Path, home: Path) -> None:
    """Move what was unpacked to its place; a folder that is there is an empty one.

    The secret key comes last: until it is there, whoever starts the product makes a key of its own.
    """
    if not unpacked.is_dir():
        return
    for path in sorted(unpacked.iterdir(), key=lambda path: path.name == "secret_key"):
        target = home / path.name
        if target.is_dir():
            target.rmdir()
        if path.name.startswith(QUEUES):
            continue
        path.replace(target)
