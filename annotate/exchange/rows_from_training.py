"""Rows from training: prompts, completions, pairs and notes on its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import F

from annotate.exchange.batches import batched
from annotate.models import Completion, ModelNote, Pair, Project, Prompt
from annotate.models.content import (
    completion_key,
    is_held_out,
    messages_sha256,
    text_sha256,
)
from annotate.queue import write

Row = Mapping[str, Any]


class UnknownRow(LookupError):
    """A row names a prompt or a completion that the project does not have."""


def add_prompts(project: Project, rows: Iterable[Row]) -> int:
    """Add rows of `messages` (and `tags`, `reference`); return how many were new."""
    return sum(_add_prompts(project, batch) for batch in batched(rows))


def _add_prompts(project: Project, rows: tuple[Row, ...]) -> int:
    prompts: dict[str, Prompt] = {}
    for row in rows:
        sha = messages_sha256(row["messages"])
        prompts[sha] = Prompt(
            project=project,
            messages=row["messages"],
            sha256=sha,
            tags=list(row.get("tags", [])),
            reference=row.get("reference", ""),
            held_out=is_held_out(sha),
        )
    with write():
        known = set(project.prompts.filter(sha256__in=prompts).values_list("sha256", flat=True))
        new = [prompt for sha, prompt in prompts.items() if sha not in known]
        Prompt.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def add_completions(project: Project, rows: Iterable[Row], *, source: str, policy: str) -> int:
    """Add rows of completions.jsonl; return how many were new.

    A row's own policy stands, but "new" becomes `policy`, the name of the model version.
    Raises UnknownRow when a prompt is missing; the batches before it stay.
    """
    return sum(
        _add_completions(project, batch, source=source, policy=policy) for batch in batched(rows)
    )


def _add_completions(project: Project, rows: tuple[Row, ...], *, source: str, policy: str) -> int:
    wanted = {row["prompt_id"] for row in rows}
    prompts = dict(project.prompts.filter(sha256__in=wanted).values_list("sha256", "pk"))
    _none_missing("prompt", wanted - prompts.keys())
    candidates: dict[tuple[int, str], Completion] = {}
    for row in rows:
        prompt, sha = prompts[row["prompt_id"]], text_sha256(row["text"])
        candidates.setdefault(
            (prompt, sha),
            Completion(
                prompt_id=prompt,
                text=row["text"],
                sha256=sha,
                source=source,
                policy=row["policy"] if row.get("policy", "new") != "new" else policy,
                sampling={name: row[name] for name in SAMPLING if name in row},
            ),
        )
    with write():
        there = Completion.objects.filter(prompt__in=prompts.values())
        known = set(there.values_list("prompt_id", "sha256"))
        new = [completion for key, completion in candidates.items() if key not in known]
        Completion.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


SAMPLING = ("seed", "temperature", "top_p", "n_tokens", "finish_reason")


def add_pairs(project: Project, rows: Iterable[Row], *, source: str, policy: str = "") -> int:
    """Add rows of candidates.jsonl to the queue; return how many were new.

    A side's policy "new" becomes `policy`, the name of the model version, as in add_completions.

    A row's `margin` (the reward model's logit of A over B) may be missing.
    Idempotent by the rows' keys. Two texts that read the same are no pair and left out.
    Raises UnknownRow when a prompt or completion is missing; the batches before it stay.
    """
    return sum(_add_pairs(project, batch, source=source, policy=policy) for batch in batched(rows))


def _add_pairs(project: Project, rows: tuple[Row, ...], *, source: str, policy: str) -> int:
    prompts = {row["prompt_id"] for row in rows}
    completions = _by_key(project, prompts)
    sides = [row[side] for row in rows for side in ("completion_a", "completion_b")]
    _none_missing("completion", set(sides) - completions.keys())
    held_out = {key for key in prompts if is_held_out(key)}
    pairs: dict[str, Pair] = {}
    for row in rows:
        a, b = completions[row["completion_a"]], completions[row["completion_b"]]
        if _reads(a) != _reads(b):
            made = _pair(
                project,
                row,
                a,
                b,
                source=source,
                policy=policy,
                held_out=row["prompt_id"] in held_out,
            )
            pairs.setdefault(row["key"], made)
    with write():
        known = set(project.pairs.filter(key__in=pairs).values_list("key", flat=True))
        new = [pair for key, pair in pairs.items() if key not in known]
        Pair.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _by_key(project: Project, prompt_ids: set[str]) -> dict[str, Completion]:
    completions = Completion.objects.filter(
        prompt__project=project, prompt__sha256__in=prompt_ids
    ).annotate(prompt_sha256=F("prompt__sha256"))
    return {completion_key(one.prompt_sha256, one.text): one for one in completions}


def _pair(
    project: Project,
    row: Row,
    a: Completion,
    b: Completion,
    *,
    source: str,
    policy: str,
    held_out: bool,
) -> Pair:
    quota = Pair.quota(
        project,
        row.get("kind", Pair.Kind.NORMAL),
        key=row["key"],
        held_out=held_out,
        chosen=row.get("stream") == Pair.Stream.ACTIVE,
    )
    chosen = quota["arms"] == Pair.Arms.ACTIVE
    sides = [row.get("policy_a", ""), row.get("policy_b", "")]
    wrote = [policy if side == "new" else side for side in sides]
    return Pair(
        project=project,
        prompt_id=a.prompt_id,
        completion_a=a,
        completion_b=b,
        key=row["key"],
        stream=Pair.Stream.ACTIVE if chosen else "",
        priority=row.get("score", 0.0),
        source=source,
        policy_a=wrote[0],
        policy_b=wrote[1],
        policy=_newest(wrote[0] or a.policy, wrote[1] or b.policy, a.pk > b.pk, policy),
        margin=row.get("margin"),
        **quota,
    )


def _newest(first: str, second: str, first_is_newer: bool, current: str) -> str:
    """The newest policy of a pair: the current one, else that of the completion written last."""
    if current and current in (first, second):
        return current
    sides = [first, second] if first_is_newer else [second, first]
    return next((one for one in sides if one not in ("", "starter")), first or second)


def _reads(completion: Completion) -> list[str]:
    return completion.text.split()


def _none_missing(what: str, missing: set[str]) -> None:
    if missing:
        raise UnknownRow(f"The project has no {what} {min(missing)} ({len(missing)} missing).")


def publish_model_version(
    project: Project,
    *,
    name: str,
    kind: str,
    state: str,
    dataset_version: int | None,
    metrics: Mapping[str, Any],
) -> None:
    """Show a model version's state and numbers on the labelling side."""
    ModelNote.objects.update_or_create(
        project=project,
        name=name,
        defaults={
            "kind": kind,
            "state": state,
            "dataset_version": dataset_version,
            "metrics": dict(metrics),
        },
    )
