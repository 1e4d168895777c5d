"""The checks of `doctor`. Every check answers with findings that say what to do."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from annotate import exchange
from training.models import ModelVersion, WorkerBeat
from training.rounds.loop_state import SILENT_AFTER
from training.runs import task_queue
from training.setup import stack_probe

ROOMY = 5
"""Times the free space that a round needs, below which it is worth a warning."""
OTHER = "Promote another version on the models page, or restore the folder."


class Level(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report; `advice` is empty when there is nothing to do."""

    check: str
    level: Level
    text: str
    advice: str = ""


Findings = Iterator[Finding]


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level=Level.OK, text=text)


def warn(check: str, text: str, advice: str) -> Finding:
    return Finding(check=check, level=Level.WARN, text=text, advice=advice)


def fail(check: str, text: str, advice: str) -> Finding:
    return Finding(check=check, level=Level.FAIL, text=text, advice=advice)


def examine() -> Findings:
    """All findings, as they come in; a check that breaks is a finding itself."""
    for check in (home, secret_key, disk, identity_provider):
        yield from _guarded(check)
    readable = True
    for finding in [*_guarded(database), *_guarded(migrations)]:
        readable &= finding.level != Level.FAIL
        yield finding
    yield from _guarded(queue_storage if readable else _unreadable("queue"))
    yield from _guarded(workers if readable else _unreadable("workers"))
    yield from _guarded(training_stack)
    yield from _guarded(policies if readable else _unreadable("models"))


def _guarded(check: Callable[[], Findings]) -> Findings:
    name = check.__name__.replace("_", " ")
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - a doctor reports what it stumbles over
        yield fail(name, f"{type(error).__name__}: {error}", "See the message; then run it again.")


def _unreadable(name: str) -> Callable[[], Findings]:
    def check() -> Findings:
        yield warn(name, "not checked", "Mend the database first.")

    return check


def home() -> Findings:
    """The folder that holds everything must be ours alone, and writable."""
    folder = Path(settings.HOME)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = f"Give the user that runs Pairloop write access to {folder}."
        yield fail("home", f"{folder} is not writable: {error.strerror}", advice)
        return
    if mode := stat.S_IMODE(folder.stat().st_mode) & 0o077:
        text = f"{folder} is open to other users (mode {mode | 0o700:04o})"
        yield warn("home", text, f"chmod 700 {folder}")
    else:
        yield ok("home", f"{folder} is writable and private")


def secret_key() -> Findings:
    """Whoever reads the key can forge sessions."""
    path = Path(settings.HOME) / "secret_key"
    if os.environ.get("SECRET_KEY"):
        yield ok("secret key", "taken from SECRET_KEY")
    elif not path.is_file():
        yield fail("secret key", f"{path} is missing", "Restart: a new one is made at start.")
    elif mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        text = f"{path} can be read by other users (mode {mode | 0o600:04o})"
        yield fail("secret key", text, f"chmod 600 {path}; replace the key if others were here.")
    else:
        yield ok("secret key", "only its owner can read it")


def disk() -> Findings:
    """A round writes checkpoints; a full disk ends it and everything else."""
    free, least = shutil.disk_usage(settings.HOME).free / 1e9, settings.MIN_FREE_GB
    text = f"{free:.1f} GB free, a round needs {least:g} GB"
    if free < least:
        yield fail("disk", text, "Free space, or remove runs of old rounds.")
    elif free < ROOMY * least:
        yield warn("disk", text, "Plan for more space: every round keeps its models.")
    else:
        yield ok("disk", text)


def identity_provider() -> Findings:
    """The provider that people sign in through, where the operator names one."""
    if not settings.OIDC_ISSUER:
        return
    check, problem = "identity provider", exchange.identity_provider_problem()
    if problem:
        yield warn(check, problem, "Compare the PAIRLOOP_OIDC settings with the provider's own.")
    else:
        yield ok(check, f"{settings.OIDC_ISSUER} describes itself as that")


