"""Rows with any number of replies to one prompt: ranked, rated, compared two by two, or as drawn.

Our own completions, Nectar, UltraFeedback raw, fine-grained RLHF, Potato's items, TRL's steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from annotate.importing.imported_row import Comparison, Judgement, Rating, Reply, Row
from annotate.importing.limits import MAX_COMPLETIONS
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    built,
    decoded,
    is_objects,
    name_of,
    number,
    ratings,
    text,
)
from annotate.importing.shapes.two_named_replies import sides_in, source_of
from annotate.importing.shapes.winners_and_votes import CHOSEN, by_rank, numbered, rater_of
from annotate.models.content import Messages

TEXTS = ("text", "response", "answer", "completion", "content", "output", "generation")
"""Names of a reply's text inside an object."""
MODELS = ("model", "generator", "policy", "model_name")
ASPECTS = (
    *("helpfulness", "correctness", "coherence", "complexity", "verbosity", "score", "overall"),
    *("overall_score", "fine-grained_score", "accuracy", "coverage", "honesty", "truthfulness"),
    *("instruction_following", "rating", "reward", "quality", "toxicity", "humor", "creativity"),
    *("violence", "harmlessness", "safety"),
)
"""Numbers that rate one reply by itself."""
PREDICTION = re.compile(r"prediction \d+")
LISTS = {
    "models": "model",
    "model": "model",
    "ranks": "rank",
    "rank": "rank",
    "scores": "scores",
    "ratings": "rating",
}
"""Columns beside a list of replies that hold one value for each."""


def completions(cells: Cells) -> Row:
    """Our own rows of one or more completions; those with ranks are compared."""
    if "completion" in cells or "completion" in cells.nulls:
        return one_completion(cells)
    given = decoded(cells.required("completions"))
    if not isinstance(given, list) or not 0 < len(given) <= MAX_COMPLETIONS:
        raise Refused("completions", f"a list of 1 to {MAX_COMPLETIONS} completions is expected")
    messages = chats.prompt_in(cells)
    labels = decoded(cells.get("labels"))
    if isinstance(labels, list) and all(isinstance(x, bool) for x in labels):
        return _steps(cells, messages, given)
    return _listed(cells, messages, given, "completions")


def responses(cells: Cells) -> Row:
    """A list of replies; two are an open question, as Potato asks it."""
    given = decoded(cells.required("responses"))
    if not isinstance(given, list) or not 0 < len(given) <= MAX_COMPLETIONS:
        raise Refused("responses", f"a list of 1 to {MAX_COMPLETIONS} replies is expected")
    messages = chats.prompt_in(cells)
    row = _listed(cells, messages, given, "responses")
    if row.comparisons or len(given) != 2:
        return row
    if len(row.replies) != 2:
        raise Refused("responses", "the two replies are identical: there is nothing to compare")
    pair = Comparison(0, 1, source_id=source_of(Cells(row.metadata)))
    return Row(**{**row.__dict__, "comparisons": [pair]})


def numbered_names(cells: Cells) -> list[str]:
    """The columns of three replies or more: response_1, response_2, response_3; else none.

    Where a column says which of two is better, or the row has votes, it is a pair.
    """
    names = sides_in(cells)
    if names is None or not cells.keys().isdisjoint((*CHOSEN, "votes", "outcome")):
        return []
    stem, end = names[0][:-1], names[0][-1]
    more = [f"{stem}{chr(ord(end) + i)}" for i in range(2, 9)]
    more = [name for name in more if isinstance(cells.get(name), str)]
    return [*names, *more] if more else []


def several_named(cells: Cells) -> Row:
    """Three replies or more in a column each; ranks beside them compare them."""
    names = numbered_names(cells)
    messages = chats.prompt_in(cells)
    return _listed(cells, messages, [cells.pop(name) for name in names], names[0])


def nectar(cells: Cells) -> Row:
    """Nectar and the like: answers with a model and a rank, of which 1 is the best."""
    given = decoded(cells.required("answers"))
    return _listed(cells, chats.prompt_in(cells), given, "answers")


def ultra_feedback(cells: Cells) -> Row:
    """UltraFeedback raw: four completions with their models, ratings by aspect and critiques."""
    given = decoded(cells.required("completions"))
    messages = chats.prompt_in(cells, "instruction")
    cells.pop("models", None)  # The completions name theirs.
    return _listed(cells, messages, given, "completions")


def predictions(cells: Cells) -> Row:
    """Fine-grained RLHF: predictions by number, and a choice for every two of them in order."""
    names = [name for name in cells if PREDICTION.fullmatch(name)]
    replies = [chats.reply(cells.pop(name), name, cells) for name in names]
    couples = list(combinations(range(len(names)), 2))
    said = decoded(cells.required("preference"))
    if not isinstance(said, list) or len(said) != len(couples):
        raise Refused("preference", f"a list of {len(couples)} choices is expected")
    compared = []
    for (i, j), one in zip(couples, said, strict=True):
        choice = numbered(one, 1, tie=0)
        if choice is None:
            raise Refused("preference", "0 (no preference), 1 or 2 is expected")
        compared.append(Comparison(i, j, [Judgement(choice)]))
    gold = cells.get("gold")
    if isinstance(gold, str):
        del cells["gold"]
    messages = chats.prompt_in(cells, "question")
    return built(cells, messages, replies, compared, gold if isinstance(gold, str) else "")


