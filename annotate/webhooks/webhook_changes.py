"""The making and changing of webhooks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User

from annotate.models import Project, Webhook

MOST = 20
"""Of a project: each costs a row per event."""


class TooMany(Exception):
    """The project has as many webhooks as it may; the message is for people."""


def create(
    project: Project, by: User, *, url: str, events: list[str], seen_at: str, active: bool = True
) -> Webhook:
    """A new webhook, with a secret.

    Args:
        url: as `target_address.check_url` gave it back.
        seen_at: an absolute address of this installation, as the maker's browser has it.

    Raises:
        TooMany
    """
    if project.webhooks.count() >= MOST:
        raise TooMany(f"A project has at most {MOST} webhooks. Delete one first.")
    return Webhook.objects.create(
        project=project, created_by=by, url=url, events=events, active=active, site=_site(seen_at)
    )


def change(hook: Webhook, *, seen_at: str, **fields: Any) -> None:
    """Set some of url, events and active. To activate it is to try it with new patience."""
    if fields.get("active") and not hook.active:
        fields |= {"failing_since": None, "quiet_until": None, "disabled_because": ""}
    fields["site"] = _site(seen_at)
    for name, value in fields.items():
        setattr(hook, name, value)
    hook.save(update_fields=list(fields))


def _site(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
