"""Prompts of a project as training reads them, and the lengths of its texts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Avg, Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast, Length

from annotate.models import Completion, Project, Prompt
from annotate.models.content import Messages, messages_sha256
from annotate.review.search import NEWEST, tagged

MEASURED = 1000
"""Texts whose length stands for that of all: reading a million would take seconds."""


def prompt_id(messages: Messages) -> str:
    """Name of a prompt in files: the hash of its chat."""
    return messages_sha256(messages)


def prompts(
    project: Project, *, unanswered: bool = False, tag: str = "", most: int | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of prompts.jsonl, in the order the prompts came; by default all.

    Args:
        unanswered: those without a completion alone.
        tag: those that have it alone.
        most: the first so many.
    """
    columns = ("messages", "held_out", "tags", "reference")
    chosen = _chosen(project, unanswered=unanswered, tag=tag)
    rows = chosen.order_by("pk").values_list("sha256", *columns)
    for sha, *values in rows[:most].iterator():
        yield {"prompt_id": sha, **dict(zip(columns, values, strict=True))}


def known_prompts(project: Project, prompt_ids: Iterable[str]) -> set[str]:
    """Those of these names that are prompts of the project."""
    there = project.prompts.filter(sha256__in=set(prompt_ids))
    return set(there.values_list("sha256", flat=True))


def _chosen(project: Project, *, unanswered: bool, tag: str) -> QuerySet[Prompt]:
    chosen = project.prompts.all()
    if unanswered:
        chosen = chosen.filter(~Exists(Completion.objects.filter(prompt=OuterRef("pk"))))
    return chosen.filter(tagged("tags", tag)) if tag else chosen


def has_completions(project: Project) -> bool:
    """True where a reply to one of the project's prompts is there."""
    return Completion.objects.filter(prompt__project=project).exists()


def prompt_count(
    project: Project, *, unanswered: bool = False, tag: str = "", held_out: bool = False
) -> int:
    """The number of prompts that `prompts` gives, or of those that only measure among them."""
    chosen = _chosen(project, unanswered=unanswered, tag=tag)
    return (chosen.filter(held_out=True) if held_out else chosen).count()


def prompt_tags(project: Project) -> list[str]:
    """Tags of the newest prompts, to choose from."""
    newest = project.prompts.order_by("-pk")[:NEWEST].values_list("tags", flat=True)
    return sorted({tag for tags in newest for tag in tags})


def one_prompt(project: Project, pk: int | None = None) -> list[dict[str, str]] | None:
    """Messages of a prompt, or without a number of any; None when there is none."""
    prompts = project.prompts.order_by("pk").values_list("messages", flat=True)
    if pk is not None:
        return prompts.filter(pk=pk).first()
    there = prompts.count()
    return prompts[secrets.randbelow(there)] if there else None


def has_both_kinds_of_prompts(project: Project) -> bool:
    """True of a project with prompts to train on and prompts to measure on."""
    return all(project.prompts.filter(held_out=held_out).exists() for held_out in (False, True))


def prompt_length(project: Project, *, unanswered: bool = False, tag: str = "") -> float:
    """Mean characters of the first of these prompts; 0 without any."""
    first = _chosen(project, unanswered=unanswered, tag=tag).order_by("pk")[:MEASURED]
    length = Length(Cast("messages", TextField()))
    return float(first.aggregate(mean=Avg(length))["mean"] or 0.0)


def reply_lengths(project: Project) -> list[int]:
    """Characters of replies that people brought, and of references, the newest first; replies that
    a model of the project was let write are left out, as they may have been cut."""
    brought = Completion.objects.filter(prompt__project=project, sampling={})
    told = project.prompts.exclude(reference="")
    lengths: list[int] = []
    for newest, text in ((brought.order_by("-pk"), "text"), (told.order_by("-pk"), "reference")):
        rows = newest.annotate(length=Length(text)).values_list("length", flat=True)
        lengths += rows[:MEASURED]
    return lengths


def text_lengths(project: Project) -> tuple[int, int]:
    """Characters of prompts and of completions, all but the longest twentieth; 0 without any."""
    prompts = Cast("messages", TextField())
    # Not by a join: SQLite would begin with the prompts and sort all of their completions.
    ours = Exists(project.prompts.filter(pk=OuterRef("prompt")))
    completions = Completion.objects.filter(ours)
    return (
        _usual_longest(project.prompts.annotate(size=Length(prompts))),
        _usual_longest(completions.annotate(size=Length("text"))),
    )


def _usual_longest(rows: QuerySet[Any]) -> int:
    sizes = sorted(rows.order_by("-pk").values_list("size", flat=True)[:MEASURED])
    return sizes[int(len(sizes) * 0.95)] if sizes else 0
