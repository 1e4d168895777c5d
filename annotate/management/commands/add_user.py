from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from annotate.audit.recording import record_command
from annotate.models import ApiToken, Membership, Project, TokenScope
from annotate.models.roles import Role
from annotate.people.token_scopes import MEANS

MOST_DAYS = 3650


class Command(BaseCommand):
    help = (
        "Give a person a role in a project. A new account's password, or with --token a new API "
        "token, is printed once, as the last word."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", choices=Role.values, required=True)
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--token", action="store_true", help="Print a new API token.")
        scopes = "; ".join(f"{scope}: {means}" for scope, means in MEANS.items())
        parser.add_argument(
            "--scope",
            action="append",
            choices=TokenScope.values,
            help=f"Of the token; may be given several times, all without it. {scopes}.",
        )
        parser.add_argument(
            "--days", type=int, help=f"Until the token expires; {ApiToken.LIFETIME.days} without."
        )

    def handle(
        self,
        *args: Any,
        name: str,
        role: str,
        project: str,
        token: bool,
        scope: list[str] | None,
        days: int | None,
        **options: Any,
    ) -> None:
        if not token and (scope or days is not None):
            raise CommandError("--scope and --days are about a token: add --token.")
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days must be from 1 to {MOST_DAYS}.")
        lifetime = ApiToken.LIFETIME if days is None else timedelta(days=days)
        with transaction.atomic():
            target = Project.objects.filter(slug=project).first()
            if target is None:
                raise CommandError(f"There is no project {project!r}.")
            password = "" if token else secrets.token_urlsafe(12)
            user, created = self._account(name, password)
            Membership.objects.update_or_create(
                project=target, user=user, defaults={"role": role, "active": True}
            )
            secret = _secret(user, scope, lifetime) if token else ""
            told = {"account": user.pk, "role": role, "token": token}
            record_command("add_user", project_slug=project, **told)
        joined = f"{name} is {Role(role).label.lower()} in {project}."
        if secret:
            self.stdout.write(f"{joined} API token: {secret}")
        elif created:
            self.stdout.write(f"{joined} Password: {password}")
        else:
            self.stdout.write(f"{joined} The account was there before; its password stays.")

    def _account(self, name: str, password: str) -> tuple[User, bool]:
        known = User.objects.filter(username=name).first()
        if known is not None:
            return known, False
        user = User(username=name)
        try:
            user.set_password(password or None)
            user.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        user.save()
        return user, True


def _secret(user: User, scopes: list[str] | None, lifetime: timedelta) -> str:
    return ApiToken.issue(user, name="add_user", scopes=scopes, lifetime=lifetime)[1]
