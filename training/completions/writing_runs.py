"""Runs that write completions: what may be asked of them, their start, their end, going on.

The page, REST and the command all come through here.
"""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from annotate import exchange
from training.models import ModelVersion, Run, RunKind, Worker
from training.models.model_version import ModelVersionQuerySet
from training.runs import run_states, task_queue
from training.versions import endpoint_hosts

PREVIEWED = 3
"""Prompts of a preview."""
ENDPOINT = "endpoint"
STARTER = "starter"
LONGEST_NAME = 80
LIVE = (Run.State.QUEUED, Run.State.RUNNING)


class Refused(Exception):
    """Completions cannot be written like this; the message is for people."""


def there(project: exchange.Project) -> ModelVersionQuerySet:
    """Model versions that can write: policies whose weights were not removed, newest first."""
    return ModelVersion.objects.policies().filter(project=project, pruned_at=None)


def usual(project: exchange.Project) -> ModelVersion | None:
    """The model version to begin with: the one in use, else the newest."""
    able = there(project)
    return able.promoted().first() or able.first()


def servers() -> tuple[list[str], str]:
    """Servers that may be asked; and, where what the operator wrote cannot be read, why."""
    try:
        return [str(origin) for origin in endpoint_hosts.allowed()], ""
    except endpoint_hosts.NotAllowed as error:
        return [], f"PAIRLOOP_ENDPOINT or PAIRLOOP_ENDPOINT_HOSTS: {error}"


def suggested() -> dict[str, str]:
    """Address and model to begin with: the server of the playground, else the first allowed."""
    allowed, _ = servers()
    url = settings.ENDPOINT or (f"{allowed[0]}/v1" if allowed else "")
    return {"url": url, "model": settings.ENDPOINT_MODEL if settings.ENDPOINT else ""}


def server_source(project: exchange.Project, *, url: str, model: str) -> dict[str, Any]:
    """A model behind a server, as a run's options have it.

    Raises:
        Refused: the address is none, or of a server that nobody allowed.
    """
    try:
        address = endpoint_hosts.checked(url)
    except endpoint_hosts.NotAllowed as error:
        raise Refused(str(error)) from error
    name = model or "?"
    if name == STARTER or name in {version.name for version in project.model_versions.all()}:
        name = _at(name, address)  # the project's own would be credited with its replies
    return {"name": name[:LONGEST_NAME], "url": address, "model": model}


def version_source(version: ModelVersion) -> dict[str, Any]:
    """A model version of the project, as a run's options have it."""
    return {"name": STARTER if version.number == 0 else version.name, "version": version.pk}


def options_of(
    version: ModelVersion, *, max_new_tokens: int, seed: int, most: int = 0
) -> dict[str, Any]:
    """Options of a run by one model of the project for prompts without completions.

    Args:
        most: prompts; 0: all.
    """
    wishes = {"max_new_tokens": max_new_tokens, "seed": seed, "most": most}
    return {"sources": [version_source(version)], "tag": "", **HOW, **wishes}


HOW: dict[str, Any] = {
    "prompts": "unanswered",
    "per_prompt": 2,
    "temperature": 0.9,
    "top_p": 1.0,
    "max_new_tokens": 512,
    "concurrency": 8,
    "seed": 0,
}
"""The usual way, unless somebody wishes another."""


