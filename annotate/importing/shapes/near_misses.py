"""Columns that look like a field and are not read as one: questions for the person who imports.

By the name (another case, other separators, a slip of the keys, another set's name for the same)
and, where a row would be a bare prompt, by the contents.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from annotate.importing.imported_row import Row
from annotate.importing.shapes.chats import PROMPTS
from annotate.importing.shapes.judgements import CHOSEN, RATERS
from annotate.importing.shapes.mapping import letters, same_letters
from annotate.importing.shapes.sides import SIDES

SIDE = re.compile(r"[ _-]?(\d+|[ab])$|(?<=[a-z])([AB])$")
FAR = 99
SHORT = 6
"""Names of up to so many letters may differ in one; longer ones in two."""
FEW_WORDS = 3
"""Values of at least so many words, on average, are texts; others are names or categories."""
SEVERAL = 4

CHATS = ("messages", "conversations", "conversation", "data", "fields", "info", "i_chosen")
"""Columns that hold a prompt inside."""
TEXTS = ("chosen", "rejected", "completion_a", "completion_b", "completion", "completions")
SPELLED = {
    **dict.fromkeys(("prompt", "question", "instruction", "query", "user_prompt"), "prompt"),
    **dict.fromkeys(("chosen", "chosen_response", "better", "preferred_response"), "chosen"),
    **dict.fromkeys(("preferred_output", "human_preferred", "winning_response"), "chosen"),
    **dict.fromkeys(("rejected", "rejected_response", "worse", "reject"), "rejected"),
    **dict.fromkeys(("dispreferred", "non_preferred_output", "losing_response"), "rejected"),
    **{n: f"completion_{end}" for s in reversed(SIDES) for n, end in zip(s, "ab", strict=True)},
    "human_ref_A": "completion_a",
    "human_ref_B": "completion_b",
    "conversation_a": "completion_a",
    "conversation_b": "completion_b",
    **dict.fromkeys(("completions", "responses", "answers", "candidates"), "completions"),
    **dict.fromkeys(("completion", "response", "output", "generation"), "completion"),
    **dict.fromkeys(("winner", "preference", "better_response_id", "choice"), "winner"),
    **dict.fromkeys(("preferred", "verdict", "overall_preference"), "winner"),
    "votes": "votes",
    "label": "label",
    "margin": "margin",
    "strength": "strength",
    "model_a": "model_a",
    "model_b": "model_b",
    "reference": "reference",
    **dict.fromkeys(("rater", "annotator", "annotator_id", "worker_id"), "rater"),
}
"""Names that mean a field, ours and those of other sets."""
TELLING = {
    name
    for name, field in SPELLED.items()
    if field in (*TEXTS, "winner", "votes") and name not in ("output", "preference", "label")
}
"""Names so clear that a row which does not use them is asked about."""

MEANING = {*SPELLED, *CHOSEN, *RATERS}
WORD = re.compile(r"[a-z]+")


class Question(NamedTuple):
    """A column that may be a field, and why."""

    column: str
    field: str
    why: str


def asked_of(
    row: Row | None,
    columns: Iterable[str],
    left: Collection[str],
    values: Mapping[str, Any],
    samples: Iterable[Any],
) -> Iterator[Question]:
    """Questions about the columns of a row that nothing read, which are `left`.

    `row` is what became of it: None where it was refused for want of a column.
    """
    missing = _missing(row, set(columns) - set(left))
    asked = [x for x in (_by_name(column, missing, row) for column in left) if x is not None]
    yield from asked
    if not asked and row is not None and _is_bare(row):
        yield from _by_contents(left, values, list(samples))


def _missing(row: Row | None, used: Collection[str]) -> set[str]:
    """Fields that the row does not have, and could."""
    fields = set(SPELLED.values())
    if row is None:
        return fields
    if any(name in used for name in (*PROMPTS, *CHATS)):
        fields -= {"prompt"}
    if row.reference:
        fields -= {"reference"}
    if not row.comparisons:
        gone = {"margin", "strength", "rater", "model_a", "model_b"}
        if row.replies:
            gone |= {"completion"}
        if any(one.ratings for one in row.replies):
            gone |= {"label"}
        return fields - gone
    fields -= {*TEXTS, "label"}
    judged = [vote for one in row.comparisons for vote in one.judgements]
    if judged:
        fields -= {"winner", "votes"}
    else:
        fields -= {"strength", "rater", "margin"}
    if any(vote.rater for vote in judged):
        fields -= {"rater"}
    if any(vote.strength is not None for vote in judged):
        fields -= {"strength"}
    if any(one.margin is not None for one in row.comparisons):
        fields -= {"margin"}
    if any(one.model for one in row.replies):
        fields -= {"model_a", "model_b"}
    return fields


def _is_bare(row: Row | None) -> bool:
    """True of a row that is no comparison, and would lose one if a column of it meant one."""
    return row is None or not row.comparisons


def _by_name(column: str, missing: set[str], row: Row | None) -> Question | None:
    """The field that a column's name is nearest to, if it is near to one."""
    best, question = FAR, None
    for name, field in SPELLED.items():
        if field not in missing:
            continue
        telling = _is_bare(row) and (row is None or name in TELLING)
        if column == name:
            far = 0 if telling and (row is not None or name != field) else FAR
            why = f"`{column}` often is `{field}`"
        elif same_letters(column, name):
            far = 1 if telling or name == field else FAR
            why = f"`{column}` is `{name}` in other letters"
        else:
            far = 1 + slips(column, name) if name == field else FAR
            why = f"`{column}` looks like `{name}`"
        if far < best:
            best, question = far, Question(column, field, why)
    return question


