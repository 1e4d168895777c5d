"""Files for the tests of imports, and a worker that is at hand."""

from __future__ import annotations

import io
import json
from typing import Any

from django.contrib.auth.models import User

from annotate import exchange
from annotate.jobs import import_actions
from annotate.models import Import, Project


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)


def pair(i: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt": f"Q{i}", "completion_a": f"one {i}", "completion_b": f"two {i}"} | more


def judged(i: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt": f"Q{i}", "chosen": f"one {i}", "rejected": f"two {i}"} | more


def sent(
    project: Project, by: User, *rows: Any, name: str = "rows.jsonl", **options: Any
) -> Import:
    """An import of these rows that waits to be checked."""
    body = io.BytesIO(lines(*rows))
    return import_actions.receive(project, by, body, name, options=options)


def work_off() -> None:
    """Do what a worker would do, until nothing waits."""
    while waiting := exchange.waiting_jobs():
        for uuid in waiting:
            exchange.run_job(uuid)


def checked(project: Project, by: User, *rows: Any, **options: Any) -> Import:
    """An import whose file was checked."""
    import_ = sent(project, by, *rows, **options)
    work_off()
    import_.refresh_from_db()
    return import_


def imported(project: Project, by: User, *rows: Any, **options: Any) -> Import:
    """An import that a worker has done."""
    import_ = checked(project, by, *rows, **options)
    import_actions.begin(import_)
    work_off()
    import_.refresh_from_db()
    return import_