def one_completion(cells: Cells, name: str = "completion", *names: str) -> Row:
    """One reply: with a label it is unpaired feedback, with numbers it is rated."""
    value = cells.required(name)
    messages = chats.prompt_in(cells, *names)
    model = name_of(cells.take(*MODELS), "model")
    reply = chats.reply(value, name, cells, model, ratings=rated(cells))
    if not reply.text.strip():
        raise Refused(name, "the completion is empty")
    return built(cells, messages, [reply])


def rated(cells: Cells) -> list[Rating]:
    """The ratings of a row's one reply: a label of good or bad, and numbers by aspect."""
    said = []
    rater = rater_of(cells)
    column = next((one for one in ("label", "kto_tag") if one in cells), "")
    if column:
        label = label_of(cells[column])
        if label is None:
            cells.warn(column, "neither true nor false: it was kept as metadata")
        else:
            del cells[column]
            said.append(Rating("label", label, rater))
    said += ratings(cells, ASPECTS, rater)
    scores = decoded(cells.get("scores"))
    if isinstance(scores, dict) and all(number(x) is not None for x in scores.values()):
        del cells["scores"]
        said += [Rating(str(k)[:80], float(number(x) or 0), rater) for k, x in scores.items()]
    if rater and not said:
        cells["rater"] = rater
    return said


def label_of(value: Any) -> float | None:
    """1 for good and 0 for bad; None of what is neither."""
    if isinstance(value, str):
        value = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}.get(value.lower())
    return float(value) if value in (0, 1) else None


def _listed(cells: Cells, messages: Messages, given: Any, name: str) -> Row:
    """Replies of a list, with what lists beside it say of each; ranks compare them."""
    if not isinstance(given, list) or not 0 < len(given) <= MAX_COMPLETIONS:
        raise Refused(name, f"a list of 1 to {MAX_COMPLETIONS} replies is expected")
    beside = _beside(cells, len(given))
    model = name_of(cells.take("model"), "model")
    replies, ranks = [], []
    for place, value in enumerate(given):
        inside = cells.inside(value) if _is_object(value) else cells.inside({"text": value})
        inside.update({key: one[place] for key, one in beside.items() if key not in inside})
        ranks.append(number(inside.get("rank")))
        replies.append(_reply(cells, inside, name, model))
    for reply in replies:
        if not reply.text.strip() and not any(rank is not None for rank in ranks):
            raise Refused(name, "the completion is empty")
    compared = by_rank(ranks)
    if not compared:
        replies = _distinct(cells, replies, name)
    return built(cells, messages, replies, compared)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys() & {"role", "from"}


def _beside(cells: Cells, length: int) -> dict[str, list[Any]]:
    """Lists of the same length as the replies, by what they say of each."""
    beside = {}
    for column, key in LISTS.items():
        values = decoded(cells.get(column))
        if isinstance(values, list) and len(values) == length:
            del cells[column]
            beside[key] = ["" if one is None else one for one in values]
    return beside


def _reply(cells: Cells, inside: Cells, name: str, model: str) -> Reply:
    value = next((inside.pop(one) for one in TEXTS if one in inside), None)
    if value is None:
        raise Refused(name, "every reply needs a text")
    model = name_of(inside.take(*MODELS), "model") or model
    said = _aspects(inside)
    score = number(inside.get("scores"))
    if score is not None:
        del inside["scores"]
        said.append(Rating("score", score))
    said += rated(inside)
    return chats.reply(value, name, cells, model, ratings=said, metadata=inside.rest())


def _aspects(inside: Cells) -> list[Rating]:
    """UltraFeedback's annotations: a rating by aspect; what else they say stays."""
    given = inside.get("annotations")
    if not isinstance(given, dict):
        return []
    said, rest = [], {}
    for aspect, one in given.items():
        value = number(one.get("Rating")) if isinstance(one, dict) else None
        if value is not None:
            said.append(Rating(aspect[:80], value))
            one = {key: x for key, x in one.items() if key != "Rating"}
        if one:
            rest[aspect] = one
    inside["annotations"] = rest or None
    return said


def _distinct(cells: Cells, replies: Sequence[Reply], name: str) -> list[Reply]:
    """Without those that say the same by the same model."""
    kept = list({(one.sha256, one.model): one for one in reversed(replies)}.values())[::-1]
    if len({one.sha256 for one in replies}) < len(replies):
        cells.warn(name, "identical completions were joined")
    return kept


def _steps(cells: Cells, messages: Messages, given: list[Any]) -> Row:
    """TRL's stepwise supervision: the steps of one reply, and a label for each."""
    written = "\n".join(text(one, "completions") for one in given)
    about = {"steps": given, "labels": decoded(cells.pop("labels"))}
    return built(cells, messages, [Reply(written, metadata=about)])


def is_ranked(name: str) -> Any:
    """Recognises rows in which a column is a list of objects that hold texts."""

    def recognises(cells: Cells) -> bool:
        given = decoded(cells.get(name))
        return is_objects(given) and any(one in given[0] for one in TEXTS)

    return recognises
