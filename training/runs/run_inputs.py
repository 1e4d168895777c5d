"""The inputs of a run, written to its folder before its process starts: rows and config.json."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from annotate import exchange
from training.models import ModelVersion, Run, RunKind
from training.plans import round_settings
from training.plans.round_settings import compared, planned
from training.rlhf import rows
from training.rlhf.config import (
    AnnotateJob,
    CheckJob,
    CompareJob,
    CompletionsJob,
    EndpointConfig,
    PushJob,
    SampleJob,
    SFTJob,
    SourceConfig,
    sample_sft_config,
)
from training.rlhf.run import durable
from training.runs.run_kinds import asked_servers
from training.versions import (
    added_models,
    endpoint_hosts,
    model_cards,
    model_roots,
    serving,
    zip_archive,
)
from training.versions.engine_environment import CONFIG, write_job
from training.versions.provenance import eligible_models

OPEN_PAIRS = 2000
"""Pairs without votes that a round looks at: their features cost a forward pass each."""
CHATS = 4000
"""Chats that the sample project's starter is trained on."""
CORPUS_SEED = 100
"""Keeps those chats apart from the project's prompts of the same seed."""
FIRST_PROMPTS = 400
SHOWN_PROMPTS = 3
"""Prompts that a model which is checked replies to."""


class CannotPrepare(Exception):
    """The inputs of a run cannot be written; the message says why."""


def prepare(run: Run) -> None:
    """Write the inputs of a run unless an earlier attempt did; the config comes last.

    Raises:
        CannotPrepare: what the run needs is gone or unusable.
    """
    # Before what an earlier attempt wrote: the operator may have taken a server away meanwhile.
    for url in asked_servers(run):
        try:
            endpoint_hosts.checked(url)
        except endpoint_hosts.NotAllowed as error:
            raise CannotPrepare(str(error)) from error
    _require_offered(run)
    _require_rules(run)
    _require_unchanged(run)
    if (run.directory / CONFIG).is_file():
        return
    PREPARATIONS[run.kind](run)


def _require_offered(run: Run) -> None:
    """Raise CannotPrepare where the folder of a model that is checked is offered no more."""
    if run.kind != RunKind.CHECK or run.options["trusted"]:
        return
    for source in run.options["sources"]:
        try:
            if "folder" in source:
                model_roots.checked(source["folder"])  # a link may have been turned round
        except model_roots.NotOffered as error:
            raise CannotPrepare(str(error)) from error


def _require_rules(run: Run) -> None:
    """Raise CannotPrepare where the operator took a rule away that a round was started with."""
    named = round_settings.unnamed(run.round.chosen) if run.round else []
    # One with its path was never a rule: the operator's command chose it.
    if gone := [name for name in named if ":" not in name]:
        raise CannotPrepare(f"There is no rule {', '.join(gone)} any more.")


def _require_unchanged(run: Run) -> None:
    """Raise CannotPrepare where a model from elsewhere is not the one any more that was checked."""
    read = {source.get("version") for source in run.options.get("sources", ())}
    read |= set(run.options.get("versions", ()))
    config = run.round.config if run.round else {}
    for version in run.project.model_versions.filter(run=None, pruned_at=None):
        if version.pk in read or version.location in config.values():
            try:
                added_models.require_unchanged(version)
            except added_models.Declined as error:
                raise CannotPrepare(str(error)) from error


def _prepare_round(run: Run) -> None:
    assert run.round is not None, "a run of kind round belongs to a round"
    project, version = run.project, run.round.dataset_version
    assert version is not None, "a round begins with a snapshot of the votes"
    rows.write(run.directory / "prompts.jsonl", exchange.prompts(project))
    # Labels and annotators' weights as the votes of this snapshot have them.
    exchange.refresh_labels(project)
    voted = exchange.preferences(project, version, include_simulated=project.train_on_simulated)
    # Without the pairs that wait, votes that come on them later could not order the queue.
    waiting = exchange.open_pairs(project, most=OPEN_PAIRS)
    once = _once(itertools.chain(voted, waiting))
    rows.write(run.directory / "preferences.jsonl", once)
    durable.replace(run.directory / CONFIG, json.dumps(run.round.config, indent=2) + "\n")


