"""Write a backup of the installation while people go on working."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from training.backups import make_backup


class Command(BaseCommand):
    help = (
        "Write the database and all files of PAIRLOOP_HOME to one archive, while people go on "
        "voting and rounds go on. manage.py restore makes an installation of it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "to",
            type=Path,
            help="a new file .tar, .tar.zst or .tar.gz, or a folder, where it is named by the time",
        )
        parser.add_argument(
            "--without-checkpoints",
            action="store_true",
            help="leave out from where interrupted runs would go on; they would begin anew",
        )

    def handle(self, *args: Any, to: Path, without_checkpoints: bool, **options: Any) -> None:
        if to.is_dir():
            to = to / f"pairloop-{timezone.now():%Y%m%d-%H%M%S}.tar.zst"
        try:
            manifest = make_backup.back_up(to, checkpoints=not without_checkpoints)
        except make_backup.CannotBackUp as error:
            raise CommandError(f"No backup: {error}") from error
        size = to.stat().st_size / 1e6
        self.stdout.write(
            f"{to}  {size:,.1f} MB, {len(manifest.files)} files, SHA-256 of each in it"
        )
        for folder in manifest.outside:
            self.stdout.write(f"Not in it, because it lies outside of PAIRLOOP_HOME: {folder}")
        if not (Path(settings.HOME) / "secret_key").exists():
            self.stdout.write("Not in it: SECRET_KEY of the environment. Keep it as well.")
