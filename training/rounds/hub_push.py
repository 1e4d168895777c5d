"""Pushing a model version to a hub, where the installation allows it."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from annotate import exchange
from training.models import ModelVersion, Run, RunKind
from training.runs import task_queue
from training.versions import zip_archive


class Refused(Exception):
    """The version cannot be pushed; the message is for people."""


def last(version: ModelVersion) -> Run | None:
    """The version's latest push."""
    pushes = Run.objects.filter(kind=RunKind.PUSH, project=version.project_id)
    return pushes.filter(options__version=version.pk).order_by("-pk").first()


def push(version: ModelVersion, *, repo: str, private: bool) -> Run:
    """Queue the upload of a version.

    Raises:
        Refused: it is not allowed here, there are no weights, or an upload is on its way.
    """
    if not settings.HUB_PUSH:
        raise Refused("Pushing to a hub is switched off here (PAIRLOOP_HUB_PUSH).")
    options = {"version": version.pk, "repo": repo, "private": private}
    with transaction.atomic():
        exchange.lock(version.project)  # of two pushes, and of a push and a removal, one is first
        before = last(version)
        if before is not None and not before.final:
            raise Refused(f"{version.name} is on its way to {before.options['repo']} already.")
        version.refresh_from_db(fields=["pruned_at"])
        try:
            zip_archive.folder_of(version)
        except zip_archive.NotHere as error:
            raise Refused(str(error)) from error
        run = Run.objects.create(kind=RunKind.PUSH, project=version.project, options=options)
        task_queue.hand_to_worker(run)
    return run
