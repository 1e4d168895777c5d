"""Models from elsewhere: a folder of this server, a hub's model or a server, checked and added.

The check is a run: a worker loads the model, and what it saw makes it the project's starter or a
candidate. The page, REST and the commands all come through here; this process never loads one.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from annotate import exchange
from training.models import LONGEST_PATH, ModelVersion, Run, RunKind, Worker
from training.rlhf.delivery import model_folder_checks
from training.runs import run_states, task_queue
from training.versions import added_models, endpoint_hosts, fetched_models, model_roots, promotion
from training.versions.added_models import CANDIDATE, STARTER, USE, Declined, Known

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[\w][\w./-]{0,99}", re.ASCII)
ADDRESS = "https://huggingface.co/"
Source = dict[str, str]


class Refused(Exception):
    """The model cannot be added; the message says why."""


def hub_source(name: str, revision: str = "") -> Source:
    """A model of the hub by its id.

    Raises:
        Refused: it is none; what looks like a path is not looked for on the disk.
    """
    name, revision = name.strip().removeprefix(ADDRESS).rstrip("/"), revision.strip()
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name or ".." in name:
        raise Refused(f"{name[:100]} looks like a path. A model of the hub is named OWNER/NAME.")
    if not HUB_ID.fullmatch(name):
        raise Refused("A model of the hub is named OWNER/NAME, as in its address there.")
    if revision and (not REVISION.fullmatch(revision) or ".." in revision):
        raise Refused(f"{revision[:60]} is no branch, tag or commit.")
    return {"name": name, "hub": name, "revision": revision}


def folder_source(path: str) -> Source:
    """A model's folder below the roots that the operator named.

    Raises:
        Refused: it lies elsewhere, or holds no model that is read here.
    """
    try:
        folder = model_roots.checked(path)
        model_folder_checks.require_below(folder, model_roots.roots())
        model_folder_checks.kind(folder)
    except (model_roots.NotOffered, model_folder_checks.Unusable) as error:
        raise Refused(str(error)) from error
    return {"name": folder.name, "folder": str(folder)}


def server_source(url: str, model: str) -> Source:
    """A model behind a server that the operator named.

    Raises:
        Refused: the address is none, or of another server.
    """
    try:
        address = endpoint_hosts.checked(url)
    except endpoint_hosts.NotAllowed as error:
        raise Refused(str(error)) from error
    return {"name": model.strip()[:80] or "?", "url": address, "model": model.strip()}


def typed(model: str) -> Source:
    """A model as the operator wrote it on a command line: any folder of this machine, or a hub id.

    Raises:
        Refused: it looks like a folder and is none, or holds no usable model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        try:
            model_folder_checks.kind(folder.resolve())
        except model_folder_checks.Unusable as error:
            raise Refused(str(error)) from error
        return {"name": folder.resolve().name, "folder": str(folder.resolve())}
    if not model or model[0] in "./~" or model.count("/") > 1:
        raise Refused(f"There is no model folder {model}.")
    return hub_source(model)


def start(
    project: exchange.Project,
    source: Source,
    *,
    make: str,
    kind: str = "",
    note: str = "",
    trusted: bool = False,
    longest: int = 0,
    enqueue: bool = True,
) -> Run:
    """Queue the check of a model, which adds it in the end; nothing is written where it refuses.

    Args:
        make: starter, candidate, or use: put it in use where rounds can go on from it.
        kind: policy or reward; empty: what its files say.
        note: more about where it comes from.
        trusted: the operator asks, who may read any folder and open what HF_TOKEN opens.
        longest: tokens of a sample reply; 0: as many as most models need to end one.

    Raises:
        Refused: no usable model of this kind, no place for it, or another one is being checked.
        Known: the project has it already.
    """
    if "folder" in source:
        _require_usable(project, Path(source["folder"]), make=make, kind=kind)
    if "url" not in source:
        try:
            added_models.require_place(project, make)
        except Declined as error:
            raise Refused(str(error)) from error
    options = {
        "sources": [source],
        "from": source.get("folder") or source.get("hub") or source.get("url"),
        "make": make,
        "kind": kind,
        "note": note,
        "trusted": trusted,
        "private": trusted or settings.HUB_PRIVATE,
        "longest": longest,
    }
    worker = Worker.SHORT if "url" in source else Worker.GPU
    try:
        with transaction.atomic():
            run = Run.objects.create(
                project=project, kind=RunKind.CHECK, options=options, worker=worker
            )
            if enqueue:
                task_queue.hand_to_worker(run)
    except IntegrityError as error:  # one_live_check_of_a_model_per_project
        raise Refused(BUSY) from error
    return run


BUSY = "A model is being checked already. Wait for it, or cancel."


def _require_usable(project: exchange.Project, folder: Path, *, make: str, kind: str) -> None:
    """See before it is loaded whether a folder can be used so. Raises Refused, Known."""
    if len(str(folder)) > LONGEST_PATH:
        raise Refused(f"{folder} is longer than {LONGEST_PATH} characters.")
    try:
        actual = model_folder_checks.kind(folder)
    except model_folder_checks.Unusable as error:
        raise Refused(str(error)) from error
    if kind and kind != actual:
        raise Refused(f"{folder} is a {actual} model by its architecture, not a {kind} model.")
    if (there := added_models.known(project, str(folder), actual)) is not None:
        raise Known(there)
    if make == STARTER and actual != ModelVersion.POLICY:
        raise Refused(f"{folder} is a {actual} model, and a project begins with a policy.")
    policy = make == USE and actual == ModelVersion.POLICY
    if policy and (reason := promotion.obstacle(project, str(folder))):
        raise Refused(f"{folder} cannot be put in use: {reason}")


def place_of(project: exchange.Project, wish: str = "") -> str:
    """The place of a model that is added now: as wished, else the starter where there is none."""
    return wish or (CANDIDATE if added_models.starter(project) else STARTER)


def cancel(run: Run) -> bool:
    """Stop a check; what was fetched stays. False when it had ended."""
    return run_states.cancel(Run.objects.filter(pk=run.pk))


def go_on(run: Run, *, enqueue: bool = True) -> None:
    """Have a check that failed or was cancelled tried again; what was fetched is kept.

    Raises:
        Refused: it has not, or another one runs.
    """
    try:
        with transaction.atomic():
            if not run_states.reopen(run, enqueue=enqueue):
                raise Refused("This model is being checked, or is checked.")
            # Written anew: prompts may have come, and a folder been mended.
            (run.directory / "config.json").unlink(missing_ok=True)
            shutil.rmtree(run.directory / RunKind.CHECK, ignore_errors=True)
    except IntegrityError as error:
        raise Refused(BUSY) from error


def remove(run: Run) -> None:
    """Forget a check, with what it fetched. A version that it added stays.

    Raises:
        Refused: it is under way.
    """
    gone, _ = Run.objects.filter(pk=run.pk, state__in=ENDED).delete()
    if not gone:
        raise Refused("This model is being checked. Cancel that first.")
    shutil.rmtree(run.directory, ignore_errors=True)
    fetched_models.sweep()


ENDED = (Run.State.DONE, Run.State.FAILED, Run.State.CANCELLED)
