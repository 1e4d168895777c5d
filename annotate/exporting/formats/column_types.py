"""The columns of the shared rows and what they hold, for formats that have to say so beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from annotate.exporting.formats.text_styles import voted_pairs
from annotate.models import Assignment, Completion, DatasetVersion, Prompt

TEXT, NULLABLE, FLOAT, INT, BOOL = "text", "text or null", "float", "int", "bool"
WORDS, JSON, CHAT, TOOLS = "list of text", "JSON", "chat", "tools"
Columns = Mapping[str, str]
"""Name of a column -> one of the kinds above, in the order of the row."""

_JUDGED = {"n_votes": INT, "method": TEXT, "p_a": FLOAT, "p_tie": FLOAT, "p_b": FLOAT}
_OF_PAIR = {"split": TEXT, "kind": TEXT, "stream": TEXT, "tags": WORDS}

PREFERENCE: Columns = MappingProxyType(
    {
        **dict.fromkeys(("prompt", "chosen", "rejected"), CHAT),
        "tools": TOOLS,
        **dict.fromkeys(("margin", "source_margin", "vote_fraction"), FLOAT),
        **_JUDGED,
        "chosen_side": TEXT,
        **dict.fromkeys(("weight", "reliability"), FLOAT),
        **_OF_PAIR,
        **dict.fromkeys(("chosen_model", "rejected_model", "pair_id", "prompt_id"), TEXT),
        **dict.fromkeys(("chosen_id", "rejected_id"), TEXT),
        "metadata": JSON,
    }
)
UNDECIDED: Columns = MappingProxyType(
    {
        **dict.fromkeys(("prompt", "completion_a", "completion_b"), CHAT),
        "tools": TOOLS,
        "outcome": TEXT,
        "equal_texts": BOOL,
        "vote_fraction_a": FLOAT,
        "n_votes": INT,
        "n_both_bad": INT,
        **{name: kind for name, kind in _JUDGED.items() if name != "n_votes"},
        **dict.fromkeys(("weight", "reliability"), FLOAT),
        **_OF_PAIR,
        **dict.fromkeys(("model_a", "model_b", "pair_id", "prompt_id"), TEXT),
        **dict.fromkeys(("completion_a_id", "completion_b_id"), TEXT),
        "metadata": JSON,
    }
)
VOTE: Columns = MappingProxyType(
    {
        **dict.fromkeys(("vote_id", "pair_id", "prompt_id", "annotator", "choice"), TEXT),
        "strength": INT,
        "left": NULLABLE,
        "reasons": WORDS,
        "comment": TEXT,
        "criteria": JSON,
        **dict.fromkeys(("leased_at", "voted_at"), NULLABLE),
        **dict.fromkeys(("active_ms", "first_key_ms", "wall_ms"), INT),
        "input": TEXT,
        "guideline_version": INT,
        "stream": NULLABLE,
        "propensity": FLOAT,
        **dict.fromkeys(("surplus", "simulated", "imported"), BOOL),
        **dict.fromkeys(("weight", "reliability"), FLOAT),
        "metadata": JSON,
        "kind": TEXT,
        "pair_stream": TEXT,
        "retest_of": NULLABLE,
        "split": TEXT,
        "tags": WORDS,
        "source_margin": FLOAT,
        **dict.fromkeys(("model_a", "model_b"), TEXT),
        "prompt": CHAT,
        "tools": TOOLS,
        "reference": NULLABLE,
        **dict.fromkeys(("completion_a", "completion_b"), TEXT),
        **dict.fromkeys(("messages_a", "messages_b"), CHAT),
        **dict.fromkeys(("completion_a_id", "completion_b_id"), TEXT),
        **dict.fromkeys(("pair_metadata", "metadata_a", "metadata_b"), JSON),
    }
)
MARKED_VOTE: Columns = MappingProxyType(
    {
        name: kind
        for each, its in VOTE.items()
        for name, kind in [(each, its), ("criteria_asked", NULLABLE)][: 1 + (each == "criteria")]
    }
)
"""Votes of a project that compares criteria: it is told when each vote's were asked."""
_BESIDES = ("name", "tool_calls", "tool_call_id", "thinking", "parts")


def of_votes(version: DatasetVersion) -> Columns:
    """The columns of the version's votes."""
    votes = Assignment.objects.in_project(version.project)
    marked = votes.exclude(criteria_asked="").exists()
    return MARKED_VOTE if marked else VOTE


def roles_and_contents_alone(version: DatasetVersion) -> bool:
    """True when no message of the version has anything besides."""
    if version.plain_chats is None:
        version.plain_chats = _looked_through(version)
    return version.plain_chats


def _looked_through(version: DatasetVersion) -> bool:
    prompts = Prompt.objects.filter(project=version.project)
    replies = Completion.objects.filter(prompt__project=version.project, messages__isnull=False)
    # Of most projects no message has; that is told without looking for the version's pairs.
    if not (_with_more(prompts) or _with_more(replies)):
        return True
    pairs = voted_pairs(version)
    sides = Q(pk__in=pairs.values("completion_a")) | Q(pk__in=pairs.values("completion_b"))
    of_version = (prompts.filter(pk__in=pairs.values("prompt")), replies.filter(sides))
    return not any(map(_with_more, of_version))


def _with_more(query: QuerySet[Any]) -> bool:
    """True when a message of these rows has more than a role and a content."""
    besides = Q()
    for key in _BESIDES:
        # Quotation marks in texts have a backslash before them.
        besides |= Q(written__contains=f'"{key}":')
    written = query.annotate(written=Cast("messages", TextField()))
    return bool(written.filter(besides).exists())
