"""Columns that look like a field and are not read as one: questions for the person who imports.

By the name: another case, other separators, a slip of the keys, another set's name for the same, a
word in it (`better_answer`). Where a row would be no comparison or no vote, by the contents, too:
two texts beside a prompt, and a column whose few values name one of two replies.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from annotate.importing.imported_row import Row
from annotate.importing.shapes.chats import PROMPTS
from annotate.importing.shapes.column_mapping import (
    ABOUT,
    ASKING,
    JUDGING,
    NAMING,
    OTHERS,
    PEOPLE,
    REPLYING,
    WISHED,
    WORD,
    distance,
    letters,
    parted,
    said_of,
    same_letters,
    words_of,
)
from annotate.importing.shapes.columns import decoded
from annotate.importing.shapes.two_named_replies import SIDES, told_apart
from annotate.importing.shapes.winners_and_votes import CHOSEN, RATERS, choice_of

CROWD = re.compile(r"^(?:input|assignment)[.:]", re.IGNORECASE)
"""Put before the names of columns by Mechanical Turk and Toloka."""
FAR = 99
SHORT = 6
"""Names of up to so many letters may differ in one; longer ones in two."""
FEW_WORDS = 3
"""Values of at least so many words, on average, are texts; others are names or categories."""
SEVERAL = 4
OFTEN = 8
"""Values that come more often are categories; texts come a few times where several people judge."""

CHATS = ("messages", "conversations", "conversation", "data", "fields", "info", "i_chosen")
"""Columns that hold a prompt inside."""
TEXTS = ("chosen", "rejected", "completion_a", "completion_b", "completion", "completions")
ENDS = {"chosen", "rejected"}
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
MEANT = {letters(name) for name in MEANING}
ALWAYS = ("winner", "rater")
"""Fields of which a judged pair has one at most, whatever it is called."""
NUMBERED = (0, 1, 2, "0", "1", "2")


class Question(NamedTuple):
    """A column that may be a field, and why."""

    column: str
    field: str
    why: str


def asked_of(
    row: Row | None,
    named: Mapping[str, str],
    left: Collection[str],
    values: Mapping[str, Any],
    samples: Iterable[Any],
) -> Iterator[Question]:
    """Questions about the columns of a row that nothing read, which are `left`.

    `named` are all of its columns, with their names in the file. `row` is what became of it: None
    where it was refused for want of a column.
    """
    columns, samples = list(named), list(samples)
    missing = _missing(row, set(columns) - set(left))
    by_name = [x for column in left if (x := _by_name(column, missing, row))]
    has_ends = {one.field for one in by_name} >= ENDS
    asked = [x for x in by_name if (has_ends and x.field in ENDS) or _may_be(x, values, samples)]
    taken = {one.column for one in asked}
    rest = [one for one in left if one not in taken]
    fields = missing - {one.field for one in asked}
    if _is_bare(row):
        replied = {one.field for one in asked} | set(columns) & {*TEXTS}
        if not replied & {*TEXTS}:
            asked += _replies(rest, "prompt" in fields, values, samples)
            if not {one.field for one in asked} & {*TEXTS} and "completion" in fields:
                asked += _one_reply(rest, values, samples)
        elif replied & ENDS != ENDS:
            asked += _other_end(rest, *(ENDS - replied))
        if row is None and "prompt" in fields and "prompt" not in columns and (asked or replied):
            asked += _prompt(rest, asked, values, samples)
    replies = [one.column for one in asked if one.field in ("completion_a", "completion_b")]
    if row is not None and row.comparisons and not asked:
        replies = _of_replies(row, [one for one in columns if one not in left], values)
    rest = [one for one in rest if one not in {question.column for question in asked}]
    if "winner" in fields and len(replies) > 1:
        both = [(one, named.get(one, one)) for one in replies]
        asked += _winners(rest, both, values, samples)
    if "rater" in fields:
        rest = [one for one in rest if one not in {question.column for question in asked}]
        asked += _raters(rest, values, samples)
    yield from asked


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
            means = f"often is `{field}`" if column != field else "is the name of a field"
            why = f"`{column}` {means}"
        elif (short := CROWD.sub("", column)) != column and letters(short) == letters(name):
            far = 1 if telling or name == field else FAR
            why = f"`{column}` ends in `{name}`"
        elif same_letters(column, name):
            far = 1 if telling or name == field else FAR
            why = f"`{column}` is `{name}` in other letters"
        else:
            near = name == field or field in ALWAYS or (telling and _is_long(name, field))
            far = 1 + slips(column, name) if near else FAR
            why = f"`{column}` looks like `{name}`"
        if far < best:
            best, question = far, Question(column, field, why)
    return question


def _is_long(name: str, field: str) -> bool:
    """True of another set's name that is long enough to be known with a slip in it."""
    if field in ("completion_a", "completion_b"):
        return len(parted(name)[0]) >= SHORT
    return len(name) > SHORT and field != "completions"  # `answer` is no slip of `answers`


