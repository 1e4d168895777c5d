"""Our own pair rows, long tables with one row per vote, and any row with two named replies."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from annotate.importing.imported_row import Choice, Judgement, Reply, Row
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    about_sides,
    decoded,
    margin_of,
    name_of,
    number,
    object_of,
)
from annotate.importing.shapes.winners_and_votes import (
    CHOSEN,
    choice_of,
    compared,
    judgement,
    numbered,
    plain,
    rater_of,
    strict,
    votes,
)
from annotate.models.content import Messages

STEMS = (
    *("completion", "response", "answer", "output", "reply", "text", "option", "candidate"),
    *("summary", "generation", "model_output", "result", "translation"),
)
ENDS = (("_a", "_b"), ("_1", "_2"), ("1", "2"), (" 1", " 2"), ("-1", "-2"), ("_0", "_1"))
MORE_ENDS = (
    *(("A", "B"), ("_A", "_B"), (" A", " B"), (" a", " b"), ("-a", "-b"), ("a", "b")),
    *(("_left", "_right"), ("Left", "Right")),
)
NAME_WORD = re.compile(r"[^\W_]+")
CAPITALS = re.compile(r"([a-z0-9])([A-Z])")
OURS = [("completion_a", "completion_b"), ("response_a", "response_b")]
SIDES = OURS + [
    (stem + a, stem + b)
    for a, b in (*ENDS, *MORE_ENDS)
    for stem in STEMS
    if a.lower().strip("_- ") != "a" or stem not in ("completion", "response")
]
"""Names that two replies have. Those with 0 and 1 come after those with 1 and 2.

Ours in other letters (`completionA`) are near misses: somebody is asked.
"""
OF_VOTE = (
    *("vote_id", "strength", "left", "reasons", "comment", "criteria", "leased_at", "voted_at"),
    "criteria_asked",
    *("active_ms", "first_key_ms", "wall_ms", "input", "guideline_version", "stream"),
    *("propensity", "surplus", "simulated", "imported", "weight", "reliability", "revision"),
)
"""Columns of our export `votes` that are about the vote."""
ABOUT_VOTE = ("strength", "left", "reasons", "comment", "criteria", "criteria_asked")
FOLLOWS = ("prompt_id", "completion_a_id", "completion_b_id", "split")
"""Columns of that export that follow from the texts."""
NO_TEXTS = "this export of votes holds no texts: export the votes again, or the pairs"


def sides_in(cells: Cells) -> tuple[str, str] | None:
    """The names of the two replies of a row; None without."""
    return next((names for names in SIDES if names[0] in cells and names[1] in cells), None)


def has_sides(cells: Cells) -> bool:
    return sides_in(cells) is not None and any(name in cells for name in chats.PROMPTS)


def pair(cells: Cells) -> Row:
    """Our own pairs: two replies with votes, with one vote of a long table, or open."""
    names = OURS[1] if "response_a" in cells or "response_b" in cells else OURS[0]
    messages = chats.prompt_in(cells, "prompt")
    sides = two_replies(cells, names)
    if "votes" in cells or "votes" in cells.nulls:
        given = votes(cells)
    elif "outcome" in cells and "choice" not in cells:
        given = _outcome(cells)
    else:
        given = single_vote(cells, names, sides)
    return _compared(cells, messages, sides, names, given)


def two_sided(cells: Cells) -> Row:
    """Two replies under any of the names of SIDES, and the better one where a column says it."""
    names = sides_in(cells)
    assert names, "has_sides recognised the row"
    messages = chats.prompt_in(cells)
    sides = two_replies(cells, names)
    return _compared(cells, messages, sides, names, single_vote(cells, names, sides))


def export_of_votes(cells: Cells) -> Row:
    """Our export of votes, one row per vote, where it holds the texts."""
    if "completion_a" not in cells:
        raise Refused("completion_a", NO_TEXTS)
    messages = chats.prompt_in(cells, "prompt")
    first, second = (
        replace(reply, messages=turns or reply.messages, metadata=about or {})
        for reply, turns, about in zip(
            two_replies(cells, OURS[0]),
            [_turns(cells, f"messages_{side}") for side in "ab"],
            [decoded(cells.take(f"metadata_{side}")) for side in "ab"],
            strict=True,
        )
    )
    inside = Cells(object_of(cells.take("metadata") or {}, "metadata"))
    inside.update({name: cells.pop(name) for name in OF_VOTE if name in cells})
    cells["metadata"] = cells.take("pair_metadata")
    for name in FOLLOWS:
        cells.pop(name, None)
    rater = rater_of(cells)
    choice = strict(cells.required("choice"), rater or "the vote", cells, "choice")
    weight = number(inside.get("weight"))
    given = replace(judgement(inside, choice, rater), weight=weight)
    return _compared(cells, messages, (first, second), OURS[0], [given])


def _turns(cells: Cells, name: str) -> Messages | None:
    turns = cells.take(name)
    return None if turns is None else chats.chat(turns, name, cells)


def two_replies(cells: Cells, names: tuple[str, str]) -> tuple[Reply, Reply]:
    """The replies of two columns, with the models that wrote them."""
    first, second = (cells.required(name) for name in names)
    models = _models(cells, names)
    return (
        chats.reply(first, names[0], cells, models[0]),
        chats.reply(second, names[1], cells, models[1]),
    )


def _models(cells: Cells, names: tuple[str, str]) -> tuple[str, str]:
    """The models of two columns: model_a, generator_1, response_0_model and the like."""
    first, second = _model_columns(names)
    return _model(cells, first), _model(cells, second)


def _model(cells: Cells, columns: tuple[str, ...]) -> str:
    for name in columns:
        if name in cells:
            return name_of(cells.pop(name), name)
    return ""


@lru_cache
def _model_columns(names: tuple[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that name the model of the first reply, and those of the second one."""
    kinds = ("model", "generator", "policy", "model_name")
    forms = [*(f"{kind}_{{end}}" for kind in kinds), "{name}_model", "model{end}", "model {end}"]
    first, second = (
        tuple(form.format(name=name, end=name[-1].lower()) for form in forms) for name in names
    )
    return first, second


