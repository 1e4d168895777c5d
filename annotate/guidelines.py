"""Guidelines keep every version, because votes refer to the one that was read."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from annotate.models import Guideline, Project


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