def _may_be(question: Question, values: Mapping[str, Any], samples: list[Any]) -> bool:
    """False where what stands in the column cannot be the field that its name is near to."""
    column, field = question.column, question.field
    if field in ("completion_a", "completion_b"):
        return True
    if field in TEXTS:
        return not _is_no_reply(column, values, samples)
    if field == "winner" and column not in SPELLED:
        return not _holds_texts(column, values, samples)
    if field == "votes":
        return isinstance(decoded(values.get(column)), dict | list)
    return True


def slips(column: str, name: str) -> int:
    """Slips of the keys between two names that have the same number or side; FAR if too many.

    A name that means something by itself, or has other words in it (`n_votes`), is no slip.
    """
    stem, end = parted(column)
    other, its_end = parted(name)
    if end != its_end or not stem or column in MEANING or stem in MEANT:
        return FAR
    if column.islower() and len(WORD.findall(column)) > len(WORD.findall(name)):
        return FAR
    most = 1 if min(len(stem), len(other)) <= SHORT else 2
    far = distance(stem, other, most)
    return far if 0 < far <= most else FAR


def _replies(
    columns: Collection[str], asks_prompt: bool, values: Mapping[str, Any], samples: list[Any]
) -> list[Question]:
    """The columns that likely are two replies, by words in their names or as texts."""
    for column in columns:
        value = values.get(column)
        if isinstance(value, list) and len(value) > 1 and all(map(_is_text, value)):
            return [Question(column, "completions", f"`{column}` holds {len(value)} texts")]
    better, worse = (
        [one for one in columns if said_of(one) == field and isinstance(values.get(one), str)]
        for field in ("chosen", "rejected")
    )
    if len(better) == len(worse) == 1:
        why = f"`{better[0]}` and `{worse[0]}` are named as a better and a worse reply"
        return [Question(better[0], "chosen", why), Question(worse[0], "rejected", why)]
    likely = [one for one in columns if not WISHED & words_of(one)]
    texts = [one for one in likely if _holds_texts(one, values, samples)]
    ends = _two_sides(texts, asks_prompt)
    if not ends:
        return []
    beside = "" if asks_prompt else " beside the prompt"
    why = f"`{ends[0]}` and `{ends[1]}` hold a text each{beside}"
    return [Question(ends[0], "completion_a", why), Question(ends[1], "completion_b", why)]


def _one_reply(
    columns: Collection[str], values: Mapping[str, Any], samples: list[Any]
) -> list[Question]:
    """The one text that is named as a reply, and not as what it should have been."""
    named = [
        one for one in columns if REPLYING & words_of(one) and not (WISHED | ABOUT) & words_of(one)
    ]
    texts = [one for one in named if _holds_texts(one, values, samples)]
    why = "`{}` is a text that is named as a reply"
    return [Question(one, "completion", why.format(one)) for one in texts if len(texts) == 1]


def _prompt(
    columns: Collection[str],
    asked: Collection[Question],
    values: Mapping[str, Any],
    samples: list[Any],
) -> list[Question]:
    """The text beside two replies that likely is their prompt."""
    taken = {*TEXTS, *(one.column for one in asked)}
    left = [x for x in columns if x not in taken and _holds_texts(x, values, samples)]
    named = [one for one in left if ASKING & words_of(one)]
    return [Question(x, "prompt", f"`{x}` is a text beside replies") for x in (named or left)[:1]]


