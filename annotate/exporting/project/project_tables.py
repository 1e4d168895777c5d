"""Tables of a project as its file holds them: columns by their own names, empty ones left out.

What is empty follows from a column's type, not from its default: defaults change, files do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from annotate.exporting.raw_rows import rows_of
from annotate.models import (
    Adjudication,
    Assignment,
    Completion,
    DatasetVersion,
    Flag,
    Gold,
    Guideline,
    Label,
    Membership,
    ModelNote,
    Pair,
    Project,
    Prompt,
    QualificationAnswer,
    Rating,
    Rewrite,
    TrainingRecord,
    VoteRevision,
)
from annotate.votes.export_values import parsed, timestamp, uuid_text

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    Field = models.Field
Line = dict[str, Any]
LARGE = 10**15
"""Whole floats from here on leave as whole numbers: PostgreSQL's JSON knows no others."""


class Table:
    """The columns of a model that a line holds."""

    def __init__(self, model: type[models.Model], *names: str) -> None:
        self.model = model
        known = {field.name: field for field in model._meta.concrete_fields}
        self.fields: dict[str, Field] = {name: known[name] for name in names}
        self._told = [(name, _told(field), empty(field)) for name, field in self.fields.items()]
        times = [n for n, field in self.fields.items() if isinstance(field, models.DateTimeField)]
        self._texts = {f"{name}_text": Cast(name, TextField()) for name in times}
        self._columns = [f"{name}_text" if name in times else name for name in names]

    def rows(self, query: QuerySet[Any], *more: str) -> Iterator[tuple[Any, ...]]:
        """The line of each row; behind it the columns `more`, which may be of related rows."""
        columns = query.annotate(**self._texts).values_list(*self._columns, *more)
        n = len(self._columns)
        for values in rows_of(columns):
            yield self._line(values[:n]), *values[n:]

    def _line(self, values: Sequence[Any]) -> Line:
        line: Line = {}
        for (name, told, nothing), value in zip(self._told, values, strict=True):
            value = told(value)
            if value != nothing:
                line[name] = value
        return line


def empty(field: Field) -> Any:
    """The value of a column that a line leaves out; of times and the like there is none."""
    if field.null:
        return None
    for kind, nothing in _EMPTY.items():
        if isinstance(field, kind):
            return nothing
    if isinstance(field, models.JSONField) and field.has_default():
        return type(field.get_default())()
    return ...


_EMPTY: dict[type[Field], Any] = {
    models.CharField: "",
    models.TextField: "",
    models.BooleanField: False,
    models.FloatField: 0.0,
    models.IntegerField: 0,
}


def _told(field: Field) -> Callable[[Any], Any]:
    """Make a column's value as the database gives it one of JSON, the same on each database."""
    if isinstance(field, models.JSONField):
        return same_everywhere
    if isinstance(field, models.DateTimeField):
        return timestamp
    if isinstance(field, models.UUIDField):
        return uuid_text
    if isinstance(field, models.BooleanField):
        return bool
    return lambda value: value


def same_everywhere(text: str | None) -> Any:
    """A JSON column with its keys in one order, and numbers that every database keeps."""
    value = parsed(text)
    return _same_numbers(value) if text and ("e+" in text or "-0" in text) else value


def _same_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _same_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_same_numbers(one) for one in value]
    if isinstance(value, float) and (value == 0 or (abs(value) >= LARGE and value.is_integer())):
        return 0.0 if value == 0 else int(value)
    return value


SETTINGS = Table(
    Project,
    *("guidelines", "guideline_version", "votes", "scale", "reason_chips", "criteria"),
    *("criteria_required", "allow_rewrites", "stop_when_certain", "gold_share", "retest_share"),
    "check_threshold",
    *("auto_pause", "require_rationale", "read_guidelines", "qualification"),
    *("qualification_share", "overlap_share", "random_share", "train_on_simulated"),
)
"""Settings that say how is judged, and whose votes teach. When rounds start is the project's own
affair wherever it is."""
GUIDELINE = Table(Guideline, "version", "text", "created_at")
PERSON = Table(
    Membership,
    *("pseudonym", "role", "weight", "reliability", "estimate", "reliability_at", "pace_ms"),
    *("guidelines_read", "qualified_at", "qualification_attempt", "warned_at", "paused_at"),
    *("paused_because", "resumed_at", "simulated"),
)
PROMPT = Table(
    Prompt,
    *("sha256", "messages", "tools", "reference", "tags", "metadata", "held_out", "created_at"),
)
COMPLETION = Table(
    Completion,
    *("sha256", "text", "messages", "source", "policy", "sampling", "metadata", "created_at"),
)
RATING = Table(Rating, "name", "value", "created_at")
PAIR = Table(
    Pair,
    *("key", "kind", "state", "stream", "source", "policy_a", "policy_b", "policy", "margin"),
    *("source_margin", "tags", "metadata", "source_ids", "priority", "shuffle", "wanted", "limit"),
    *("agree", "created_at", "resolved_at"),
)
LABEL = Table(
    Label,
    *("outcome", "vote_fraction", "margin", "n_votes", "method", "p_a", "p_tie", "p_b"),
    "updated_at",
)
GOLD = Table(Gold, "expected", "explanation", "qualification", "active", "created_at")
ANSWER = Table(QualificationAnswer, "attempt", "left", "choice", "correct", "answered_at")
DECISION = Table(Adjudication, "choice", "strength", "category", "rationale", "decided_at")
FLAG = Table(Flag, "kind", "created_at", "settled_at")
_JUDGEMENT = (
    *("stream", "propensity", "acquisition", "leased_at", "choice", "strength", "reasons"),
    *("comment", "criteria", "criteria_asked", "voted_at", "seq", "active_ms", "first_key_ms"),
    *("wall_ms", "input", "guideline_version"),
    *("surplus", "simulated", "imported", "metadata", "revision", "frozen_from"),
)
ASSIGNMENT = Table(Assignment, "token", "state", "left", *_JUDGEMENT, "skip_reason", "acted_at")
REVISION = Table(VoteRevision, *_JUDGEMENT, "frozen_until", "replaced_at")
REWRITE = Table(Rewrite, "based_on", "text", "updated_at")
NOTE = Table(
    ModelNote,
    *("name", "kind", "state", "dataset_version", "metrics", "created_at", "updated_at"),
)
VERSION = Table(
    DatasetVersion, "number", "sha256", "n_pairs", "n_votes", "n_simulated", "created_at"
)
RECORD = Table(TrainingRecord, "kind", "name", "sha256", "record")
TOP_LEVEL = (
    *(SETTINGS, GUIDELINE, PERSON, PROMPT, COMPLETION, PAIR, ANSWER, ASSIGNMENT, NOTE, VERSION),
    RECORD,
)
"""Tables whose columns are those of a line; of others a line holds objects."""


def samples(tables: Sequence[Table]) -> Line:
    """Every column of these tables with an empty value of its type; {} where any value may be."""
    line: Line = {}
    for table in tables:
        for name, field in table.fields.items():
            sample = _sample(field)
            line[name] = sample if line.get(name, sample) == sample else {}
    return line


def _sample(field: Field) -> Any:
    if isinstance(field, models.JSONField):
        return {}
    numbers = (models.BooleanField, models.FloatField, models.IntegerField)
    return next((_EMPTY[kind] for kind in numbers if isinstance(field, kind)), "")
