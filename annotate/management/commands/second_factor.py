"""Take the second factor off an account whose owner lost it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.audit.recording import record_command
from annotate.people.joining import second_factor


class Command(BaseCommand):
    help = "Say whether an account has a second factor, or take it off with --off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the account")
        parser.add_argument("--off", action="store_true", help="the password alone signs in then")

    def handle(self, *args: Any, name: str, off: bool, **options: Any) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no account {name!r}.")
        if second_factor.device_of(user) is None:
            self.stdout.write(f"{name} has no second factor.")
        elif off:
            second_factor.turn_off(user)
            record_command("second_factor", account=user.pk)
            self.stdout.write(f"The second factor of {name} is off.")
        else:
            self.stdout.write(f"{name} has a second factor. Take it off with --off.")
