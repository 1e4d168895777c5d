"""Pairs with their texts column by column: what trl_format and votes_format say row by row.

Formats in columns are made of it. A row in between, as an object, would cost more than the query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from annotate.exporting import judged_pairs
from annotate.exporting.judged_pairs import Judged
from annotate.votes.export_values import parsed, parsed_chats

Column = Sequence[Any]
Columns = dict[str, Column]
ROUNDED = 6


def pair_columns(ids: Iterable[int]) -> Columns:
    """Columns of these pairs in the order of their numbers, named as those of PairTexts.

    Those of the sides begin with `a_` and `b_`. JSON that is the same is one object, which nobody
    may change.
    """
    rows = judged_pairs.text_rows(ids)
    told = dict(zip(judged_pairs.COLUMNS, zip(*rows, strict=True), strict=True))
    held_out, kinds = told["prompt__held_out"], told["kind"]
    columns: Columns = {
        "pair_id": told["id"],
        **{name: told[name] for name in ("key", "kind", "stream", "source_margin")},
        "retest_of": told["retest_of__key"],
        "split": [
            "test" if held or kind == "evaluation" else "train"
            for held, kind in zip(held_out, kinds, strict=True)
        ],
        "tags": _by_value(_all_tags, told["prompt__tags"], told["tags"]),
        "metadata": _by_value(_over, told["prompt__metadata"], told["metadata"]),
        "prompt_id": told["prompt__sha256"],
        "messages": _chats(told["prompt__messages"]),
        "tools": _by_value(parsed, told["prompt__tools"]),
        "reference": [text or None for text in told["prompt__reference"]],
    }
    for side in "ab":
        columns |= _side(side, told)
    return columns


def _side(side: str, told: Mapping[str, Column]) -> Columns:
    of, named = f"completion_{side}", told[f"policy_{side}"]
    return {
        f"{side}_text": told[f"{of}__text"],
        f"{side}_sha256": told[f"{of}__sha256"],
        f"{side}_messages": _by_value(parsed, told[f"{of}__messages"]),
        f"{side}_metadata": _by_value(_or_none, told[f"{of}__metadata"]),
        # The pair knows better: a text that several models wrote is one completion.
        f"{side}_model": [
            name or policy for name, policy in zip(named, told[f"{of}__policy"], strict=True)
        ],
    }


def _by_value(make: Callable[..., Any], *columns: Column) -> list[Any]:
    """`make` of each row's values, called once for rows that have the same ones."""
    if all(column.count(column[0]) == len(column) for column in columns):
        return [make(*(column[0] for column in columns))] * len(columns[0])
    if len(columns) == 1:
        (column,) = columns
        alone = dict.fromkeys(column)
        for value in alone:
            alone[value] = make(value)
        return list(map(alone.__getitem__, column))
    rows: list[Any] = list(zip(*columns, strict=True))
    known = {values: make(*values) for values in set(rows)}
    return list(map(known.__getitem__, rows))


def _chats(column: Column) -> list[Any]:
    texts = dict.fromkeys(column)
    known = dict(zip(texts, parsed_chats(texts), strict=True))
    return list(map(known.__getitem__, column))


def _all_tags(of_prompt: str, own: str) -> list[str]:
    return list(dict.fromkeys([*parsed(of_prompt), *parsed(own)]))


def _over(of_prompt: str, own: str) -> dict[str, Any]:
    return {**parsed(of_prompt), **parsed(own)}


def _or_none(metadata: str) -> dict[str, Any] | None:
    return parsed(metadata) or None


def shared_by_votes(ids: Iterable[int]) -> Columns:
    """The columns of `votes` that all votes on a pair have."""
    pairs = pair_columns(ids)
    names = ("kind", "retest_of", "split", "tags", "source_margin", "prompt_id", "tools")
    columns: Columns = {name: pairs[name] for name in (*names, "reference")}
    columns |= {"pair_id": pairs["key"], "pair_stream": pairs["stream"]}
    columns |= {"prompt": pairs["messages"]}
    columns["pair_metadata"] = [one or None for one in pairs["metadata"]]
    for side in "ab":
        columns |= {
            f"completion_{side}": pairs[f"{side}_text"],
            f"completion_{side}_id": pairs[f"{side}_sha256"],
            **{f"{name}_{side}": pairs[f"{side}_{name}"] for name in ("model", "messages")},
            f"metadata_{side}": pairs[f"{side}_metadata"],
        }
    return columns


def winners(batch: Sequence[Judged]) -> Columns:
    """The columns of pairs with a winner, which are given in the order of their numbers.

    `chosen` and `rejected` are texts; `chosen_messages` and `rejected_messages` the turns of those
    that have several.
    """
    pairs = pair_columns(one.pair_id for one in batch)
    verdicts = [one.verdict for one in batch]
    sides = [verdict.outcome for verdict in verdicts]
    columns: Columns = {name: pairs[name] for name in ("source_margin", "split", "kind", "stream")}
    columns |= {name: pairs[name] for name in ("tags", "tools", "prompt_id")}
    columns |= {"prompt": pairs["messages"], "pair_id": pairs["key"], "chosen_side": sides}
    for name in ("text", "messages", "model", "sha256", "metadata"):
        a, b = pairs[f"a_{name}"], pairs[f"b_{name}"]
        both = list(zip(sides, a, b, strict=True))
        columns[f"chosen_{name}"] = [x if side == "a" else y for side, x, y in both]
        columns[f"rejected_{name}"] = [y if side == "a" else x for side, x, y in both]
    for end in ("chosen", "rejected"):
        columns[end], columns[f"{end}_id"] = columns[f"{end}_text"], columns[f"{end}_sha256"]
    soft = [one.soft for one in batch]
    return columns | {
        "margin": [None if x.margin is None else round(x.margin, ROUNDED) for x in verdicts],
        "vote_fraction": [
            round(x.fraction_a if x.outcome == "a" else 1 - x.fraction_a, ROUNDED) for x in verdicts
        ],
        "n_votes": [verdict.n_votes for verdict in verdicts],
        "method": [one.method for one in batch],
        **{
            name: [one[place] for one in soft] for place, name in enumerate(("p_a", "p_tie", "p_b"))
        },
        "weight": [one.weight for one in batch],
        "reliability": [one.reliability for one in batch],
        "metadata": _metadata(pairs["metadata"], columns),
    }


def _metadata(of_pairs: Column, columns: Columns) -> Column:
    """Other columns of the source: the pair's, and those of a reply by its name."""
    ends = columns["chosen_metadata"], columns["rejected_metadata"]
    if not (any(of_pairs) or any(ends[0]) or any(ends[1])):
        return [None] * len(of_pairs)
    held = []
    for pair, chosen, rejected in zip(of_pairs, *ends, strict=True):
        named = {"chosen": chosen, "rejected": rejected}
        held.append({**pair, **{end: of for end, of in named.items() if of}} or None)
    return held
