"""AI annotators of a project: made, bounded, started, stopped, retired. Page and REST come here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from annotate import exchange
from annotate.exchange import AiAnnotator
from training.models import Metric, ModelVersion, Run, RunKind, Worker
from training.runs import run_states, task_queue
from training.versions import endpoint_hosts
from training.versions.provenance import eligible_models

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_AT_A_TIME = 8
"""Requests that are on their way at once, however many a minute may hold."""
LIVE = (Run.State.QUEUED, Run.State.RUNNING)
BUSY = "An AI annotator of this project is voting already. Wait for it, or stop it."


class Refused(Exception):
    """An AI annotator cannot be made or started like this; the message is for people."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Requests and tokens of an annotator in all, and what its bounds leave."""

    requests: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    requests_left: int | None = None
    tokens_left: int | None = None

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.tokens_in + self.tokens_out

    @property
    def is_spent(self) -> bool:
        """True where no pair can be asked about any more, which takes two requests."""
        few = self.requests_left is not None and self.requests_left < 2
        return few or (self.tokens_left is not None and self.tokens_left <= 0)


def reward_source(
    project: exchange.Project, version: ModelVersion
) -> tuple[str, str, dict[str, Any]]:
    """Kind, name of the model and source of an annotator that is a reward model.

    Raises:
        Refused: votes of the project have taught it, or its weights are gone.
    """
    if why := eligible_models.refusal(version, project):
        raise Refused(why)
    name = f"{version.name} of {version.project.name}"
    return AiAnnotator.Kind.REWARD, name, {"version": version.pk}


def chat_source(url: str, model: str, *, longest: int) -> tuple[str, str, dict[str, Any]]:
    """The same of a chat model behind a server.

    Raises:
        Refused: the address is none, or of a server that nobody allowed.
    """
    try:
        address = endpoint_hosts.checked(url)
    except endpoint_hosts.NotAllowed as error:
        raise Refused(str(error)) from error
    return AiAnnotator.Kind.CHAT, model, {"url": address, "model": model, "longest": longest}


def create(
    project: exchange.Project,
    source: tuple[str, str, dict[str, Any]],
    *,
    by: User | None,
    name: str,
    constitution: str = "",
    **bounds: int | None,
) -> AiAnnotator:
    """Add an annotator, which votes once it is started.

    Args:
        bounds: per_minute, most_requests and most_tokens.

    Raises:
        Refused: the project has one of this name.
    """
    kind, model, told = source
    try:
        with transaction.atomic():
            return AiAnnotator.objects.create(
                project=project,
                name=name,
                kind=kind,
                model=model[:200],
                source=told,
                constitution=constitution if kind == AiAnnotator.Kind.CHAT else "",
                created_by=by,
                **bounds,
            )
    except IntegrityError as error:  # ai_annotator_once
        raise Refused(f"There is an AI annotator called {name} already.") from error


def start(annotator: AiAnnotator, *, most: int, enqueue: bool = True) -> Run:
    """Have it vote on pairs that it has not voted on, `most` of them.

    Raises:
        Refused: it may not, its project is archived, its bounds are spent, nothing is left, or one
            is voting already.
    """
    project = annotator.project
    _require_allowed(annotator)
    if usage(annotator).is_spent:
        raise Refused("Its bounds of requests or tokens are used up. Raise them first.")
    if next(iter(exchange.pairs_to_judge(project, annotator.pk, most=1)), None) is None:
        raise Refused("There is no pair that it has not voted on.")
    worker = Worker.SHORT if "url" in annotator.source else Worker.GPU
    try:
        with transaction.atomic():
            mine = AiAnnotator.objects.select_for_update(no_key=True, of=("self",))
            if not mine.filter(pk=annotator.pk, retired_at=None).exists():
                raise Refused(f"{annotator.name} was retired.")
            run = Run.objects.create(
                kind=RunKind.AI_VOTES,
                project=project,
                options=_options(annotator, most),
                worker=worker,
            )
            if enqueue:
                task_queue.hand_to_worker(run)
    except IntegrityError as error:  # one_live_run_of_ai_votes_per_project
        raise Refused(BUSY) from error
    return run


