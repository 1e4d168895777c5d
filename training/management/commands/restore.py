"""Make a new installation of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.backups import restore_backup
from training.backups.backup_archive import Manifest


class Command(BaseCommand):
    help = (
        "Make this installation, with an empty PAIRLOOP_HOME and an empty database, what a backup "
        "holds. Nothing is changed before all of the backup was read and compared."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("archive", type=Path)
        parser.add_argument(
            "--check", action="store_true", help="only read and compare all of it; change nothing"
        )

    def handle(self, *args: Any, archive: Path, check: bool, **options: Any) -> None:
        act = restore_backup.check if check else restore_backup.restore
        try:
            manifest = act(archive)
        except restore_backup.CannotRestore as error:
            raise CommandError(f"{'' if check else 'Not restored: '}{error}") from error
        self.stdout.write(f"{'Whole' if check else 'Restored'}: {told(manifest)}")
        for folder in manifest.outside:
            self.stdout.write(f"A model of it lies outside: {folder}. Put it there again.")


def told(manifest: Manifest) -> str:
    rows = manifest.rows
    return (
        f"{rows.get('auth_user', 0)} people, {rows.get('annotate_project', 0)} projects, "
        f"{rows.get('annotate_assignment', 0)} leases and votes, {len(manifest.files)} files, "
        f"of {manifest.made_at}"
    )
