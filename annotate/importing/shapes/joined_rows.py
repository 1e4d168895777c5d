"""Rows that only say something together: they wait on disk until the file is read.

Flat messages of OpenAssistant, Reddit's posts and comments, MQM's tables, Potato's two files, the
input and the output of a batch of calls.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from annotate.importing.imported_row import Choice, Comparison, Judgement, Rating, Reply, Row
from annotate.importing.limits import MAX_COMMENTS
from annotate.importing.problems import Refused
from annotate.importing.shapes import (
    annotation_tools,
    chats,
    ranked_and_rated_replies,
    single_chats_and_message_trees,
)
from annotate.importing.shapes.columns import (
    Cells,
    built,
    decoded,
    is_objects,
    name_of,
    number,
    text,
)
from annotate.importing.shapes.public_pair_datasets import by_score
from annotate.importing.shapes.winners_and_votes import annotator

TREE = ("message_tree_id", "tree_state")
GONE = ("[deleted]", "[removed]")
MQM_WEIGHTS = {"critical": 5.0, "major": 5.0, "minor": 1.0}
NON_TRANSLATION = 25.0
MINOR_PUNCTUATION = 0.1
SEGMENT = ("doc", "doc_id", "seg_id", "docSegId", "globalSegId", "lp", "domain")
"""Columns of MQM's tables that are the same in all rows of a segment."""
SEPARATOR = "\x1f"
Objects = list[dict[str, Any]]
Rows = Iterator[Row | Refused]


class Held:
    """Rows by group, in a temporary file of SQLite's own, so that memory stays constant."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE held (shape, name, row)")
        self._file.execute("BEGIN")

    def add(self, shape: str, name: str, row: dict[str, Any]) -> None:
        told = json.dumps(row, ensure_ascii=False, default=str)
        self._file.execute("INSERT INTO held VALUES (?, ?, ?)", (shape, name, told))

    def groups(self, shape: str) -> Iterator[Objects]:
        """The rows of each group, groups in the order in which they began."""
        self._file.execute("CREATE INDEX IF NOT EXISTS by_group ON held (shape, name)")
        names = self._file.execute(
            "SELECT name FROM held WHERE shape = ? GROUP BY name ORDER BY min(rowid)", (shape,)
        )
        for (name,) in names.fetchall():
            rows = self._file.execute(
                "SELECT row FROM held WHERE shape = ? AND name = ? ORDER BY rowid", (shape, name)
            )
            yield [json.loads(row) for (row,) in rows]


class Joined(NamedTuple):
    """A shape whose rows are held: the group of a row, and the rows of a whole group.

    `at_once` reads a row that says something by itself besides.
    """

    group: Callable[[Cells], str]
    read: Callable[[Objects], Rows]
    name: str
    used: frozenset[str]
    """Columns that `read` understands; the others become metadata."""
    at_once: Callable[[Cells], Row] | None = None


def _named(*columns: str) -> Callable[[Cells], str]:
    def group(cells: Cells) -> str:
        return SEPARATOR.join(str(cells.get(name, "")) for name in columns)

    return group


def is_messages(cells: Cells) -> bool:
    return {"message_id", "role", "text"} <= cells.keys()


def _trees(given: Objects) -> Rows:
    """The rows of one tree from its messages, joined by parent_id."""
    nodes = {str(one["message_id"]): {**one, "replies": []} for one in given}
    roots = []
    for node in nodes.values():
        parent = node.pop("parent_id", None)
        if parent is None:
            roots.append(node)
        elif str(parent) in nodes:
            nodes[str(parent)]["replies"].append(node)
        else:
            yield Refused("parent_id", f"no message {str(parent)[:60]} is in the file")
    for root in roots:
        about = {name: root.pop(name) for name in TREE if name in root}
        yield from single_chats_and_message_trees.tree(Cells({"prompt": root, **about}))


def is_reddit(cells: Cells) -> bool:
    return {"link_id", "body"} <= cells.keys() or {"title", "selftext"} <= cells.keys()


def _post(cells: Cells) -> str:
    """The id of the post, of its own row or of a comment's."""
    return str(cells.get("link_id", cells.get("id", ""))).removeprefix("t3_")


