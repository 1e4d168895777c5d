"""Check the audit log, or write it to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.audit import chain, recording
from annotate.models import AuditEntry


class Command(BaseCommand):
    help = (
        "Check the chain of the audit log of the whole installation, with sign-ins and commands; "
        "with --out write it as lines of JSON."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, help="a new file")
        parser.add_argument(
            "--head",
            metavar="SHA256",
            help="a hash that was noted earlier: it must be in the chain",
        )

    def handle(self, *args: Any, out: Path | None, head: str | None, **options: Any) -> None:
        state = chain.verify()
        if state.broken_at:
            raise CommandError(
                f"Entry {state.broken_at} is not what was written, or the one before it is gone. "
                f"The {state.entries} before are whole."
            )
        if head and not AuditEntry.objects.filter(sha256=head).exists():
            raise CommandError("That hash is not in the chain: it was written anew since.")
        self.stdout.write(f"{state.entries} entries, whole. The last: {state.head}")
        if out:
            recording.record_command("audit", out=str(out))
            with out.open("x", encoding="utf-8") as file:
                file.writelines(chain.lines(AuditEntry.objects.all()))
