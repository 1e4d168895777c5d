"""Permission to see a project: the one check that every view starts with."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from annotate.models import Membership, Project
from annotate.models.roles import Role
from annotate.statements import prepared
from annotate.statements.instances import Columns
from annotate.statements.prepared import Row

NO_SUCH_PROJECT = "There is no such project, or you are not in it."


PROJECT = Columns(Project, "project")
SEEN = f"""
    SELECT {PROJECT.sql}, member.role
    FROM annotate_project project
    LEFT JOIN annotate_membership member
        ON member.project_id = project.id AND member.user_id = %(user)s AND member.active
    WHERE project.slug = %(slug)s
"""


def remember(user: User, slug: str, row: Row) -> None:
    """Keep what was read of a project beside the user, in the order of SEEN, for `project_or_404`
    of the same request."""
    # With the user and not for longer: each request reads its own.
    user.seen_project = (slug, row)  # type: ignore[attr-defined]


def _seen(user: User, slug: str) -> Row | None:
    """The project with the role of this user in it: as the request read them at first, once, and
    read anew after that."""
    known, row = getattr(user, "seen_project", ("", None))
    if row is not None:
        del user.seen_project  # type: ignore[attr-defined]
    if known == slug and row is not None:
        return row if row[0] is not None else None
    return prepared.row(SEEN, {"slug": slug, "user": user.pk})


def role_of(user: User, project: Project) -> str | None:
    """The user's role in the project; None for a stranger. Superusers are admins everywhere."""
    if user.is_superuser:
        return Role.ADMIN
    return (
        Membership.objects.filter(user=user, project=project, active=True)
        .values_list("role", flat=True)
        .first()
    )


def project_or_404(request: HttpRequest, slug: str, role: str = "annotator") -> Project:
    """The project, if the signed-in user has at least `role` in it.

    A stranger gets the same 404 as for a slug that does not exist; a member whose role is too
    low gets 403. The role found is left on the project as `project.role`, for templates.
    """
    user = request.user
    # Asked anew by every request: whoever is put out is out with the next one.
    row = _seen(user, slug) if user.is_authenticated else None
    own_role = row and (Role.ADMIN if user.is_superuser else row[-1])
    if not row or not own_role:
        raise Http404(NO_SUCH_PROJECT)
    project = PROJECT.instance(row[: len(PROJECT)])
    if own_role not in Role.at_least(role):
        raise PermissionDenied(f"This needs the role {role} in the project {project.name}.")
    project.role = own_role
    return project


def may_reset(admin: User, user: User) -> bool:
    """True when a project's admin may set this person's password.

    A password opens every project of its owner, so the admin must have at least that much:
    otherwise resetting passwords would be a way to other people's projects.
    """
    if admin.is_superuser:
        return True
    if user.is_superuser or user.is_staff:
        return False
    administered = Project.objects.for_user(admin, Role.ADMIN)
    return not user.memberships.exclude(project__in=administered).exists()
