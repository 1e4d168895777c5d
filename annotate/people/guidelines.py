"""Guidelines keep every version, because votes refer to the one that was read."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils.safestring import SafeString

from annotate.models import Guideline, Membership, Project
from annotate.text.word_diff import word_diff


def revise(project: Project, text: str, *, author: User) -> int:
    """Save `text` as the project's next version of the guidelines; returns its number."""
    with transaction.atomic():
        locked = Project.objects.select_for_update().get(pk=project.pk)
        history = Guideline.objects.filter(project=project)
        if not history.filter(version=locked.guideline_version).exists():
            # The first text, from before anybody edited it.
            history.create(
                project=project, version=locked.guideline_version, text=locked.guidelines
            )
        locked.guidelines = text
        locked.guideline_version += 1
        locked.save(update_fields=["guidelines", "guideline_version"])
        history.create(project=project, version=locked.guideline_version, text=text, author=author)
    project.guidelines, project.guideline_version = text, locked.guideline_version
    return locked.guideline_version


def confirm(project: Project, user: User, *, version: int) -> None:
    """Remember that a member has read this version. An older one than before changes nothing."""
    unread = Membership.objects.filter(project=project, user=user, guidelines_read__lt=version)
    unread.update(guidelines_read=version)


def changes(project: Project, user: User) -> SafeString | None:
    """The guidelines as HTML source, with the words marked that are new since the version that the
    member confirmed; None for who never confirmed one."""
    confirmed = Guideline.objects.filter(
        project=project,
        project__memberships__user=user,
        version=F("project__memberships__guidelines_read"),
    ).first()
    return word_diff(confirmed.text, project.guidelines)[1] if confirmed else None
