"""Exports of annotation tools: Label Studio, Argilla, Potato, Prodigy.

Each holds a text or a prompt, two or more replies, and what named people said of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, zip_longest
from typing import Any, NamedTuple

from annotate.importing.imported_row import Choice, Comparison, Judgement, Reply, Row
from annotate.importing.limits import MAX_COMPLETIONS
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import (
    Cells,
    built,
    decoded,
    is_objects,
    list_of,
    moment,
    number,
    object_of,
    objects_of,
)
from annotate.importing.shapes.two_named_replies import choice_in, sides_in, two_replies
from annotate.importing.shapes.winners_and_votes import (
    annotator,
    choice_of,
    compared,
    numbered,
    plain,
)
from annotate.models.content import Messages

BODIES = ("body", "text", "html", "title")
"""Keys of the text of an item that Label Studio's List and Ranker show."""
SUBMITTED = ("submitted", None, "completed")
ANSWERED = ("accept", None)
COLUMNS_OF_TASK = ("annotator", "annotation_id", "lead_time", "created_at", "updated_at")
"""Columns of Label Studio's flat exports that are about the annotation."""


class Shown(NamedTuple):
    """A prompt and the two replies, or one, or none, that a tool showed."""

    messages: Messages
    replies: list[Reply]
    names: tuple[str, str]


def _shown(cells: Cells) -> Shown:
    names = sides_in(cells)
    if names is not None:
        messages = chats.prompt_in(cells)
        return Shown(messages, list(two_replies(cells, names)), names)
    given = decoded(cells.get("responses"))
    if isinstance(given, list) and len(given) == 2:
        messages = chats.prompt_in(cells)
        cells.pop("responses")
        names = ("responses[0]", "responses[1]")
        return Shown(messages, [chats.reply(x, "responses", cells) for x in given], names)
    name = next((one for one in ("response", "completion", "answer") if one in cells), "")
    messages = chats.prompt_in(cells)
    replies = [chats.reply(cells.pop(name), name, cells)] if name else []
    return Shown(messages, replies, (name, ""))


def _row(cells: Cells, shown: Shown, judged: list[Judgement], source_id: Any) -> Row:
    if len(shown.replies) != 2:
        if judged:
            raise Refused("", "there are judgements, but not two replies that they compare")
        return built(cells, shown.messages, shown.replies)
    sides = (shown.replies[0], shown.replies[1])
    return compared(cells, shown.messages, sides, shown.names, judged, source_id=source_id)


def label_studio(cells: Cells) -> Row:
    """Label Studio, JSON: a task with its data and its annotations."""
    data = cells.inside(object_of(cells.required("data"), "data"))
    if items := _items(data):
        return _ranked_items(cells, data, items)
    shown = _shown(data)
    given = objects_of(cells.take("annotations", "completions"), "annotations")
    judged: list[Judgement] = []
    cancelled, undecided = [], []
    for one in given:
        if one.get("was_cancelled"):
            cancelled.append(one)
            continue
        votes = list(_annotation(cells.inside(one), shown))
        judged += votes
        undecided += [] if votes else [one]
    more = {"data": data.rest(), "annotations": undecided, "cancelled annotations": cancelled}
    cells.update({name: value for name, value in more.items() if value})
    return _row(cells, shown, judged, cells.get("id", ""))


def _items(data: Cells) -> str:
    """The column with the items of a Ranker; empty of a task without one."""
    if sides_in(data) is not None:
        return ""
    return next(
        (
            name
            for name, given in data.items()
            if is_objects(given)
            and all("id" in x and x.keys() & {*BODIES} for x in given)
            and not any(x.keys() & {"role", "from", "author"} for x in given)  # a chat
        ),
        "",
    )


