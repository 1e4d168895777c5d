"""Two models judged by people: blind pairs out, the answer back in. Torch-free.

The pairs are rows for `manage.py import_data`, without a word on who wrote what; which side is
seen first is drawn when the pair is shown. The key stays here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.rlhf import calibration, datafiles, rows
from training.rlhf.configfile import require
from training.rlhf.rows import Message, RowError


def blind(replies: str, model: str, other: str, out: Path, *, seed: int) -> dict[str, float]:
    """Write `out`/pairs.jsonl for people and `out`/key.jsonl.

    Args:
        replies: replies.jsonl of a comparison.

    Returns:
        pairs, and how many prompts had two equal replies or an empty one, which nobody is asked.

    Raises:
        RowError: the file cannot be read.
        ConfigError: a model is not in it, or no pair is left.
    """
    texts: dict[str, dict[str, Any]] = {model: {}, other: {}}
    for _, row in rows.read_json(replies):
        if row.get("model") in texts:
            texts[row["model"]][row["prompt_id"]] = row
    for name, found in texts.items():
        require(bool(found), f"{replies} has no reply of {name}")
    shared = [(row, texts[other][key]) for key, row in texts[model].items() if key in texts[other]]
    asked = [(a, b) for a, b in shared if _differ(_plain(a["text"]), _plain(b["text"]))]
    require(bool(asked), f"{replies}: no prompt has two different replies to compare")
    turned = np.random.default_rng([seed, 11]).integers(2, size=len(asked))
    pairs, key = [], []
    for (mine, theirs), turn in zip(asked, turned, strict=True):
        first, second = (theirs, mine) if turn else (mine, theirs)
        pairs.append(
            {
                "prompt": mine["messages"],
                "completion_a": first["text"],
                "completion_b": second["text"],
                "tags": list(mine["tags"]),
            }
        )
        own, other_one = (_author(mine["messages"], side["text"]) for side in (mine, theirs))
        pair = rows.candidate_key(own, other_one)
        key.append({"pair": pair, "model": own, "prompt_id": mine["prompt_id"]})
    rows.write(out / "pairs.jsonl", pairs)
    rows.write(out / "key.jsonl", key)
    return {"pairs": float(len(pairs)), "left_out": float(len(shared) - len(pairs))}


def answer(key: str, votes: str, undecided: str = "") -> dict[str, float]:
    """The share of pairs that people gave to the model, a tie as half a win.

    Args:
        votes: the `trl` export; rows that are not in the key are passed over.
        undecided: its side file of ties.

    Returns:
        human_win_rate with _low and _high (95 %, Wilson), pairs, and ties.

    Raises:
        RowError: a file cannot be read.
        ConfigError: no judged pair is in the key.
    """
    known = {row["pair"]: row["model"] for _, row in rows.read_json(key)}
    points = [float(won) for won in _decided(votes, known)]
    ties = 0
    if undecided:
        sides = _keys(undecided, "completion_a", "completion_b")
        ties = sum(rows.candidate_key(a, b) in known for a, b in sides)
    points += [0.5] * ties
    require(bool(points), f"{votes} has none of the pairs of {key}")
    rate = sum(points) / len(points)
    low, high = calibration.wilson(rate, len(points))
    return {
        "human_win_rate": rate,
        "human_win_rate_low": low,
        "human_win_rate_high": high,
        "pairs": float(len(points)),
        "ties": float(ties),
    }


def _decided(votes: str, known: dict[str, str]) -> Iterator[bool]:
    for chosen, rejected in _keys(votes, "chosen", "rejected"):
        author = known.get(rows.candidate_key(chosen, rejected))
        if author is not None:
            yield author == chosen


def _keys(path: str, *sides: str) -> Iterator[tuple[str, str]]:
    """Both replies of every row that has these two."""
    for number, row in rows.read_json(path):
        first, second = (row.get(side) for side in sides)
        if isinstance(first, str) and isinstance(second, str):
            try:
                messages = datafiles.asked(row)
            except (TypeError, ValueError) as error:
                raise RowError(f"{path}, line {number}: {error}") from error
            yield _author(messages, first), _author(messages, second)


def _author(messages: Sequence[Message], text: str) -> str:
    """A reply to this chat: the same two replies to another chat may have the other authors."""
    return rows.completion_key(_plain(" ".join(m["content"] for m in messages)), _plain(text))


def _plain(text: str) -> str:
    """Without differences in space, which an import or an export may change."""
    return " ".join(text.split())


def _differ(one: str, other: str) -> bool:
    return one != other and bool(one) and bool(other)
