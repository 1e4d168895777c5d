"""Finding prompts, pairs and votes: what is looked for, and the rows that have it.

All filters speak of pairs. A prompt is found by its pairs and a vote by the pair it is on, so the
three lists of one address show the same part of the project. Lists are read in steps from a row on
and counted up to a bound: neither gets slower with the number of rows before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import (
    BooleanField,
    Exists,
    F,
    Func,
    Model,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    Value,
)
from django.db.models.functions import Cast, Coalesce, Collate, NullIf
from django.db.models.lookups import IContains

from annotate.models import Assignment, Completion, Flag, Membership, Pair, Project, Prompt
from annotate.votes.export_values import pseudonyms

PAGE = 50
COUNTED = 1000
"""Rows beyond which a list is only known to be longer."""
NEWEST = 2000
"""Rows whose policies, rounds and tags are offered as choices; others can be typed."""
LONGEST = 200
WHOLESALE = (
    *("enable_hashjoin", "enable_mergejoin", "enable_sort", "enable_material", "enable_seqscan"),
    "jit",
)
"""The plans of PostgreSQL that read everything."""
State = Assignment.State
Row = TypeVar("Row", bound=Model)


def words(typed: str) -> str:
    """Text to look for, as it was typed: PostgreSQL refuses NUL, and nothing stored holds one."""
    return typed.replace("\x00", "").strip()[:LONGEST]


class Words(forms.CharField):
    def to_python(self, value: Any) -> str:
        return words(value or "")


def _one_of(label: str, choices: Iterable[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, required=False, choices=[("", "Any"), *choices])


class Search(forms.Form):
    """Fields of a search. Empty ones match everything."""

    AGREEMENT = (
        ("none", "No votes"),
        ("single", "One vote"),
        ("agreed", "All votes the same"),
        ("split", "Votes differ"),
    )

    q = Words(label="Text in the prompt or a reply", required=False)
    prompt = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    tag = Words(label="Tag of the prompt or the pair", required=False)
    metadata = Words(label="Metadata holds (text, or name=value)", required=False)
    policy = Words(label="Policy that wrote a side", required=False)
    round = Words(label="Round or source", required=False)
    annotator = Words(label="Annotator who voted", required=False)
    batch = Words(label="Batch", required=False)
    state = _one_of("State", Pair.State.choices)
    agreement = _one_of("Agreement", AGREEMENT)
    kind = _one_of("Kind", Pair.Kind.choices)
    stream = _one_of("Stream", Pair.Stream.choices)
    flagged = forms.BooleanField(label="Flagged by somebody", required=False)


def address(wanted: dict[str, Any], **more: object) -> str:
    """The query string that asks for the same again."""
    said = {name: "on" if value is True else value for name, value in (wanted | more).items()}
    return urlencode({name: value for name, value in said.items() if value})


def pairs(project: Project, wanted: dict[str, Any]) -> QuerySet[Pair]:
    """Pairs, newest first."""
    matching = project.pairs.select_related("prompt", "completion_a", "completion_b")
    if text := wanted.get("q"):
        matching = matching.filter(_says(text))
    if tag := wanted.get("tag"):
        matching = matching.filter(tagged("tags", tag) | tagged("prompt__tags", tag))
    if metadata := wanted.get("metadata"):
        of = ("", "prompt__", "completion_a__", "completion_b__")
        on_it = _any(_tells(f"{path}metadata", metadata) for path in of)
        matching = matching.filter(on_it | Q(_told_by_votes(metadata)))
    if policy := wanted.get("policy"):
        matching = matching.alias(wrote_a=wrote("a"), wrote_b=wrote("b"))
        matching = matching.filter(Q(wrote_a=policy) | Q(wrote_b=policy))
    if source := wanted.get("round"):
        matching = matching.filter(source__in=(source, f"round-{source}"))
    if annotator := wanted.get("annotator"):
        matching = matching.filter(
            Exists(_votes_of(project, annotator).filter(pair=OuterRef("pk")))
        )
    if batch := wanted.get("batch"):
        matching = matching.filter(batch__name=batch)
    if agreement := wanted.get("agreement"):
        matching = matching.alias(standing=F("n_a") + F("n_b") + F("n_tie")).filter(
            _agreement(agreement)
        )
    if wanted.get("flagged"):
        matching = matching.filter(Exists(Flag.objects.filter(pair=OuterRef("pk"))))
    same = {
        name: wanted[name] for name in ("prompt", "state", "kind", "stream") if wanted.get(name)
    }
    return matching.filter(**same).order_by("-pk")


def prompts(project: Project, wanted: dict[str, Any]) -> QuerySet[Prompt]:
    """Prompts, newest first; without a filter on pairs also those that have none."""
    matching = project.prompts.order_by("-pk")
    if number := wanted.get("prompt"):
        matching = matching.filter(pk=number)
    if text := wanted.get("q"):
        replies = Completion.objects.filter(_holds("text", text), prompt=OuterRef("pk"))
        matching = matching.filter(_chat_holds("messages", text) | Q(Exists(replies)))
    if tag := wanted.get("tag"):
        same_tag = project.pairs.filter(tagged("tags", tag), prompt=OuterRef("pk"))
        matching = matching.filter(tagged("tags", tag) | Q(Exists(same_tag)))
    if metadata := wanted.get("metadata"):
        told = _tells("metadata", metadata)
        replies = Completion.objects.filter(told, prompt=OuterRef("pk"))
        voted = Q(_told_by_votes(metadata))
        on = project.pairs.filter(told | voted, prompt=OuterRef("pk"))
        matching = matching.filter(told | Q(Exists(replies)) | Q(Exists(on)))
    rest = wanted | {"q": "", "tag": "", "metadata": "", "prompt": None}
    if any(rest.values()):
        matching = matching.filter(Exists(pairs(project, rest).filter(prompt=OuterRef("pk"))))
    return matching


def completions(project: Project, wanted: dict[str, Any]) -> QuerySet[Completion]:
    """Replies, newest first, by `q`, `metadata`, `prompt`, `policy` and `source`."""
    matching = Completion.objects.filter(prompt__project=project).order_by("-pk")
    if text := wanted.get("q"):
        matching = matching.filter(_holds("text", text))
    if metadata := wanted.get("metadata"):
        matching = matching.filter(_tells("metadata", metadata))
    same = {name: wanted[name] for name in ("prompt", "policy", "source") if wanted.get(name)}
    return matching.filter(**same)


def votes(project: Project, wanted: dict[str, Any]) -> QuerySet[Assignment]:
    """Votes, newest first: by when the pair was handed out."""
    on = _on(pairs(project, wanted | {"annotator": ""}))
    matching = Assignment.objects.filter(on, state=State.VOTED)
    if annotator := wanted.get("annotator"):
        matching = matching.filter(annotator__in=_people(project, annotator))
    return matching.for_display().order_by("-pk")


def _on(chosen: QuerySet[Pair]) -> Q | Exists:
    """Votes on these pairs: few pairs lead to their votes, and of many the newest votes tell."""
    few = list(chosen.values_list("pk", flat=True)[: COUNTED + 1])
    return Q(pair__in=few) if len(few) <= COUNTED else Exists(chosen.filter(pk=OuterRef("pair")))


def votes_and_skips(project: Project, user: User, *, text: str = "") -> QuerySet[Assignment]:
    """The person's votes and skips, newest first, on pairs whose texts or remark hold the text."""
    done = (State.VOTED, State.SKIPPED)
    own = Assignment.objects.of_member(user).in_project(project).filter(state__in=done)
    if text:
        own = own.filter(_says(text, "pair__") | _holds("comment", text))
    return own.for_display().order_by("-acted_at", "-pk")


