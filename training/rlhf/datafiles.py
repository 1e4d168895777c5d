"""Pairs and ratings from files of any common shape: JSON lines, a JSON list, or CSV.

Our own rows are taken as they are. Others are those of TRL: `prompt`, `chosen`, `rejected` as text
or as messages, and `prompt`, `completion`, `score`. Without a prompt, the turns that both sides
begin with are it; text is then a dialogue as in HH-RLHF. Torch-free.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.rows import Message, Preference, Rating, RowError, Vote

SPEAKER = re.compile(r"\n\n(Human|Assistant):")
SIDES = "sides "
"""Salt of the hash that says which side is a: were it always the chosen one, the reward model
would be measured on one class only."""


def preferences(path: str | Path, *, held_out_share: float) -> list[Preference]:
    """Read pairs with votes.

    Args:
        held_out_share: of the prompts, by their hash, where rows have no `held_out` or `split`.

    Raises:
        RowError: unreadable file, or a row that is none; it names file and row.
    """
    found = []
    for where, data in _objects(path):
        try:
            if "completion_a" not in data:
                found.append(_pair(data, held_out_share))
                continue
            held_out = _held_out(data, str(data.get("prompt_id")), held_out_share)
        except (TypeError, ValueError) as error:
            raise RowError(f"{where}: {error}") from error
        found.append(rows.parse(Preference, {**data, "held_out": held_out}, where))
    return found


def ratings(path: str | Path, *, held_out_share: float) -> list[Rating]:
    """Read rated replies; arguments and errors as of `preferences`."""
    found = []
    for where, data in _objects(path):
        row = dict(data)
        try:
            if "messages" not in row:
                row["messages"] = _messages(row.get("prompt"))
            row["prompt_id"] = str(row.get("prompt_id") or _hash(row["messages"]))
            row["held_out"] = _held_out(row, row["prompt_id"], held_out_share)
            if isinstance(row.get("score"), str):  # CSV knows no numbers
                row["score"] = float(row["score"])
        except (TypeError, ValueError) as error:
            raise RowError(f"{where}: {error}") from error
        found.append(rows.parse(Rating, row, where))
    return found


def _objects(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with the place it stands at."""
    path = Path(path)
    if path.suffix == ".jsonl":
        for number, data in rows.read_json(path):
            yield f"{path}, line {number}", data
        return
    try:
        with path.open(encoding="utf-8", newline="") as file:
            listed = list(csv.DictReader(file)) if path.suffix == ".csv" else json.load(file)
    except OSError as error:
        raise RowError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise RowError(f"{path}: neither {path.suffix or 'JSON'} nor UTF-8 ({error})") from error
    if not isinstance(listed, list):
        raise RowError(f"{path}: expected a list of rows")
    for number, data in enumerate(listed, start=1):
        if not isinstance(data, dict):
            raise RowError(f"{path}, row {number}: expected an object")
        yield f"{path}, row {number}", data


def _pair(data: dict[str, Any], held_out_share: float) -> Preference:
    """One row of prompt, chosen and rejected as a pair with one vote."""
    messages, chosen, rejected = _sides(data)
    prompt_id = str(data.get("prompt_id") or _hash(messages))
    pair_id = str(data.get("pair_id") or rows.candidate_key(_hash(messages) + chosen, rejected))
    turned = rows.is_held_out(SIDES + pair_id, 0.5)
    margin = data.get("margin")
    strength = 2 if margin in (None, "") else min(3, max(1, round(3 * float(margin))))
    return Preference(
        pair_id=pair_id,
        prompt_id=prompt_id,
        messages=messages,
        completion_a=rejected if turned else chosen,
        completion_b=chosen if turned else rejected,
        held_out=_held_out(data, prompt_id, held_out_share),
        votes=(Vote(annotator="", choice="b" if turned else "a", strength=strength),),
    )


def _sides(data: dict[str, Any]) -> tuple[list[Message], str, str]:
    for name in ("chosen", "rejected"):
        if data.get(name) is None:
            raise ValueError(f"{name} is missing")
    sides = [data["chosen"], data["rejected"]]
    if data.get("prompt") and all(isinstance(side, str) for side in sides):
        return _messages(data["prompt"]), str(sides[0]), str(sides[1])
    first, second = (turns(s) if isinstance(s, str) else rows.messages(s) for s in sides)
    if data.get("prompt"):
        return _messages(data["prompt"]), _reply(first), _reply(second)
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if not shared:
        raise ValueError("chosen and rejected share no prompt")
    return first[:shared], _reply(first[shared:]), _reply(second[shared:])


def turns(dialogue: str) -> list[Message]:
    """The turns of a dialogue as HH-RLHF writes them.

    Raises:
        ValueError: the text is no such dialogue.
    """
    before, *found = SPEAKER.split(dialogue)
    if before.strip() or not found:
        raise ValueError("prompt is missing, and the sides are no dialogues of Human and Assistant")
    return [
        {"role": "user" if who == "Human" else "assistant", "content": text.strip()}
        for who, text in zip(found[::2], found[1::2], strict=True)
    ]


def _reply(rest: list[Message]) -> str:
    """What one side adds to the prompt; a reply in several turns is joined."""
    if not rest or any(turn["role"] != "assistant" for turn in rest):
        raise ValueError("chosen and rejected must differ in the assistant's reply alone")
    return "\n\n".join(turn["content"] for turn in rest)


def _messages(prompt: Any) -> list[Message]:
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, list):
        return rows.messages(prompt)
    raise ValueError("prompt must be text or messages")


def _held_out(data: dict[str, Any], prompt_id: str, share: float) -> bool:
    given = data.get("held_out")
    if isinstance(given, str):  # CSV knows no truth values
        given = {"true": True, "false": False, "": None}.get(given.lower(), given)
    if isinstance(given, bool):
        return given
    if given is not None:
        raise ValueError("held_out must be true or false")
    if data.get("split"):
        return str(data["split"]) != "train"
    return rows.is_held_out(prompt_id, share)


def _hash(messages: list[Message]) -> str:
    return hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode()).hexdigest()