def _reddit(given: Objects) -> Rows:
    """A post and the comments right under it: every two of different score are a pair."""
    posts = [one for one in given if "selftext" in one]
    comments = [one for one in given if "body" in one]
    if not posts:
        yield Refused("link_id", "the post is not in the file: its file is needed beside this one")
        return
    cells = Cells(posts[0])
    body = cells.take("selftext")
    title = text(cells.required("title"), "title")
    asked = f"{title}\n\n{body}" if body and body not in GONE else title
    first = [one for one in comments if str(one.get("parent_id", "t3_")).startswith("t3_")]
    told = [one for one in first if one["body"] not in (*GONE, "", None)]
    told.sort(key=lambda one: -(number(one.get("score")) or 0))
    left_out = len(comments) - len(told[:MAX_COMMENTS])
    if left_out:
        cells.warn("body", f"{left_out} comments were left out: answers, deleted ones, the lowest")
    replies, scores = [], []
    for one in told[:MAX_COMMENTS]:
        about = Cells(one)
        score = number(about.pop("score", None))
        scores.append(score)
        said = [] if score is None else [Rating("score", score)]
        body = text(about.required("body"), "body")
        replies.append(Reply(body, ratings=said, metadata=about.rest()))
    yield built(cells, chats.prompt(asked, "title", cells), replies, _by_scores(scores))


def _by_scores(scores: list[float | None]) -> list[Comparison]:
    return [
        # The better comment is not always the first: see better_first.
        Comparison(*_sides(i, j), [Judgement(_sided(i, j, "a"))], margin=abs(high - low))
        for i, high in enumerate(scores)
        for j, low in enumerate(scores)
        if i < j and high is not None and low is not None and high != low
    ]


def _sides(i: int, j: int) -> tuple[int, int]:
    return (i, j) if (i + j) % 2 else (j, i)


def _sided(i: int, j: int, won: Choice) -> Choice:
    """The choice of i against j as the sides stand."""
    if (i + j) % 2 or won not in ("a", "b"):
        return won
    return "b" if won == "a" else "a"


def is_mqm(cells: Cells) -> bool:
    names = cells.keys()
    return {"system", "source", "target"} <= names and bool({"seg_id", "doc", "rater"} & names)


def _mqm(given: Objects) -> Rows:
    """One segment: what each system wrote, each rater's score of it, and whom each prefers.

    A score is minus the weights of the errors that the rater marked, as MQM sums them up.
    """
    cells = Cells({name: given[0][name] for name in SEGMENT if name in given[0]})
    messages = chats.prompt(given[0].get("source"), "source", cells)
    scores: dict[str, dict[str, float]] = {}
    errors: dict[str, Objects] = {}
    texts: dict[str, str] = {}
    for one in given:
        about = Cells(one)
        for name in (*SEGMENT, "source"):
            about.pop(name, None)
        system = name_of(str(about.take("system") or ""), "system")
        marked = text(about.required("target"), "target")
        texts.setdefault(system, marked.replace("<v>", "").replace("</v>", ""))
        rater = annotator(str(about.take("rater", "annotator") or "rater"), "rater")
        by_rater = scores.setdefault(system, {})
        by_rater[rater] = by_rater.get(rater, 0.0) - _weight(about)
        errors.setdefault(system, []).append({"rater": rater, "target": marked, **about.rest()})
    replies = [
        Reply(
            texts[system],
            system,
            ratings=[Rating("MQM", round(score, 6), who) for who, score in by_rater.items()],
            metadata={"errors": errors[system]},
        )
        for system, by_rater in scores.items()
    ]
    yield built(cells, messages, replies, _by_raters(list(scores.values())))


def _weight(about: Cells) -> float:
    """The weight of one error; a number in the column `score` counts as it is."""
    score = number(about.get("score"))
    if score is not None:
        return -score
    severity = str(about.get("severity", "")).lower()
    category = str(about.get("category", "")).lower()
    if "non-translation" in category:
        return NON_TRANSLATION
    if severity == "minor" and category.startswith("fluency/punctuation"):
        return MINOR_PUNCTUATION
    return MQM_WEIGHTS.get(severity, 0.0)


