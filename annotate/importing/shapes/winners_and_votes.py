"""Judgements in every spelling, and two replies as a comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from annotate.importing.imported_row import Choice, Comparison, Judgement, Reply, Row
from annotate.importing.limits import MAX_VOTES
from annotate.importing.problems import Refused
from annotate.importing.shapes.columns import Cells, built, decoded, moment, number
from annotate.models.assignment import MAX_STRENGTH, CriteriaAsked
from annotate.models.content import Messages

CHOICES: tuple[Choice, ...] = ("a", "b", "tie", "both_bad")
RATERS = (
    *("rater", "annotator", "annotator_id", "user", "user_id", "worker", "worker_id", "judge"),
    *("labeler", "labeller", "rater_id", "judge_id", "username"),
)
"""Columns that name who judged, the clearest first."""
CHOSEN = ("choice", "winner", "vote", "preference", "preferred", "label", "verdict", "better")
"""Columns that say which of two replies is better, the clearest first."""
TIMES = ("voted_at", "at", "time", "timestamp", "created_at", "tstamp", "_timestamp")
WORDS: dict[str, Choice] = {
    **dict.fromkeys(("a", "left", "first", "modela", "responsea", "completiona", "answera"), "a"),
    **dict.fromkeys(("optiona", "sidea", "outputa", "aisbetter"), "a"),
    **dict.fromkeys(("b", "right", "second", "modelb", "responseb", "completionb"), "b"),
    **dict.fromkeys(("answerb", "optionb", "sideb", "outputb", "bisbetter"), "b"),
    **dict.fromkeys(("tie", "ties", "equal", "same", "draw", "c", "nopreference"), "tie"),
    **dict.fromkeys(("bothgood", "both", "tied", "equallygood", "nodifference"), "tie"),
    "equallybad": "both_bad",
    **dict.fromkeys(("bothbad", "tiebothbad", "bothbadtie", "neither", "bothrejected"), "both_bad"),
}
NO_WORD = re.compile(r"[^a-z0-9]+")


def plain(value: Any) -> str:
    """A word as it is compared: small letters and digits alone."""
    return NO_WORD.sub("", str(value).lower())


def choice_of(value: Any, sides: Mapping[str, Choice] = {}) -> Choice | None:
    """A choice from a word such as `left`, `model_b`, `tie (bothbad)`, or from a name of `sides`.

    `sides` maps plain words of this row, its models and columns, to what they mean.
    """
    if isinstance(value, Mapping):  # Label Studio, Potato: {"selected": "left"}
        value = next((value[k] for k in ("selected", "selection", "value") if k in value), None)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, list | Mapping):
        return None
    word = plain(value)
    return sides.get(word) or WORDS.get(word)


def strict(value: Any, who: str, cells: Cells, column: str = "votes") -> Choice:
    """A choice of our own format. Raises Refused; capitals are read, and said so."""
    if isinstance(value, str) and value in CHOICES:
        return value
    choice = value.lower() if isinstance(value, str) else value
    if choice not in CHOICES:
        raise Refused(column, f"{who[:40]}: a vote must be one of {', '.join(CHOICES)}")
    cells.notices.append((column, f'"{value}" is read as "{choice}"'))
    return next(one for one in CHOICES if one == choice)


def numbered(value: Any, first: int, tie: int | None = None) -> Choice | None:
    """A choice where replies have numbers: `first`, the next one, and perhaps one for a tie."""
    said = number(value)
    if said is None or isinstance(value, bool):
        return None
    if said == tie:
        return "tie"
    return "a" if said == first else "b" if said == first + 1 else None


def from_scale(value: Any, column: str) -> tuple[Choice, int]:
    """Choice and strength of a scale from -3 (the first is much better) to 3. Raises Refused."""
    said = number(value)
    if said is None or said != int(said) or abs(said) > MAX_STRENGTH:
        raise Refused(column, f"a whole number from -{MAX_STRENGTH} to {MAX_STRENGTH} is expected")
    return ("tie" if not said else "a" if said < 0 else "b"), int(abs(said))


def strength_of(value: Any, column: str = "strength") -> int | None:
    """A strength of 0 to 3; None without one. Raises Refused."""
    if value is None or value == "":
        return None
    said = number(value)
    if said is None or said != int(said) or not 0 <= said <= MAX_STRENGTH:
        raise Refused(column, f"a strength of 0 to {MAX_STRENGTH} is expected")
    return int(said)


def rater_of(cells: Cells) -> str:
    """Take the name of who judged; empty where the row names nobody."""
    if cells.keys().isdisjoint(RATERS):
        return ""
    for name in RATERS:
        value = cells.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return annotator(str(cells.pop(name)), name)
    return ""


def annotator(name: str, column: str = "votes") -> str:
    if not name.strip() or len(name) > 100:
        raise Refused(column, "an annotator's name must have 1 to 100 characters")
    return name


def judgement(cells: Cells, choice: Choice, rater: str, strength: int | None = None) -> Judgement:
    """A vote with what else an object says of it; what nothing reads becomes its metadata."""
    left: Literal["", "a", "b"] = ""
    if cells.get("left") in ("a", "b"):
        left = cells.pop("left")
    timed = next((name for name in TIMES if moment(cells.get(name))), None)
    at = moment(cells.pop(timed)) if timed else None
    wall = number(cells.get("wall_ms"))
    if wall is not None and 0 <= wall < 2**31:
        cells.pop("wall_ms")
    else:
        wall = None
    return Judgement(
        choice,
        rater,
        strength=strength_of(cells.pop("strength", None)) if strength is None else strength,
        left=left,
        at=at,
        wall_ms=None if wall is None else int(wall),
        criteria=_taken(cells, "criteria", lambda x: isinstance(x, dict) and _texts(x.values()))
        or {},
        criteria_asked=_taken(cells, "criteria_asked", lambda x: x in CriteriaAsked.values) or "",
        reasons=_taken(cells, "reasons", lambda x: isinstance(x, list) and _texts(x)) or [],
        comment=_taken(cells, "comment", lambda x: isinstance(x, str)) or "",
        metadata=cells.rest(),
    )


def _taken(cells: Cells, name: str, fits: Callable[[Any], bool]) -> Any:
    """Take a column whose value fits; None where it does not, and stays."""
    value = decoded(cells.get(name))
    if not fits(value):
        return None
    del cells[name]
    return value


def _texts(values: Iterable[Any]) -> bool:
    return all(isinstance(one, str) for one in values)


def votes(cells: Cells) -> list[Judgement]:
    """Take the column `votes` of our own rows. Raises Refused.

    An object of choices, or of objects with a choice, by annotator; or a list of objects that
    name their annotator.
    """
    value = decoded(cells.pop("votes", None)) or {}
    if isinstance(value, dict) and len(value) <= MAX_VOTES:
        return [_vote(one, annotator(str(name)), cells) for name, one in value.items()]
    if (
        not isinstance(value, list)
        or len(value) > MAX_VOTES
        or not all(isinstance(one, dict) for one in value)
    ):
        raise Refused(
            "votes",
            f"an object of at most {MAX_VOTES} votes by annotator, "
            "or a list of objects with annotator and choice, is expected",
        )
    inside = [cells.inside(one) for one in value]
    return [_vote(one, rater_of(one), cells) for one in inside]


def _vote(value: Any, rater: str, cells: Cells) -> Judgement:
    if not isinstance(value, dict):
        return Judgement(strict(value, rater, cells), rater)
    inside = value if isinstance(value, Cells) else cells.inside(value)
    choice = strict(inside.take(*CHOSEN), rater or "a vote", cells)
    return judgement(inside, choice, rater)


def compared(
    cells: Cells,
    messages: Messages,
    sides: tuple[Reply, Reply],
    names: Sequence[str],
    judgements: Sequence[Judgement],
    *,
    source_id: Any = "",
    margin: float | None = None,
) -> Row:
    """The row of two replies. Raises Refused where there is nothing to compare.

    Equal texts and an empty text are kept where people have already judged them (a model that
    says nothing can rightly win or lose); nobody is asked to compare with nothing.
    """
    first, second = sides
    if not judgements and first.text == second.text and first.messages == second.messages:
        raise Refused(names[1], f"identical to {names[0]}: there is nothing to compare")
    if not (first.text.strip() and second.text.strip()):
        for name, side in zip(names, sides, strict=True):
            if not side.text.strip():
                if not judgements:
                    raise Refused(name, "the completion is empty")
                cells.warn(name, "the completion is empty")
    if cells and _sums_up(cells):
        judgements = [replace(one, sums_up=True) for one in judgements]
    one = Comparison(0, 1, judgements, str(source_id), margin)
    return built(cells, messages, sides, [one])


def _sums_up(cells: Cells) -> bool:
    """True of our own exports of pairs: the judgement is what the pair's votes come to."""
    is_ours = "pair_id" in cells and "n_votes" in cells
    return is_ours and ("vote_fraction" in cells or "vote_fraction_a" in cells)