def wrote(side: str, pair: str = "") -> Coalesce:
    """Name of the policy that wrote a side; most pairs know it by the completion alone.

    `pair` is the path from the queried rows to the pair, for example "pair__".
    """
    return Coalesce(NullIf(f"{pair}policy_{side}", Value("")), f"{pair}completion_{side}__policy")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows of a list, and from which rows its neighbours start."""

    rows: list[Row]
    newer: int | None
    older: int | None
    count: int
    more: bool
    """There are more rows than were counted."""


def page(rows_found: QuerySet[Row], *, before: int | None, after: int | None) -> Page[Row]:
    """The newest rows older than `before`, or the oldest ones newer than `after`."""
    if after is not None:
        rows = list(rows_found.filter(pk__gt=after).order_by("pk")[: PAGE + 1])[::-1]
        newer, older, rows = len(rows) > PAGE, True, rows[-PAGE:]
    else:
        start = rows_found if before is None else rows_found.filter(pk__lt=before)
        rows = list(start[: PAGE + 1])
        newer, older, rows = before is not None, len(rows) > PAGE, rows[:PAGE]
    whole = not newer and not older
    count = len(rows) if whole else rows_found.order_by()[: COUNTED + 1].count()
    return Page(
        rows=rows,
        newer=rows[0].pk if newer and rows else None,
        older=rows[-1].pk if older and rows else None,
        count=min(count, COUNTED),
        more=count > COUNTED,
    )


def offered(project: Project, *, named: bool) -> dict[str, list[str]]:
    """Values to choose from by field: those of the newest rows, and everybody's name."""
    told = (
        "source",
        "tags",
        "policy_a",
        "policy_b",
        "completion_a__policy",
        "completion_b__policy",
    )
    newest = list(project.pairs.order_by("-pk")[:NEWEST].values_list(*told))
    tags = project.prompts.order_by("-pk")[:NEWEST].values_list("tags", flat=True)
    members = project.memberships.values_list("pseudonym", "user__username")
    return {
        "policy": _distinct(policy for _, _, *policies in newest for policy in policies),
        "round": _distinct(source for source, *_ in newest),
        "tag": _distinct(chain(*tags, *(held for _, held, *_ in newest))),
        "annotator": [user if named else pseudonym for pseudonym, user in members],
        "batch": _distinct(project.batches.values_list("name", flat=True)),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    """Shorter names first, so that round-9 stands before round-10."""
    return sorted({value for value in values if value}, key=lambda value: (len(value), value))


def _agreement(which: str) -> Q:
    """By the standing votes; `standing` is annotated."""
    same = Q(n_a=F("standing")) | Q(n_b=F("standing")) | Q(n_tie=F("standing"))
    return {
        "none": Q(standing=0),
        "single": Q(standing=1),
        "agreed": Q(standing__gte=2) & same,
        "split": Q(standing__gte=2) & ~same,
    }[which]


def _votes_of(project: Project, name: str) -> QuerySet[Assignment]:
    people = _people(project, name)
    return Assignment.objects.filter(annotator__in=people, state=State.VOTED)


def _people(project: Project, name: str) -> list[int]:
    """Whoever goes by this name: a pseudonym, or where `Project.role` may read them, a username."""
    known = Q(pseudonym=name)
    if project.role == "admin":
        known |= Q(user__username=name)
    members = Membership.objects.filter(known, project=project)
    called = pseudonyms(project)
    # Superusers vote without being members.
    roots = User.objects.filter(is_superuser=True).values_list("pk", flat=True)
    return [*members.values_list("user_id", flat=True), *(pk for pk in roots if called(pk) == name)]


def _says(text: str, pair: str = "") -> Q:
    """The prompt or a reply of a pair holds the text; `pair` as in `wrote`."""
    replies = _holds(f"{pair}completion_a__text", text) | _holds(f"{pair}completion_b__text", text)
    return replies | _chat_holds(f"{pair}prompt__messages", text)


def _chat_holds(column: str, text: str) -> Q:
    return _holds(Cast(column, TextField()), _as_json_holds_it(text))


def tagged(column: str, tag: str) -> Q:
    """The list of tags in this column has the tag."""
    return _holds(Cast(column, TextField()), f'"{_as_json_holds_it(tag)}"')


def _tells(column: str, text: str) -> Q:
    """The metadata hold the text in a name or a value; with name=value also just this value."""
    stored = Cast(column, TextField())
    holds = _holds(stored, _as_json_holds_it(text))
    name, equals, value = text.partition("=")
    if not equals:
        return holds
    # Both databases write a colon with a space behind it; a number ends at a comma or a bracket.
    before = f'"{_as_json_holds_it(name.strip())}": '
    value = _as_json_holds_it(value.strip())
    ends = [f'"{value}"', *(f"{value}{end}" for end in (",", "}"))]
    return _any([holds, *(_holds(stored, before + end) for end in ends)])


def _told_by_votes(text: str) -> Exists:
    """The metadata of a vote on the pair hold the text, as _tells has it."""
    votes = Assignment.objects.filter(pair=OuterRef("pk"), state=State.VOTED)
    return Exists(votes.filter(_tells("metadata", text)))


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions)


def _holds(column: str | Cast, text: str) -> Q:
    """The column holds the text, upper and lower case of ASCII letters alike.

    SQLite knows no others. PostgreSQL does, at three times the cost.
    """
    held = F(column) if isinstance(column, str) else column
    if connection.vendor != "postgresql":
        return Q(IContains(held, text))
    pattern = Value(f"%{connection.ops.prep_for_like_query(text)}%")
    return Q(_ILike(Collate(held, "C"), pattern))


class _ILike(Func):
    arg_joiner = " ILIKE "
    template = "%(expressions)s"
    output_field = BooleanField()
    conditional = True


@contextmanager
def from_the_newest() -> Iterator[None]:
    """Have PostgreSQL read rows from the newest on until a page is full.

    It takes every text for rare, and would join and sort all rows before the first is shown.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET LOCAL {plan} = off" for plan in WHOLESALE))
        yield


def _as_json_holds_it(text: str) -> str:
    """The text as the chat's JSON spells it: SQLite stores \\u escapes, PostgreSQL letters."""
    return json.dumps(text, ensure_ascii=connection.vendor == "sqlite")[1:-1]