def _once(preferences: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each pair once: open ones may have votes already."""
    seen: set[str] = set()
    for row in preferences:
        if row["pair_id"] not in seen:
            seen.add(row["pair_id"])
            yield row


def _prepare_starter(run: Run) -> None:
    """Chats of the sample project's own grammar, and how to train on them."""
    seed, corpus = int(run.options["seed"]), run.directory / "corpus.jsonl"
    rows.write(corpus, exchange.sample_corpus(CHATS, seed=seed + CORPUS_SEED))
    sft = sample_sft_config(data=str(corpus), seed=seed)
    write_job(run.directory, SFTJob(sft=sft, seed=seed, threads=settings.TRAINING_THREADS or 1))


def _prepare_first_pairs(run: Run) -> None:
    """Two completions by the starter for each of some prompts, a part of them held out."""
    starter = run.project.model_versions.policies().get(number=0)
    prompts = run.directory / "prompts.jsonl"
    rows.write(prompts, exchange.prompts(run.project))
    job = SampleJob(
        policy=starter.location,
        prompts=str(prompts),
        seed=int(run.options["seed"]),
        threads=settings.TRAINING_THREADS or int(run.options.get("threads", 0)),
        sample=dataclasses.replace(
            planned(run.project).sample, prompts=FIRST_PROMPTS, per_prompt=2
        ),
    )
    write_job(run.directory, job)


def _prepare_compare(run: Run) -> None:
    """The chosen policies, judged by the newest reward model and its judge."""
    policies = run.project.model_versions.policies()
    by_pk = policies.in_bulk(run.options["versions"])
    chosen = [by_pk[pk] for pk in run.options["versions"] if pk in by_pk]
    prompts = run.directory / "prompts.jsonl"
    rows.write(prompts, exchange.prompts(run.project))
    starter = policies.filter(number=0).first()
    job = CompareJob(
        models={version.name: version.location for version in chosen},
        starter=starter.location if starter else "",
        prompts=str(prompts),
        reward_models=_scorers(run.project),
        seed=int(run.options["seed"]),
        threads=settings.TRAINING_THREADS or 0,
        evaluate=compared(run.project),
    )
    write_job(run.directory, job)


def _prepare_push(run: Run) -> None:
    """The files of a version that leave, and its card."""
    version = run.project.model_versions.get(pk=run.options["version"])
    try:
        folder = zip_archive.folder_of(version)
    except zip_archive.NotHere as error:
        raise CannotPrepare(str(error)) from error
    merge = zip_archive.local_base(folder) is not None
    durable.replace(run.directory / zip_archive.CARD, model_cards.card(version, merged=merge))
    job = PushJob(
        folder=str(folder),
        repo=str(run.options["repo"]),
        private=bool(run.options["private"]),
        files=tuple(path.name for path in zip_archive.files(folder)),
        card=str(run.directory / zip_archive.CARD),
        merge=merge,
    )
    write_job(run.directory, job)


def _prepare_completions(run: Run) -> None:
    """The chosen prompts, and who writes; keys are in the environment of the process alone."""
    options, prompts = run.options, run.directory / "prompts.jsonl"
    chosen = exchange.prompts(
        run.project,
        unanswered=options["prompts"] == "unanswered",
        tag=options["tag"],
        most=options["most"] or None,
    )
    rows.write(prompts, chosen)
    if not prompts.stat().st_size:
        raise CannotPrepare("There is no such prompt any more.")
    job = CompletionsJob(
        prompts=str(prompts),
        sources=tuple(_source(run, source) for source in options["sources"]),
        threads=settings.TRAINING_THREADS or 0,
        list_models=run.kind == RunKind.PREVIEW,
        **{name: options[name] for name in COMPLETION_SETTINGS},
    )
    write_job(run.directory, job)


COMPLETION_SETTINGS = ("per_prompt", "temperature", "top_p", "max_new_tokens", "seed")


def _source(run: Run, source: dict[str, Any]) -> SourceConfig:
    if "url" in source:
        server = _asked_server(source, run.options["concurrency"])
        return SourceConfig(name=source["name"], endpoint=server)
    version = run.project.model_versions.policies().filter(pk=source["version"]).first()
    try:
        if version is None:
            raise CannotPrepare(f"{source['name']} is not in this project any more.")
        return SourceConfig(name=source["name"], folder=serving.location(version, merge=False))
    except serving.NotServable as error:
        raise CannotPrepare(str(error)) from error


def _prepare_check(run: Run) -> None:
    """The model that somebody brings, and some of the project's prompts."""
    options, prompts = run.options, run.directory / "prompts.jsonl"
    rows.write(prompts, exchange.prompts(run.project, most=SHOWN_PROMPTS))
    [source] = options["sources"]
    server = None
    if "url" in source:
        url = endpoint_hosts.checked(source["url"])
        server = EndpointConfig(url=url, model=source["model"], concurrency=2, retries=2)
    job = CheckJob(
        model=source.get("folder", ""),
        hub=source.get("hub", ""),
        revision=source.get("revision", ""),
        endpoint=server,
        keep=str(Path(settings.HOME) / "models"),
        private=bool(options["private"]),
        kind=options["kind"],
        trained=options["make"] == added_models.STARTER,
        roots=_roots(source, trusted=options["trusted"]),
        prompts=str(prompts),
        threads=settings.TRAINING_THREADS or 0,
        free_gb=settings.MIN_FREE_GB,
        **({"max_new_tokens": options["longest"]} if options.get("longest") else {}),
    )
    write_job(run.directory, job)


def _prepare_ai_votes(run: Run) -> None:
    """The pairs that an AI annotator shall vote on, and what it may spend."""
    options, pairs = run.options, run.directory / "pairs.jsonl"
    if why := exchange.archived_refusal(run.project):
        raise CannotPrepare(why)
    chosen = exchange.pairs_to_judge(run.project, options["annotator"], most=options["most"])
    rows.write(pairs, chosen)
    if not pairs.stat().st_size:
        raise CannotPrepare("There is no pair any more that it has not voted on.")
    [source] = options["sources"]
    wishes = ("principles", "per_minute", "most_requests", "most_tokens", "max_new_tokens")
    job = AnnotateJob(
        pairs=str(pairs),
        endpoint=_asked_server(source, options["concurrency"]) if "url" in source else None,
        reward_model="" if "url" in source else _reward_folder(source["version"], run.project),
        threads=settings.TRAINING_THREADS or 0,
        **{name: options[name] for name in wishes},
    )
    write_job(run.directory, job)


def _asked_server(source: dict[str, Any], concurrency: int) -> EndpointConfig:
    url = endpoint_hosts.checked(source["url"])
    return EndpointConfig(url=url, model=source["model"], concurrency=concurrency)


def _reward_folder(pk: int, project: exchange.Project) -> str:
    """The weights of a reward model of whatever project of this installation."""
    version = ModelVersion.objects.get(pk=pk)
    # Again: votes may have come here, or weights gone, while the run was queued.
    if why := eligible_models.refusal(version, project):
        raise CannotPrepare(why)
    return version.location


def _roots(source: dict[str, Any], *, trusted: bool) -> tuple[str, ...]:
    """Folders that a folder of this server must not lead out of; a hub's model has its own."""
    offered = "folder" in source and not trusted
    return tuple(map(str, model_roots.roots())) if offered else ()


def _scorers(project: exchange.Project) -> dict[str, str]:
    """Folders of the reward model in use, or of the newest, and of the judge beside it."""
    kept = project.model_versions.rewards().filter(pruned_at=None)
    model = kept.promoted().first() or kept.first()
    if model is None:
        return {}
    judge = Path(model.location).with_name("judge")
    return {"reward": model.location} | ({"judge": str(judge)} if judge.is_dir() else {})


PREPARATIONS: dict[str, Callable[[Run], None]] = {
    RunKind.ROUND: _prepare_round,
    RunKind.STARTER: _prepare_starter,
    RunKind.FIRST_PAIRS: _prepare_first_pairs,
    RunKind.COMPARE: _prepare_compare,
    RunKind.PUSH: _prepare_push,
    RunKind.COMPLETIONS: _prepare_completions,
    RunKind.PREVIEW: _prepare_completions,
    RunKind.CHECK: _prepare_check,
    RunKind.AI_VOTES: _prepare_ai_votes,
}