def better_first(
    cells: Cells,
    messages: Messages,
    sides: tuple[Reply, Reply],
    names: Sequence[str],
    vote: Judgement | None = None,
    *,
    side: str | None = None,
    source_id: str = "",
    margin: float | None = None,
) -> Row:
    """The row of a reply that was preferred to another, in this order.

    `side` is a or b where the source says on which the better one was.

    The better side must not always be A: agreement statistics and position checks would see a
    pattern that nobody produced. The order of the hashes is arbitrary but fixed.
    """
    chosen, rejected = sides
    if chosen.text == rejected.text and chosen.messages == rejected.messages:
        raise Refused(names[1], f"identical to {names[0]}: there is nothing to compare")
    flipped = side == "b" if side in ("a", "b") else chosen.sha256 > rejected.sha256
    choice: Choice = "b" if flipped else "a"
    if vote is None:
        vote = Judgement(choice)
    elif vote.choice != choice:
        vote = replace(vote, choice=choice)
    if flipped:
        sides, names = (rejected, chosen), (names[1], names[0])
    return compared(cells, messages, sides, names, [vote], source_id=source_id, margin=margin)


def by_rank(ranks: Sequence[float | None]) -> list[Comparison]:
    """Every two replies of different rank as a comparison that the lower rank wins."""
    return [
        Comparison(i, j, [Judgement("a" if rank < other else "b")])
        for i, rank in enumerate(ranks)
        for j, other in enumerate(ranks)
        if i < j and rank is not None and other is not None and rank != other
    ]