def _ranked_items(cells: Cells, data: Cells, name: str) -> Row:
    """A task whose items people put in order: every two of them are compared by each person."""
    items = [cells.inside(one) for one in objects_of(data.pop(name), name)]
    if len(items) > MAX_COMPLETIONS:
        raise Refused(name, f"at most {MAX_COMPLETIONS} items are read")
    ids = [str(one.take("id")) for one in items]
    messages = chats.prompt_in(data)
    replies = [chats.reply(one.take(*BODIES), name, cells, metadata=one.rest()) for one in items]
    votes: dict[tuple[int, int], list[Judgement]] = {}
    left = []
    for one in objects_of(cells.take("annotations", "completions"), "annotations"):
        results = objects_of(one.get("result"), "result")
        ranks, other = ({}, []) if one.get("was_cancelled") else _order(results, ids)
        left += [] if ranks else [one]
        for first, second in combinations(sorted(ranks), 2):
            about = cells.inside(one)
            about["result"] = other or None
            who = about.take("completed_by", "completed_by_id")
            rater = who.get("email", who.get("id", "")) if isinstance(who, dict) else who
            choice: Choice = "a" if ranks[first] < ranks[second] else "b"
            votes.setdefault((first, second), []).append(_vote(about, choice, rater))
    more = {"data": data.rest(), "annotations": left}
    cells.update({name: value for name, value in more.items() if value})
    compared = [Comparison(a, b, judged) for (a, b), judged in votes.items()]
    return built(cells, messages, replies, compared)


def _order(
    results: Sequence[dict[str, Any]], ids: Sequence[str]
) -> tuple[dict[int, int], list[dict[str, Any]]]:
    """Place of an item -> its rank, of those that one list of a Ranker puts in order; and the
    results that say more than that."""
    for at, result in enumerate(results):
        ranker = object_of(result.get("value") or {}, "result").get("ranker")
        lists = list(ranker.values()) if isinstance(ranker, dict) else []
        for listed in (list_of(one, "result") for one in lists):
            places = [ids.index(str(x)) for x in listed if str(x) in ids]
            if len(places) > 1:
                other = [*results[:at], *results[at + 1 :]]
                more = len(lists) > 1 or len(places) < len(listed)
                ranks = {place: rank for rank, place in enumerate(places)}
                return ranks, [result, *other] if more else other
    return {}, list(results)


def _annotation(about: Cells, shown: Shown) -> Iterator[Judgement]:
    """The vote of one annotation, with what else was filled in on its form."""
    choice: Choice | None = None
    comments, criteria, other = [], {}, []
    for result in objects_of(about.take("result"), "result"):
        value = object_of(result.get("value") or {}, "result")
        name = str(result.get("from_name", ""))
        said = choice_of(value.get("selected"))
        if said is None:
            said = choice_in(value.get("choices"), shown.names, _two(shown))
        if said is not None and choice is None:
            choice = said
        elif said in ("a", "b", "tie"):
            criteria[name[:80]] = str(said)
        elif isinstance(value.get("text"), str | list):
            lines = value["text"] if isinstance(value["text"], list) else [value["text"]]
            comments += [str(line) for line in lines]
        else:
            other.append(result)
    who = about.take("completed_by", "completed_by_id")
    rater = who.get("email", who.get("id", "")) if isinstance(who, dict) else who
    if other:
        about["result"] = other
    if choice is not None:
        yield _vote(about, choice, rater, "\n".join(comments), criteria)


def _two(shown: Shown) -> tuple[Reply, Reply]:
    if len(shown.replies) == 2:
        return shown.replies[0], shown.replies[1]
    return Reply(""), Reply("")


def _vote(
    about: Cells, choice: Choice, rater: Any, comment: str = "", criteria: Mapping[str, str] = {}
) -> Judgement:
    """A vote with its time, and the seconds that it took."""
    seconds = number(about.get("lead_time"))
    if seconds is not None:
        del about["lead_time"]
    timed = next((name for name in ("created_at", "updated_at") if moment(about.get(name))), "")
    return Judgement(
        choice,
        annotator(str(rater), "annotator") if rater not in (None, "") else "",
        at=moment(about.pop(timed)) if timed else None,
        wall_ms=None if seconds is None else round(seconds * 1000),
        comment=comment,
        criteria=criteria,
        metadata=about.rest(),
    )


