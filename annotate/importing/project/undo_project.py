"""An imported project while it is written, and taken back: then the project is as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from annotate.exporting.project.project_tables import SETTINGS
from annotate.importing.import_report import Report
from annotate.importing.storage.imported_annotators import prefix
from annotate.importing.storage.undo_import import batch_pace, remove_idle_annotators, remove_rows
from annotate.models import (
    Adjudication,
    AiVote,
    Assignment,
    Completion,
    Flag,
    Gold,
    Guideline,
    Import,
    Label,
    Pair,
    Project,
    QualificationAnswer,
    Rating,
    Rewrite,
    VoteRevision,
)
from annotate.queue import Pace, write

BEFORE, WHOLE = "before", "whole"
"""The state before, and True once people may work on it, in the import's report."""


def is_begun(import_: Import) -> bool:
    """True once a whole project was begun to be written, until it is taken back."""
    return BEFORE in import_.report


def begin(import_: Import) -> None:
    """Keep what the project was like, and hold it: nobody is offered its pairs."""
    with write():
        project = Project.objects.select_for_update(no_key=True).get(pk=import_.project_id)
        history = project.guideline_history.values_list("version", "text", "author_id")
        import_.report[BEFORE] = {
            "settings": {name: getattr(project, name) for name in SETTINGS.fields},
            "archived": project.archived,
            "guidelines": [list(one) for one in history.order_by("version")],
        }
        import_.save(update_fields=["report"])
        project.guideline_history.all().delete()
        Project.objects.filter(pk=project.pk).update(archived=True)


def is_whole(import_: Import) -> bool:
    """True once all of a project was written and people may work on it."""
    return bool(import_.report.get(WHOLE))


def release(import_: Import, report: Report) -> None:
    """Let the project go on, once it is whole.

    That it is whole is stored with it: who takes the job over from a worker that was killed now
    must not begin anew, because people may vote already.
    """
    with write():
        archived = import_.report[BEFORE]["archived"]
        Project.objects.filter(pk=import_.project_id).update(archived=archived)
        import_.report |= {WHOLE: True, "written": report.as_dict()}
        import_.save(update_fields=["report"])


def in_the_way(import_: Import) -> str:
    """The reason why a whole project cannot be taken back, in a sentence; empty when it can."""
    project = import_.project
    others = ~Q(imported_by=import_) | Q(imported_by=None)
    if Assignment.objects.filter(others, pair__project=project).exists():
        return "Somebody has one of its pairs on the screen, or voted on or skipped one."
    if project.pairs.filter(others).exists() or project.prompts.filter(others).exists():
        return "Prompts or pairs were added to it since."
    # Votes, decisions and versions that came with it are no obstacle: those that followed are.
    brought: dict[str, int] = import_.report.get("check", {}).get("project", {})
    newest = brought.get("dataset_version", 0)
    if project.dataset_versions.filter(number__gt=newest).exists():
        return f"Dataset version {newest + 1} holds its votes."
    came_along = User.objects.filter(username__startswith=prefix(project))
    if Adjudication.objects.filter(pair__project=project).exclude(
        Q(reviewer__in=came_along) | Q(reviewer=None)
    ):
        return "A reviewer has decided one of its pairs."
    if Flag.objects.filter(pair__project=project).exclude(annotator__in=came_along).exists():
        return "Somebody has warned of one of its pairs."
    came = is_whole(import_)  # one that was broken off may not have brought its guidelines yet
    if came and project.guideline_version != brought.get("guideline_version"):
        return "Its guidelines were changed since."
    return ""


def remove(import_: Import) -> Counter[str]:
    """Take out everything that the import added, in short transactions; the project is as it was
    before. One that was cut short is completed by the next call."""
    project, gone = import_.project, Counter[str]()
    project.dataset_versions.all().delete()
    project.model_notes.all().delete()
    project.training_records.all().delete()
    pairs = Pair.objects.filter(imported_by=import_).order_by("-pk")  # Retests before originals.
    pace = batch_pace()
    for batch in _batches(pairs, pace):
        with pace.write(len(batch)):
            _remove_pairs(batch, gone)
    for name, rows in (
        ("ratings", Rating.objects.filter(imported_by=import_)),
        ("completions", _unused(Completion.objects.filter(imported_by=import_))),
        ("prompts", _unused_prompts(import_)),
    ):
        pace = batch_pace()
        for batch in _batches(rows.order_by("-pk"), pace):
            with pace.write(len(batch)):
                gone[name] += remove_rows(rows.model._default_manager.filter(pk__in=batch))
    project.guideline_history.all().delete()
    gone["annotators"] = remove_idle_annotators(project)
    with write():
        _restore(import_)
    return gone


def _restore(import_: Import) -> None:
    before = import_.report.pop(BEFORE, None)
    if before is None:
        return
    project = import_.project
    if import_.report.pop(WHOLE, False):
        # Meanwhile it was its people's project; whether it rests is theirs to say.
        before["archived"] = Project.objects.values_list("archived", flat=True).get(pk=project.pk)
    settings = before["settings"]
    Project.objects.filter(pk=project.pk).update(**settings, archived=before["archived"])
    Guideline.objects.bulk_create(
        Guideline(project=project, version=version, text=text, author_id=author)
        for version, text, author in before["guidelines"]
    )
    import_.save(update_fields=["report"])


def _remove_pairs(pairs: list[int], gone: Counter[str]) -> None:
    acts = Assignment.objects.filter(pair__in=pairs)
    gone["votes"] += acts.filter(state=Assignment.State.VOTED).count()
    gold = Gold.objects.filter(pair__in=pairs)
    for rows in (
        Rewrite.objects.filter(assignment__in=acts.values("pk")),
        VoteRevision.objects.filter(assignment__in=acts.values("pk")),
        QualificationAnswer.objects.filter(gold__in=gold.values("pk")),
        gold,
        Label.objects.filter(pair__in=pairs),
        Adjudication.objects.filter(pair__in=pairs),
        Flag.objects.filter(pair__in=pairs),
        AiVote.objects.filter(pair__in=pairs),
        acts,
    ):
        remove_rows(rows)
    gone["pairs"] += remove_rows(Pair.objects.filter(pk__in=pairs))


def _unused(completions: QuerySet[Completion]) -> QuerySet[Completion]:
    """Completions that no pair of somebody else's is about."""
    sides = Q(completion_a=OuterRef("pk")) | Q(completion_b=OuterRef("pk"))
    return completions.filter(~Exists(Pair.objects.filter(sides)))


def _unused_prompts(import_: Import) -> QuerySet[Any]:
    of_prompt = {"prompt": OuterRef("pk")}
    return import_.project.prompts.filter(imported_by=import_).filter(
        ~Exists(Pair.objects.filter(**of_prompt)), ~Exists(Completion.objects.filter(**of_prompt))
    )


def _batches(rows: QuerySet[Any], pace: Pace) -> Iterator[list[int]]:
    """Numbers of the rows, from the last to the first."""
    before = None
    while True:
        rest = rows if before is None else rows.filter(pk__lt=before)
        batch = list(rest.values_list("pk", flat=True)[: pace.rows])
        if not batch:
            return
        before = batch[-1]
        yield batch


def undo(import_: Import) -> Counter[str]:
    """Take a whole project back; return how many rows of each table went."""
    gone = remove(import_)
    import_.undone_at = timezone.now()
    import_.save(update_fields=["undone_at"])
    return gone
