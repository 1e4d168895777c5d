"""From an empty database to a sample project with first pairs, in steps that can be repeated.

Whether a step is done is read from the database, so a kill at any point costs that step alone.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import User

from annotate import exchange
from training.models import Plan, Run, RunKind
from training.runs import run_kinds, run_states
from training.setup import foreground


class SetupFailed(Exception):
    """A step of the setup failed; the message says which and why."""


def ensure_superuser() -> tuple[User, str | None]:
    """The first superuser and, only when just created, the password."""
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("id").first()
    if user is not None:
        return user, None
    taken = set(
        User.objects.filter(username__startswith="admin").values_list("username", flat=True)
    )
    name = next(name for i in range(len(taken) + 1) if (name := f"admin{i or ''}") not in taken)
    password = secrets.token_urlsafe(12)
    return User.objects.create_superuser(name, password=password), password


def ensure_project(owner: User, *, seed: int, model: str) -> Any:
    """The sample project and how it trains; the one there is, if any."""
    project = exchange.create_sample_project(owner=owner, seed=seed)
    config = {} if model else SAMPLE_PLAN
    Plan.objects.get_or_create(project=project, defaults={"config": config})
    return project


SAMPLE_PLAN = {"optimiser": "ppo"}
"""The sample project shows the whole loop, its reward model included, however few votes there are.
All else follows from the model: training.rlhf.config.defaults_for."""


def is_ready(project: exchange.Project) -> bool:
    """True when the project's first pairs were made."""
    kinds = (RunKind.FIRST_PAIRS, RunKind.COMPLETIONS)
    runs = Run.objects.filter(project=project, kind__in=kinds)
    return runs.filter(state=Run.State.DONE).exists()


def ensure_starter(
    project: exchange.Project,
    *,
    seed: int,
    out: foreground.Output,
    program: run_kinds.Program | None = None,
) -> bool:
    """Train the sample project's first policy; False when stopped on the way.

    Raises:
        SetupFailed
    """
    if project.model_versions.policies().filter(number=0).exists():
        return True
    return _finish(project, RunKind.STARTER, options={"seed": seed}, out=out, program=program)


def ensure_first_pairs(
    project: exchange.Project,
    *,
    seed: int,
    out: foreground.Output,
    program: run_kinds.Program | None = None,
) -> bool:
    """Sample the first completions and queue their pairs; False when stopped on the way.

    Raises:
        SetupFailed
    """
    options = {"seed": seed, "threads": 1}
    return _finish(project, RunKind.FIRST_PAIRS, options=options, out=out, program=program)


def _finish(
    project: exchange.Project,
    kind: RunKind,
    *,
    options: dict[str, Any],
    out: foreground.Output,
    program: run_kinds.Program | None,
) -> bool:
    """See the project's run of this kind through, from wherever it is."""
    run, created = Run.objects.get_or_create(
        project=project, kind=kind, defaults={"options": options}
    )
    if not created:
        run_states.reopen(run, enqueue=False)
    state = foreground.follow(run, out=out, program=program)
    if state in (Run.State.FAILED, Run.State.CANCELLED):
        raise SetupFailed(f"{foreground.TITLES[kind]}: {run.error}\n{run.log_tail[-2000:]}")
    return state is not None