def label_studio_flat(cells: Cells) -> Row:
    """Label Studio, JSON-MIN and CSV: a row per annotation, its answer under the control's name."""
    about = cells.inside({n: cells.pop(n) for n in COLUMNS_OF_TASK if n in cells})
    shown = _shown(cells)
    judged: list[Judgement] = []
    for name in list(cells):
        value = decoded(cells[name])
        said = choice_of(value) if not isinstance(value, dict) or "selected" in value else None
        if said is None and name != "id" and number(value) is None:
            said = choice_in(value, shown.names, _two(shown))
        if said is not None:
            del cells[name]
            judged = [_vote(about, said, about.take("annotator"))]
            break
    else:
        cells.update(about)
    return _row(cells, shown, judged, cells.get("id", ""))


def argilla_records(cells: Cells) -> Row:
    """Argilla's records: fields, and responses by question (v2) or by person (v1)."""
    fields = cells.inside(object_of(cells.required("fields"), "fields"))
    shown = _shown(fields)
    given = decoded(cells.take("responses"))
    answers: dict[str, dict[str, Any]] = {}
    for who, question, value in _answers(given, cells):
        answers.setdefault(who, {})[question] = value
    if rest := fields.rest():
        cells["fields"] = rest
    return _row(cells, shown, _judged(answers, shown, cells), cells.get("id", ""))


def _answers(given: Any, cells: Cells) -> Iterator[tuple[str, str, Any]]:
    """(person, question, value) of every answer that was submitted."""
    if isinstance(given, dict):
        for question, answers in given.items():
            for one in objects_of(answers, "responses"):
                if _counts(one, cells):
                    yield str(one.get("user_id") or ""), question, one.get("value")
        return
    for one in objects_of(given, "responses"):
        if _counts(one, cells):
            said = one.get("values") or one.get("data") or {}  # Surge writes `data`.
            for question, value in object_of(said, "responses").items():
                value = value.get("value") if isinstance(value, dict) else value
                yield str(one.get("user_id") or one.get("worker_id") or ""), question, value


def _counts(one: dict[str, Any], cells: Cells) -> bool:
    if one.get("status") in SUBMITTED:
        return True
    cells.warn("responses", f"a response that is {one.get('status')} was left out")
    return False


def argilla_flat(cells: Cells) -> Row:
    """Argilla's flat records (v2) and the tables of its older data sets (v1)."""
    answers: dict[str, dict[str, Any]] = {}
    for column in [name for name in cells if name.endswith(".responses")]:
        question = column.removesuffix(".responses")
        values = list_of(cells.pop(column), column)
        users = list_of(cells.pop(f"{column}.users", None), column)
        states = list_of(cells.pop(f"{column}.status", None), column)
        for value, user, state in zip_longest(values, users, states):
            if _counts({"status": state}, cells):
                answers.setdefault(str(user or ""), {})[question] = value
    for column in [name for name in cells if _is_answers(cells[name])]:
        given = decoded(cells.pop(column))
        for who, question, value in _answers({column: given}, cells):
            answers.setdefault(who, {})[question] = value
    shown = _shown(cells)
    return _row(cells, shown, _judged(answers, shown, cells), cells.get("id", ""))


def _is_answers(value: Any) -> bool:
    value = decoded(value)
    return is_objects(value) and {"user_id", "value"} <= value[0].keys()


def is_argilla_flat(cells: Cells) -> bool:
    return any(
        name.endswith((".responses", "-suggestion")) or _is_answers(value)
        for name, value in cells.items()
        if isinstance(value, str | list)
    )


