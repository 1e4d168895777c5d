"""Finding projects, for code that has no signed-in user."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import QuerySet

from annotate.models import Installation, Project
from annotate.models.roles import Role


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


def archived_refusal(project: Project) -> str:
    """A sentence where the project is archived, by now; "" where it is not."""
    if not Project.objects.filter(pk=project.pk, archived=True).exists():
        return ""
    return f"{project.name} is archived: reopen it on Projects first."


def set_triggers(project: Project, *, round_after: int, round_schedule: str) -> None:
    """Say when rounds of the project start by themselves: after so many pairs, and at times."""
    project.round_after, project.round_schedule = round_after, round_schedule
    project.save(update_fields=["round_after", "round_schedule"])


def admins(project: Project) -> QuerySet[User]:
    """Active people who may change the project, superusers left out that are no members."""
    return User.objects.filter(
        is_active=True,
        memberships__project=project,
        memberships__active=True,
        memberships__role=Role.ADMIN,
    ).order_by("username")


def installation_id() -> str:
    """Names this installation's database: 32 hex digits."""
    return Installation.current().uuid.hex
