"""Human evaluation: blind pairs of two models out, people's verdicts on them back in. Torch-free.

The pairs are rows for `manage.py import_data`; nobody who votes is told who wrote what. Which reply
is a is drawn by a hash, and which is seen first is drawn when the pair is shown. Verdicts are known
again by the texts that they are on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.config.config_file import require
from training.rlhf.data import data_files, soft_labels
from training.rlhf.metrics import intervals
from training.rlhf.rows import Message, RowError

Reply = Mapping[str, Any]
"""A line of replies.jsonl."""
Verdicts = dict[tuple[str, str], float]
"""Points of one reply against another, by the keys of both: 1 won, 0 lost, 1/2 a tie."""


def sides(mine: Iterable[Reply], base: Iterable[Reply], *, seed: int) -> Iterator[list[Reply]]:
    """Pairs of two models' replies to each prompt, as a and b, every two texts once.

    Equal and empty replies are no pair.
    """
    others = {reply["prompt_id"]: reply for reply in base}
    seen = set()
    for reply in mine:
        other = others.get(reply["prompt_id"])
        if other is None or len({_plain(reply["text"]), _plain(other["text"])} - {""}) < 2:
            continue
        pair = rows.candidate_key(_key(reply), _key(other))
        if pair not in seen:
            seen.add(pair)
            # By a hash, not by order: neither side tells the author, and the same pair has the same
            # sides wherever it is made again.
            drawn = f"{seed} {reply['model']} {reply['prompt_id']}"
            yield [other, reply] if rows.is_held_out(drawn, 0.5) else [reply, other]


def question(a: Reply, b: Reply) -> dict[str, Any]:
    """A pair to vote on, without a word on who wrote it."""
    return {
        "prompt": a["messages"],
        "completion_a": a["text"],
        "completion_b": b["text"],
        "tags": list(a["tags"]),
    }


def write_blind_pairs(
    replies: str, model: str, other: str, out: Path, *, seed: int
) -> dict[str, float]:
    """Write `out`/pairs.jsonl for people and `out`/key.jsonl, which tells the authors.

    Args:
        replies: replies.jsonl of a comparison.

    Returns:
        pairs, and how many prompts are left out: with two equal replies, an empty one, or the same
        question and replies as another.

    Raises:
        RowError: the file cannot be read.
        ConfigError: a model is not in it, or no pair is left.
    """
    by_model: dict[str, list[Reply]] = {model: [], other: []}
    for _, row in rows.read_json(replies):
        if row.get("model") in by_model:
            by_model[row["model"]].append(row)
    for name, written in by_model.items():
        require(bool(written), f"{replies} has no reply of {name}")
    asked = list(sides(by_model[model], by_model[other], seed=seed))
    require(bool(asked), f"{replies}: no prompt has two different replies to compare")
    rows.write(out / "pairs.jsonl", (question(*pair) for pair in asked))
    rows.write(out / "key.jsonl", (_authors(pair, model) for pair in asked))
    shared = {row["prompt_id"] for row in by_model[model]} & {
        row["prompt_id"] for row in by_model[other]
    }
    return {"pairs": float(len(asked)), "left_out": float(len(shared) - len(asked))}


def _authors(pair: Sequence[Reply], model: str) -> dict[str, str]:
    mine, theirs = sorted(pair, key=lambda reply: reply["model"] != model)
    keys = {"model": _key(mine), "other": _key(theirs)}
    return keys | {"prompt_id": mine["prompt_id"]}


def read_verdicts(votes: str, undecided: str = "") -> Verdicts:
    """Verdicts of people on pairs, by most votes or a reviewer's decision.

    Args:
        votes: a file of pairs with votes, such as the `trl` export.
        undecided: the side file of that export: ties, which count half.

    Raises:
        RowError: a file cannot be read.
    """
    verdicts: Verdicts = {}
    for pair in data_files.preferences(votes, held_out_share=1.0):
        if pair.votes or pair.decided:
            points = {"a": 1.0, "b": 0.0, None: 0.5}[soft_labels.verdict(pair)]
            _note(verdicts, pair.messages, pair.completion_a, pair.completion_b, points)
    for number, row in rows.read_json(undecided) if undecided else ():
        try:
            messages, a, b = data_files.asked(row), row["completion_a"], row["completion_b"]
            _note(verdicts, messages, str(a), str(b), 0.5)
        except (KeyError, TypeError, ValueError) as error:
            raise RowError(f"{undecided}, line {number}: {error}") from error
    return verdicts


def _note(verdicts: Verdicts, messages: Sequence[Message], a: str, b: str, points: float) -> None:
    there, back = _text_key(messages, a), _text_key(messages, b)
    verdicts.update({(there, back): points, (back, there): 1 - points})


def points(verdicts: Verdicts, mine: Iterable[Reply], base: Iterable[Reply]) -> list[float | None]:
    """Points of the replies of one model against those of another; None where nobody voted."""
    both = zip(mine, base, strict=True)
    return [verdicts.get((_key(one), _key(other))) for one, other in both]


def human_win_rate(key: str, votes: str, undecided: str = "") -> dict[str, float]:
    """The share of pairs that people gave to the model, a tie as half a win.

    Args:
        key: the key.jsonl of `write_blind_pairs`; verdicts on other pairs are passed over.
        votes, undecided: as for `read_verdicts`.

    Returns:
        human_win_rate with _low and _high (95 %, Wilson), pairs, and ties.

    Raises:
        RowError: a file cannot be read.
        ConfigError: no judged pair is in the key, or it is none.
    """
    verdicts = read_verdicts(votes, undecided)
    points_of: list[float | None] = []
    for number, row in rows.read_json(key):
        require({"model", "other"} <= row.keys(), f"{key}, line {number}: not a key of `blind`")
        points_of.append(verdicts.get((row["model"], row["other"])))
    judged = [value for value in points_of if value is not None]
    require(bool(judged), f"{votes} has none of the pairs of {key}")
    rate = sum(judged) / len(judged)
    low, high = intervals.wilson(rate, len(judged))
    return {
        "human_win_rate": rate,
        "human_win_rate_low": low,
        "human_win_rate_high": high,
        "pairs": float(len(judged)),
        "ties": float(judged.count(0.5)),
    }


def _key(reply: Reply) -> str:
    return _text_key(reply["messages"], reply["text"])


def _text_key(messages: Sequence[Message], text: str) -> str:
    """A reply to this chat: the same two replies to another chat may have the other authors."""
    return rows.completion_key(_plain(" ".join(m["content"] for m in messages)), _plain(text))


def _plain(text: str) -> str:
    """Without differences in space, which an import or an export may change."""
    return " ".join(text.split())