def _other_end(columns: Collection[str], *fields: str) -> list[Question]:
    """The column named as the worse reply where the better one is known, or turned round."""
    if len(fields) != 1:
        return []
    [field] = fields
    names = [name for name, its in SPELLED.items() if its == field]
    named = [
        column
        for column in columns
        if said_of(column) == field or any(slips(column, name) < FAR for name in names)
    ]
    why = f"`{{}}` is named as the {'better' if field == 'chosen' else 'worse'} reply"
    return [Question(one, field, why.format(one)) for one in named] if len(named) == 1 else []


def _two_sides(texts: list[str], asks_prompt: bool) -> tuple[str, ...]:
    """The two columns of replies among columns of texts; empty where it could be others."""
    for stem, end in map(parted, texts):
        ended = [one for one in texts if end and parted(one)[0] == stem]
        if len(ended) == 2:
            return tuple(ended)
    asking = [one for one in texts if ASKING & words_of(one)] or texts[:1]
    replies = [one for one in texts if one != asking[0]] if asks_prompt and texts else texts
    return tuple(replies) if len(replies) == 2 else ()


def _of_replies(row: Row, used: list[str], values: Mapping[str, Any]) -> list[str]:
    """The columns that a row's replies were read from, then the others that were used."""
    texts = [reply.text for reply in row.replies]
    return sorted(used, key=lambda one: values.get(one) not in texts)


def _winners(
    columns: Collection[str],
    replies: list[tuple[str, str]],
    values: Mapping[str, Any],
    samples: list[Any],
) -> list[Question]:
    """The column whose few values name one of two replies: by side, or by the replies' columns.

    These have a name of ours and one of the file.
    """
    apart = set(told_apart(replies[0][1], replies[1][1])) - {""}
    sides = {_plain(one) for names in replies for one in names} | apart
    judging = [one for one in columns if not OTHERS & words_of(one)]
    for column in sorted(judging, key=lambda one: not JUDGING & words_of(one)):
        seen = {x for x in _seen(column, values, samples) if x != ""}
        named = sum(_plain(x) in sides or choice_of(x) is not None for x in seen)
        # Rows with another value, such as a word for a tie in another language, are refused.
        but_one = apart and named == len(seen) - 1 and apart <= {_plain(x) for x in seen}
        counted = len(seen) > 1 and bool(JUDGING & words_of(column)) and seen <= {*NUMBERED}
        if 0 < len(seen) <= SEVERAL and (named == len(seen) or counted or but_one):
            told = " and ".join(f"“{str(x)[:20]}”" for x in sorted(seen, key=str)[:2])
            return [Question(column, "winner", f"`{column}` says {told}, as of two replies")]
    return []


def _raters(
    columns: Collection[str], values: Mapping[str, Any], samples: list[Any]
) -> list[Question]:
    """The one column that is named after who judged: `annotator_name`, `Labeler Email`."""
    named = [x for x in columns if (said := words_of(x)) & PEOPLE and said <= {*PEOPLE, *NAMING}]
    named = [x for x in named if not {"user"} >= words_of(x) and any(_seen(x, values, samples))]
    why = "`{}` is named after who judged"
    return [Question(one, "rater", why.format(one)) for one in named if len(named) == 1]


def _seen(column: str, values: Mapping[str, Any], samples: list[Any]) -> list[Any]:
    """The values of a column in the sample, if they are words or numbers; else none."""
    seen = [x for x in (values.get(column), *(s.get(column) for s in samples)) if x is not None]
    return seen if all(isinstance(x, str | int) for x in seen) else []


def _plain(value: Any) -> str:
    return letters(str(value))


def _is_no_reply(column: str, values: Mapping[str, Any], samples: list[Any]) -> bool:
    """True of numbers, and of words that name a side: `better: A` is no text of a reply."""
    seen = [x for x in (values.get(column), *(s.get(column) for s in samples)) if x is not None]
    return all(isinstance(x, int | float) or choice_of(x) is not None for x in seen)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= FEW_WORDS


def _holds_texts(column: str, values: Mapping[str, Any], samples: list[Any]) -> bool:
    seen = [x for x in (values.get(column), *(s.get(column) for s in samples)) if x is not None]
    if not seen or not all(isinstance(x, str) for x in seen):
        return False
    if len(set(seen)) * OFTEN < len(seen):
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
