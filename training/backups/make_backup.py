"""A backup of a running installation: its database at one instant, then its files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from training.backups import database_copy
from training.backups.backup_archive import DATABASE, HOME, Manifest, writing
from training.models import ModelVersion

QUEUES = "huey.sqlite3"
"""Tasks that wait are triggers alone; the rows that they are about are in the database."""
STAGING = ".backup-"
ARCHIVES = (".tar", ".tar.zst", ".tar.gz", ".tgz")
PASSING = (".tmp", ".lock", "-wal", "-shm")


class CannotBackUp(RuntimeError):
    """Nothing was written, for the reason that is said."""


def back_up(to: Path, checkpoints: bool = True) -> Manifest:
    """Write a backup of the database and of all files of PAIRLOOP_HOME.

    Args:
        to: the archive to write, `.tar`, `.tar.zst` or `.tar.gz`; what is there is never replaced.
        checkpoints: with those from which interrupted runs would go on.

    Raises:
        CannotBackUp: the database cannot be copied, the file is there, or the disk is full.
    """
    if to.exists():
        raise CannotBackUp(f"{to} is there already.")
    try:
        # The copy is private like the home, and beside the archive, where there has to be room.
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=STAGING) as staging:
            copy, rows, migrations = database_copy.dump(Path(staging))
            # Files after the rows that name them: what a row of the copy names is there.
            manifest = Manifest(
                made_at=timezone.now().isoformat(timespec="seconds"),
                engine=connection.vendor,
                migrations=migrations,
                rows=rows,
                outside=outside(),
            )
            with writing(to, manifest) as archive:
                archive.add(copy, f"{DATABASE}/{copy.name}")
                for path in files(checkpoints=checkpoints, archive=to):
                    archive.add(path, f"{HOME}/{path.relative_to(settings.HOME).as_posix()}")
    except database_copy.CannotCopy as error:
        raise CannotBackUp(str(error)) from error
    except OSError as error:
        raise CannotBackUp(f"{error.filename or to}: {error.strerror or error}.") from error
    return manifest


def files(checkpoints: bool = True, archive: Path | None = None) -> Iterator[Path]:
    """The plain files of PAIRLOOP_HOME that a backup holds, in a fixed order.

    Links are left out: what they lead to is elsewhere, or held under its own name. So are
    backups, and all else in the folder of the `archive` where that is one below the home: each
    would hold all former ones.
    """
    home = Path(settings.HOME)
    backups = archive.parent.resolve() if archive else home
    database = Path(str(connection.settings_dict["NAME"]))
    for folder, folders, names in os.walk(home):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(STAGING)
            and (checkpoints or name != "checkpoints")
            and (backups == home.resolve() or Path(folder, name).resolve() != backups)
        )
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or name.endswith(PASSING):
                continue
            if path.parent == home and name.startswith((QUEUES, ".secret_key-")):
                continue
            if path.parent == home and name.endswith(ARCHIVES):
                continue
            if not (connection.vendor == "sqlite" and path == database):
                yield path


def outside() -> list[str]:
    """The folders of model versions that lie elsewhere: an operator's own, kept by other means."""
    paths = ModelVersion.objects.values_list("path", flat=True).distinct().order_by("path")
    home = Path(settings.HOME).resolve()
    return [
        path
        for path in paths
        if Path(path).is_absolute() and not Path(path).resolve().is_relative_to(home)
    ]
