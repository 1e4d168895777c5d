"""Erase a person: their name, addresses, sessions and tokens."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.audit import erasure


class Command(BaseCommand):
    help = (
        "Take away whatever names a person. Their votes and decisions stay, under the pseudonyms "
        "that they have in their projects. It cannot be taken back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the account")
        parser.add_argument("--yes", action="store_true", help="do it; else only say what goes")

    def handle(self, *args: Any, name: str, yes: bool, **options: Any) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no account {name!r}.")
        if not yes:
            places = user.memberships.count()
            self.stdout.write(
                f"{name}: the account, {user.api_tokens.count()} API tokens, all sessions and "
                f"messages; the places in {places} projects end, votes stay. Erase with --yes."
            )
            return
        try:
            left = erasure.erase(user)
        except erasure.CannotErase as error:
            raise CommandError(f"Not erased: {error}") from error
        self.stdout.write(f"Erased. The account is {left} now, and cannot be opened.")
