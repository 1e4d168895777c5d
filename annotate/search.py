"""Finding pairs by their texts."""

from __future__ import annotations

import json

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from annotate.models import Assignment, Pair, Project


def pairs(project: Project, *, text: str = "", state: str = "") -> QuerySet[Pair]:
    """The project's pairs, newest first, whose prompt or completions hold the text."""
    found = project.pairs.select_related("prompt", "completion_a", "completion_b").order_by("-id")
    if state:
        found = found.filter(state=state)
    if text:
        found = found.alias(chat=Cast("prompt__messages", TextField())).filter(
            Q(completion_a__text__icontains=text)
            | Q(completion_b__text__icontains=text)
            | Q(chat__icontains=_as_json_holds_it(text))
        )
    return found


def acts(project: Project, user: User, *, text: str = "") -> QuerySet[Assignment]:
    """The person's votes and skips, newest first, on pairs whose texts or remark hold the text."""
    done = (Assignment.State.VOTED, Assignment.State.SKIPPED)
    found = Assignment.objects.of_member(user).in_project(project).filter(state__in=done)
    if text:
        found = found.alias(chat=Cast("pair__prompt__messages", TextField())).filter(
            Q(pair__completion_a__text__icontains=text)
            | Q(pair__completion_b__text__icontains=text)
            | Q(comment__icontains=text)
            | Q(chat__icontains=_as_json_holds_it(text))
        )
    return found.for_display().order_by("-acted_at", "-pk")


def _as_json_holds_it(text: str) -> str:
    """The text as the chat's JSON spells it: SQLite stores \\u escapes, PostgreSQL letters."""
    return json.dumps(text, ensure_ascii=connection.vendor == "sqlite")[1:-1]