def database() -> Findings:
    """The database answers, and keeps what it was told."""
    with connection.cursor() as cursor:
        if connection.vendor != "sqlite":
            version = ".".join(map(str, connection.get_database_version()))
            yield ok("database", f"{connection.display_name} {version} answers")
            return
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
        broken = cursor.execute("PRAGMA quick_check(1)").fetchone()[0]
    if broken != "ok":
        advice = "Stop everything and restore the latest backup."
        yield fail("database", f"SQLite finds damage: {broken}", advice)
    elif mode not in ("wal", "memory"):
        advice = "Put PAIRLOOP_HOME on a local disk: a network disk cannot hold a WAL."
        yield warn("database", f"SQLite journals in mode {mode}", advice)
    else:
        yield ok("database", f"SQLite answers, undamaged, journal mode {mode}")


def migrations() -> Findings:
    """The tables are those that this code expects."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        text = f"{len(plan)} migrations are not applied, first {plan[0][0]}"
        yield fail("migrations", text, "python manage.py migrate")
    else:
        yield ok("migrations", "all applied")


def queue_storage() -> Findings:
    """Both queues can be read."""
    for kind in ("short", "gpu"):
        tasks = task_queue.huey(kind)
        waiting = tasks.pending_count()
        tasks.storage.close()
        yield ok(f"queue {kind}", f"readable, {waiting} tasks waiting")


def workers() -> Findings:
    """Someone takes the tasks out of the queue."""
    beats = {beat.kind: beat for beat in WorkerBeat.objects.all()}
    for kind, command in (("short", "make worker"), ("gpu", "make worker-gpu")):
        beat = beats.get(kind)
        if beat is None:
            yield warn(f"worker {kind}", "has never reported", f"Start it: {command}")
            continue
        age = timezone.now() - beat.seen_at
        text = f"on {beat.host}, last seen {age.total_seconds():.0f} s ago"
        if age > SILENT_AFTER:
            yield warn(f"worker {kind}", text, f"It is gone or stuck. Start it: {command}")
        else:
            yield ok(f"worker {kind}", text)


def training_stack() -> Findings:
    """Torch and GPUs of this machine, asked in a process of its own."""
    answer = stack_probe.stack()
    if error := answer.get("error"):
        advice = "Right for a web-only host; to train here: pip install -r requirements.txt"
        yield warn("training stack", str(error), advice)
        return
    cards = ", ".join(f"{card['name']} ({card['memory']} GiB)" for card in answer["gpus"])
    where = cards or f"no GPU, {answer['threads']} CPU threads"
    yield ok("training stack", f"torch {answer['torch']}, {where}")


def policies() -> Findings:
    """Every promoted policy generates text and stops by itself."""
    versions = ModelVersion.objects.policies().promoted().select_related("project")
    promoted = list(versions.order_by("project__slug"))
    if not promoted:
        advice = "python manage.py quickstart makes the sample project with its starter policy."
        yield warn("models", "no policy is in use yet", advice)
    for version in promoted:
        yield _policy(version)


def _policy(version: ModelVersion) -> Finding:
    check = f"model {version.project.slug}/{version.name}"
    if version.path.count("/") != 1 and not Path(version.location).is_dir():
        return fail(check, f"there is no folder {Path(settings.HOME) / version.path}", OTHER)
    if "error" in stack_probe.stack():
        return warn(check, "not tried: no training stack here", "Run doctor where it trains.")
    return judge(check, stack_probe.model(version.location))


def judge(check: str, answer: Mapping[str, Any]) -> Finding:
    """The finding on a model by its sample replies."""
    if error := answer.get("error"):
        return fail(check, str(error), OTHER)
    text = (
        f"{answer['stopped']} of {answer['replies']} replies stopped by themselves, "
        f"{answer['tokens']:.0f} tokens on average"
    )
    if not answer["with_text"]:
        return fail(check, f"writes only empty replies; {text}", OTHER)
    if not answer["stopped"]:
        advice = "Replies run into the length limit: check its chat template and stop tokens."
        return warn(check, f"generates but never stops; {text}", advice)
    return ok(check, f"generates and stops: {text}")