def told_apart(sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two sources with names of their own: the same model may be behind two servers.

    Raises:
        Refused: they are the same.
    """
    if len(sources) < 2 or sources[0]["name"] != sources[1]["name"]:
        return sources
    if sources[0].get("url") == sources[1].get("url"):
        raise Refused("Choose two different models, or one alone.")
    return [source | {"name": _at(source["name"], source["url"])} for source in sources]


def _at(name: str, url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    return f"{name[: LONGEST_NAME - len(host) - 3]} ({host})"[:LONGEST_NAME]


def chosen_prompts(options: dict[str, Any]) -> dict[str, Any]:
    """The choice of prompts, as the door to labelling takes it."""
    return {"unanswered": options["prompts"] == "unanswered", "tag": options["tag"]}


def prompts(project: exchange.Project, options: dict[str, Any]) -> int:
    """The number of prompts that are chosen."""
    there = exchange.prompt_count(project, **chosen_prompts(options))
    return min(there, options["most"] or there)


def start(project: exchange.Project, options: dict[str, Any], *, enqueue: bool = True) -> Run:
    """Queue the writing of completions for the chosen prompts.

    Raises:
        Refused: there is no such prompt, a model has no name, or the project has such a run.
    """
    if any("url" in source and not source["model"] for source in options["sources"]):
        raise Refused("Name the model that shall write.")
    if not prompts(project, options):
        raise Refused(_none(options))
    return _create(project, RunKind.COMPLETIONS, options, enqueue=enqueue)


def preview(project: exchange.Project, options: dict[str, Any]) -> Run:
    """Queue the same for three prompts, of which nothing is stored; earlier previews are dropped.

    Raises:
        Refused: there is no such prompt, or a preview is being written.
    """
    if not prompts(project, options):
        raise Refused(_none(options))
    drop_previews(project)
    most = min(PREVIEWED, options["most"] or PREVIEWED)
    wanted = {"asked_for": options["most"]}
    return _create(project, RunKind.PREVIEW, options | wanted | {"most": most}, enqueue=True)


def drop_previews(project: exchange.Project) -> None:
    """Remove the previews that have ended, with their folders."""
    for run in Run.objects.filter(project=project, kind=RunKind.PREVIEW).exclude(state__in=LIVE):
        shutil.rmtree(run.directory, ignore_errors=True)
        run.delete()


def _none(options: dict[str, Any]) -> str:
    if options["prompts"] == "unanswered":
        return "Every prompt has completions already. Choose all prompts, or import others."
    if options["prompts"] == "tag":
        return f"No prompt has the tag {options['tag']}."
    return "The project has no prompts yet. Import some first."


def _create(
    project: exchange.Project, kind: RunKind, options: dict[str, Any], *, enqueue: bool
) -> Run:
    elsewhere = all("url" in source for source in options["sources"])
    worker = Worker.SHORT if elsewhere else Worker.GPU
    try:
        with transaction.atomic():
            run = Run.objects.create(kind=kind, project=project, options=options, worker=worker)
            if enqueue:
                task_queue.hand_to_worker(run)
    except IntegrityError as error:  # one_live_writer_of_completions_per_project
        raise Refused(BUSY[kind]) from error
    return run


BUSY = {
    RunKind.COMPLETIONS: "Completions of this project are being written already.",
    RunKind.PREVIEW: "Three prompts are being answered already. Wait for them, or cancel.",
}


def wanted_by(preview: Run) -> dict[str, Any]:
    """The options of the run that a preview was a preview of."""
    kept = {"asked_for", "shown", "models", "taken"}
    options = {name: value for name, value in preview.options.items() if name not in kept}
    return options | {"most": preview.options["asked_for"]}


def last(project: exchange.Project, kind: RunKind) -> Run | None:
    """The project's latest run of a kind, whatever its state."""
    return Run.objects.filter(project=project, kind=kind).order_by("-pk").first()


def cancel(run: Run) -> bool:
    """Stop a run; what was written stays. False when it had ended."""
    return run_states.cancel(Run.objects.filter(pk=run.pk))


def go_on(run: Run, *, enqueue: bool = True) -> None:
    """Have a run that failed or was cancelled go on where it stopped.

    Raises:
        Refused: it has not, or another one of the project runs.
    """
    try:
        with transaction.atomic():
            if not run_states.reopen(run, enqueue=enqueue):
                raise Refused("These completions are being written, or are written.")
    except IntegrityError as error:
        raise Refused(BUSY[RunKind.COMPLETIONS]) from error