def single_vote(
    cells: Cells, names: tuple[str, str], sides: tuple[Reply, Reply]
) -> list[Judgement]:
    """The vote of a row that holds one, as a list; an empty one where no column says it."""
    if cells.keys().isdisjoint(CHOSEN):
        return []
    column = next((name for name in CHOSEN if cells.get(name, "") != ""), None)
    if column is None:
        return []
    own = tuple(cells.renamed.get(name, name) for name in names)
    choice = choice_in(cells[column], (*names, *own), sides)
    if choice is None:
        raise Refused(column, f"{str(cells[column])[:60]!r} does not say which reply is better")
    if isinstance(cells[column], str) and cells[column] in ("A", "B"):
        cells.notices.append((column, f'"{cells[column]}" is read as "{choice}"'))
    del cells[column]
    rater = rater_of(cells)
    inside = Cells({})
    # One row per vote: what else it says is the vote's. Else it is the pair's.
    for name in (*ABOUT_VOTE, "wall_ms", "voted_at"):
        if name in cells:
            inside[name] = cells.pop(name)
    if rater:
        for name in ("id", "time", "timestamp", "created_at", "at"):
            if name in cells:
                inside[name] = cells.pop(name)
    return [judgement(inside, choice, rater)]


def choice_in(value: Any, names: tuple[str, ...], sides: tuple[Reply, Reply]) -> Choice | None:
    """A choice by the names of the columns, of the models, by words, or by numbers.

    `names` are those of A and B by turns: ours, and those of the file.
    """
    of_a, of_b = set(map(plain, names[::2])), set(map(plain, names[1::2]))
    for first, second in zip(names[::2], names[1::2], strict=True):
        a, b = told_apart(first, second)
        if a and b:
            of_a.add(a)
            of_b.add(b)
    known: dict[str, Choice] = {
        **dict.fromkeys(of_a - of_b, "a"),
        **dict.fromkeys(of_b - of_a, "b"),
    }
    models: dict[str, Choice] = {plain(sides[0].model): "a", plain(sides[1].model): "b"}
    choice = choice_of(value, known | models if len(models) > 1 else known)
    if choice is not None or number(value) is None:
        return choice
    # In a table whose replies are 1 and 2, or a and b, 0 could be the first one or a tie.
    return numbered(value, 0 if names[0].endswith("0") else 1)


@lru_cache
def told_apart(first: str, second: str) -> tuple[str, str]:
    """The words of two columns' names that tell them apart: gpt and human of gpt_text, human_text.

    Plain; empty of a name that has none of its own.
    """
    words = [NAME_WORD.findall(CAPITALS.sub(r"\1 \2", name).lower()) for name in (first, second)]
    a, b = ("".join(one for one in own if one not in other) for own, other in (words, words[::-1]))
    return plain(a), plain(b)


def _outcome(cells: Cells) -> list[Judgement]:
    """Our side file of ties: the verdict on a pair that nobody won."""
    outcome = cells["outcome"]
    if outcome not in ("a", "b", "tie", "both_bad"):
        cells.warn("outcome", "no reply had a majority: imported as an open question")
        return []
    del cells["outcome"]
    return [Judgement(outcome)]


def _compared(
    cells: Cells,
    messages: Messages,
    sides: tuple[Reply, Reply],
    names: tuple[str, str],
    given: list[Judgement],
) -> Row:
    if not cells:
        return compared(cells, messages, sides, names, given)
    margin, source = margin_of(cells), source_of(cells)
    of_a, of_b = about_sides(cells, "a", "b")
    if of_a or of_b:
        sides = (replace(sides[0], metadata=of_a), replace(sides[1], metadata=of_b))
    return compared(cells, messages, sides, names, given, source_id=source, margin=margin)


def source_of(cells: Cells) -> str:
    """The source's own name of a pair, which stays among the metadata."""
    name = next((cells[one] for one in ("pair_id", "id", "idx") if one in cells), "")
    return str(name) if isinstance(name, str | int) else ""