def _by_raters(scores: list[dict[str, float]]) -> list[Comparison]:
    """Every two systems that one rater scored, with the preference of each such rater."""
    compared = []
    for i, first in enumerate(scores):
        for j in range(i + 1, len(scores)):
            second = scores[j]
            judged = [
                Judgement(by_score(round(score, 6), round(second[who], 6)), who)
                for who, score in first.items()
                if who in second
            ]
            if judged:
                compared.append(Comparison(i, j, judged))
    return compared


def is_potato(cells: Cells) -> bool:
    return "label_annotations" in cells


def is_potato_item(cells: Cells) -> bool:
    return "responses" in cells and "id" in cells


def _potato(given: Objects) -> Rows:
    """An item and the annotations of it."""
    judged = [one for one in given if "label_annotations" in one]
    items = [one for one in given if "label_annotations" not in one]
    if judged and not items:
        name = str(judged[0].get("instance_id", judged[0].get("id")))[:60]
        yield Refused(
            "instance_id",
            f"the texts of {name!r} are not in the file: Potato's input file is needed beside it",
        )
    elif judged:
        yield annotation_tools.potato_votes(judged, items[0])


def _potato_group(cells: Cells) -> str:
    return str(cells.get("instance_id", cells.get("id", "")))


def post_with_comments(cells: Cells) -> Row:
    """A post of Reddit with its comments in a list."""
    comments = decoded(cells.required("comments"))
    if not is_objects(comments):
        raise Refused("comments", "a list of objects with body and score is expected")
    body = cells.take("selftext", "body", "text")
    post = {**cells, "selftext": body or ""}
    cells.clear()
    row = next(_reddit([post, *({"parent_id": "t3_", **one} for one in comments)]))
    if isinstance(row, Refused):
        raise row
    return row


def is_batch(cells: Cells) -> bool:
    """True of a line of a batch, as OpenAI and Anthropic take and give it."""
    return "custom_id" in cells and bool(
        cells.keys() & {"body", "params", "response", "result", "error"}
    )


def _batch(given: Objects) -> Rows:
    """One call of a batch: its line of the input file, and those of the output."""
    asked = [Cells(one) for one in given if one.keys() & {"body", "params"}]
    answered = [Cells(one) for one in given if not one.keys() & {"body", "params"}]
    name = str(given[0]["custom_id"])[:60]
    if not asked:
        yield Refused(
            "custom_id",
            f"what {name!r} asks is not in the file: the batch's input is needed beside its output",
        )
        return
    cells = asked[0]
    messages = single_chats_and_message_trees.asked_in(
        cells, "body" if "body" in cells else "params"
    )
    replies: list[Reply] = []
    for one in answered:
        one.pop("custom_id", None)
        column = "response" if "response" in one else "result"
        said = decoded(one.get(column))
        failed = isinstance(said, dict) and said.get("type") in ("errored", "canceled", "expired")
        if said is None or failed:
            cells.warn("custom_id", f"the call {name!r} brought no reply back")
            cells["error"] = one.take("error") or said
            continue
        made = single_chats_and_message_trees.answered_in(one, column)
        replies += [replace(x, metadata=one.rest()) for x in made]
    yield built(cells, chats.framed(cells, messages), replies)


TREES = Joined(
    _named("message_tree_id"),
    _trees,
    "trees",
    frozenset(("message_id", "parent_id", "role", "text", "message_tree_id", "rank", "labels")),
)
REDDIT = Joined(
    _post,
    _reddit,
    "reddit",
    frozenset(("link_id", "parent_id", "body", "title", "selftext", "score")),
)
MQM = Joined(
    _named("doc", "doc_id", "seg_id"),
    _mqm,
    "mqm",
    frozenset(("system", "source", "target", "rater", "severity", "score")),
)
POTATO = Joined(
    _potato_group,
    _potato,
    "potato",
    frozenset(("user_id", "instance_id", "label_annotations")),
)
BATCH = Joined(
    _named("custom_id"),
    _batch,
    "batch",
    frozenset(("custom_id", "body", "params", "response", "result")),
)
ITEMS = POTATO._replace(at_once=ranked_and_rated_replies.responses)