def slips(column: str, name: str) -> int:
    """Slips of the keys between two names that have the same number or side; FAR if too many.

    A name that means something by itself, or has other words in it (`n_votes`), is no slip.
    """
    stem, end = _parted(column)
    other, its_end = _parted(name)
    if end != its_end or not stem or column in MEANING:
        return FAR
    if column.islower() and len(WORD.findall(column)) > len(WORD.findall(name)):
        return FAR
    most = 1 if min(len(stem), len(other)) <= SHORT else 2
    far = distance(stem, other, most)
    return far if 0 < far <= most else FAR


def _parted(name: str) -> tuple[str, str]:
    """A name's letters, and the number or side that it ends with."""
    match = SIDE.search(name)
    if match is None:
        return letters(name), ""
    return letters(name[: match.start()]), (match[1] or match[2]).casefold()


def distance(one: str, other: str, most: int) -> int:
    """Letters to add, take away, replace or swap with a neighbour; beyond `most`, more than it."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, its in enumerate(other, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def _by_contents(
    columns: Collection[str], values: Mapping[str, Any], samples: list[Any]
) -> Iterator[Question]:
    """Two texts beside a prompt, or a list of texts, are likely the replies to it."""
    for column in columns:
        value = values.get(column)
        if isinstance(value, list) and len(value) > 1 and all(map(_is_text, value)):
            yield Question(column, "completions", f"`{column}` holds {len(value)} texts")
            return
    texts = [one for one in columns if _holds_texts(one, values, samples)]
    if len(texts) == 2:
        why = f"`{texts[0]}` and `{texts[1]}` hold a text each beside the prompt"
        yield Question(texts[0], "completion_a", why)
        yield Question(texts[1], "completion_b", why)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= FEW_WORDS


def _holds_texts(column: str, values: Mapping[str, Any], samples: list[Any]) -> bool:
    seen = [x for x in (values.get(column), *(s.get(column) for s in samples)) if x is not None]
    if not seen or not all(isinstance(x, str) for x in seen):
        return False
    if len(seen) >= SEVERAL and len(set(seen)) * 2 < len(seen):
        return False  # the same few words again and again: a category
    return sum(len(x.split()) for x in seen) >= FEW_WORDS * len(seen)


def use_of(column: str, beside: Collection[str]) -> str:
    """The field that a column of this name is read as; `read` for one that has no field."""
    if column in SPELLED:
        second = column.endswith("1") and f"{column[:-1]}0" in beside
        return "completion_b" if second else SPELLED[column]
    if column in PROMPTS:
        return "prompt"
    if column in RATERS:
        return "rater"
    return "winner" if column in CHOSEN else "read"