def _judged(answers: dict[str, dict[str, Any]], shown: Shown, cells: Cells) -> list[Judgement]:
    """Each person's vote: the first question that says which reply is better."""
    judged, other = [], {}
    for who, said in answers.items():
        choices = {question: _preferred(value, shown) for question, value in said.items()}
        main = next((question for question, choice in choices.items() if choice), None)
        if main is None:
            other[who] = said
            continue
        more = {question: value for question, value in said.items() if question != main}
        comment = "\n".join(value for value in more.values() if isinstance(value, str))
        kept = {question: value for question, value in more.items() if not isinstance(value, str)}
        choice = choices[main]
        assert choice, "main is a question with a choice"
        judged.append(
            Judgement(choice, annotator(who) if who else "", comment=comment, metadata=kept)
        )
    if other:
        cells["answers"] = other
    return judged


def _preferred(value: Any, shown: Shown) -> Choice | None:
    """A choice by a label, a number, or a ranking of the fields."""
    if is_objects(value) and all({"value", "rank"} <= one.keys() for one in value):
        ranks = {plain(one["value"]): number(one["rank"]) for one in value}
        first, second = (ranks.get(plain(name)) for name in shown.names)
        if first is None or second is None:
            return None
        return "tie" if first == second else "a" if first < second else "b"
    if number(value) is not None:
        return numbered(value, 1)
    return choice_in(value, shown.names, _two(shown))


def potato_votes(given: list[dict[str, Any]], item: dict[str, Any]) -> Row:
    """One item of Potato's input file with what people said of it."""
    cells = Cells(item)
    shown = _shown(cells)
    judged, undecided = [], []
    for one in given:
        about = Cells(one)
        labels = object_of(about.take("label_annotations") or {}, "label_annotations")
        choices = {name: _potato_choice(value, shown) for name, value in labels.items()}
        main = next((name for name, choice in choices.items() if choice), None)
        if main is None:
            undecided.append(one)
            continue
        choice = choices[main]
        assert choice, "main is a scheme with a choice"
        other = {name: value for name, value in labels.items() if name != main}
        if choice_of(labels[main]) is None:
            other[main] = labels[main]  # Its number is more than the choice.
        who = about.take("user_id", "user", "annotator", "username")
        about.pop("instance_id", None)
        about["label_annotations"] = other or None
        judged.append(_vote(about, choice, who))
    if undecided:
        cells["annotations"] = undecided
    return _row(cells, shown, judged, item.get("id", ""))


def _potato_choice(value: Any, shown: Shown) -> Choice | None:
    if isinstance(value, dict) and (said := number(value.get("scale_value"))) is not None:
        return "tie" if not said else "a" if said < 0 else "b"
    if isinstance(value, dict) and "selection" not in value:
        picked = [name for name, mark in value.items() if mark not in (False, "0", "false", None)]
        value = picked[0] if len(picked) == 1 else None
    return choice_of(value) or choice_in(value, shown.names, _two(shown))


def prodigy(cells: Cells) -> Row:
    """Prodigy: options under a text, those that were accepted, and who did."""
    options = objects_of(cells.required("options"), "options")
    messages = chats.prompt_in(cells, "prompt" if "prompt" in cells else "text")
    replies, ids, other = [], [], []
    for option in options:
        about = cells.inside(option)
        if choice_of(about.get("id")) in ("tie", "both_bad"):
            other.append(about["id"])
            continue
        ids.append(about.take("id"))
        replies.append(chats.reply(about.required("text"), "options", cells, metadata=about.rest()))
    picked = decoded(cells.take("accept"))
    picked = [picked] if isinstance(picked, str | int) else list_of(picked, "accept")
    who = cells.take("_annotator_id", "_session_id") or ""
    at = moment(cells.get("_timestamp"))
    if at is not None:
        del cells["_timestamp"]
    shown = Shown(messages, replies, ("options", "options"))
    judged = []
    if cells.get("answer") in ANSWERED and len(replies) == 2 and picked:
        both = all(one in picked for one in ids)
        tied = next((choice_of(one) for one in picked if one in other), None)
        choice: Choice = "tie" if both else tied or ("a" if picked[0] == ids[0] else "b")
        judged = [Judgement(choice, annotator(str(who)) if who else "", at=at)]
    elif picked or who:
        cells.update({"accept": picked, "_annotator_id": who})
    return _row(cells, shown, judged, "")
