"""Finding projects, for code that has no signed-in user."""

from __future__ import annotations

from django.db.models import QuerySet

from annotate.models import Installation, Project


class UnknownProject(LookupError):
    """There is no project with this slug."""

    def __init__(self, slug: str) -> None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
        super().__init__(f"There is no project {slug!r}. Projects: {known}.")


def project(slug: str) -> Project:
    """The project with this slug. Raises UnknownProject."""
    try:
        return Project.objects.get(slug=slug)
    except Project.DoesNotExist:
        raise UnknownProject(slug) from None


def lock(project: Project) -> None:
    """Hold the project's row until the transaction ends: one caller at a time goes on."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def live_projects() -> QuerySet[Project]:
    """Projects that are not archived, whether or not their rounds start by themselves."""
    return Project.objects.filter(archived=False)


def installation_id() -> str:
    """Names this installation's database: 32 hex digits."""
    return Installation.current().uuid.hex