def _require_allowed(annotator: AiAnnotator) -> None:
    if why := exchange.archived_refusal(annotator.project):
        raise Refused(why)
    if annotator.retired_at is not None:
        raise Refused(f"{annotator.name} was retired.")
    if "url" in annotator.source:
        try:
            endpoint_hosts.checked(annotator.source["url"])
        except endpoint_hosts.NotAllowed as error:
            raise Refused(str(error)) from error
        return
    version = ModelVersion.objects.filter(pk=annotator.source["version"]).first()
    if version is None:
        raise Refused("Its reward model is gone.")
    # Again: votes may have been brought here since it was added.
    if why := eligible_models.refusal(version, annotator.project):
        raise Refused(why)


def _options(annotator: AiAnnotator, most: int) -> dict[str, Any]:
    source, left = annotator.source, usage(annotator)
    return {
        "annotator": annotator.pk,
        "name": annotator.name,
        "sources": [{name: value for name, value in source.items() if name != "longest"}],
        "principles": annotator.constitution,
        "most": most,
        "concurrency": min(MOST_AT_A_TIME, annotator.per_minute),
        "per_minute": annotator.per_minute,
        "most_requests": left.requests_left or 0,
        "most_tokens": left.tokens_left or 0,
        "max_new_tokens": source.get("longest", 16),
    }


def runs(annotator: AiAnnotator) -> QuerySet[Run]:
    """Runs of this annotator, the latest first."""
    mine = Run.objects.filter(project=annotator.project_id, kind=RunKind.AI_VOTES)
    return mine.filter(options__annotator=annotator.pk).order_by("-pk")


def last_run(annotator: AiAnnotator) -> Run | None:
    return runs(annotator).first()


def live_run(project: exchange.Project) -> Run | None:
    """The run in which an annotator of the project votes now."""
    return Run.objects.filter(project=project, kind=RunKind.AI_VOTES, state__in=LIVE).first()


def is_bounded(run: Run) -> bool:
    """True where a run ended because a bound of requests or tokens was reached."""
    (values,) = _last_numbers(Run.objects.filter(pk=run.pk))
    return bool((values or {}).get("bounded"))


def usage(annotator: AiAnnotator) -> Usage:
    """Requests and tokens of all its runs until now, as their processes told last."""
    told = [values or {} for values in _last_numbers(runs(annotator))]
    names = ("requests", "failed", "tokens_in", "tokens_out", "tokens")
    spent = {name: int(sum(one.get(name, 0) for one in told)) for name in names}
    tokens = spent.pop("tokens")
    return Usage(
        **spent,
        requests_left=_left(annotator.most_requests, spent["requests"]),
        tokens_left=_left(annotator.most_tokens, tokens),
    )


def _left(bound: int | None, spent: int) -> int | None:
    return None if bound is None else max(0, bound - spent)


def _last_numbers(of: QuerySet[Run]) -> list[dict[str, float] | None]:
    """The latest numbers of each of these runs, by one statement; None before there are some."""
    told = Metric.objects.filter(run=OuterRef("pk"), stage=OuterRef("kind")).order_by("-step")
    return list(
        of.annotate(last=Subquery(told.values("values")[:1])).values_list("last", flat=True)
    )


def stop(annotator: AiAnnotator) -> bool:
    """Stop its run; its votes stay. False where none is live."""
    live = runs(annotator).filter(state__in=LIVE)
    return run_states.cancel(live) if live.exists() else False


def set_bounds(annotator: AiAnnotator, **bounds: int | None) -> None:
    """Change what it may spend, from its next start on."""
    AiAnnotator.objects.filter(pk=annotator.pk).update(**bounds)


def retire(annotator: AiAnnotator) -> None:
    """Take it out for good: it is stopped, and its votes are kept but used nowhere."""
    # First of all: whoever starts it meanwhile is refused, and nothing is asked that nobody uses.
    AiAnnotator.objects.filter(pk=annotator.pk, retired_at=None).update(retired_at=timezone.now())
    stop(annotator)
