"""Pairs, ratings, prompts and chats from data of any common shape: JSON lines, a JSON list, CSV, or
a Hugging Face dataset (`hf:` and its name, see `_dataset`).

Our own rows are taken as they are. Others are those of TRL: `prompt`, `chosen`, `rejected` as text
or as messages, and `prompt`, `completion`, `score`. Without a prompt, the turns that both sides
begin with are it; text is then a dialogue as in HH-RLHF. Files may be gzipped. Rows that teach
nothing, such as dialogues that end with the user, are left out and counted. Torch-free.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.data.usable_rows import Unusable, UsableRows
from training.rlhf.rows import (
    MAX_STRENGTH,
    Choice,
    Message,
    Preference,
    Prompt,
    Rating,
    RowError,
    Vote,
)

SPEAKER = re.compile(r"\n\n(Human|Assistant):")
SYSTEM = "\n\nSystem:"
DIALOGUE = re.compile(rf"(?:{SYSTEM}.*?)?{SPEAKER.pattern}", re.DOTALL)
DATASET = "hf:"
ROLES = ("system", "user", "assistant")
KNOWN = {
    *("prompt", "prompt_id", "messages", "held_out", "split", "tags", "reference", "columns"),
    *("chosen", "rejected", "completion", "completion_a", "completion_b", "votes", "score"),
}
"""Columns that are read; the others are kept for rules that score replies by them."""
SIDES = "sides "
"""Salt of the hash that says which side is a: were it always the chosen one, the reward model
would be measured on one class only."""


def preferences(path: str | Path, *, held_out_share: float) -> UsableRows[Preference]:
    """Read pairs with votes.

    Args:
        held_out_share: of the prompts, by their hash, where rows have no `held_out` or `split`.

    Raises:
        RowError: unreadable or empty file, or a row that is none; it names file and row.
    """
    pairs = UsableRows[Preference](path, "pairs")
    for where, data in _objects(path):
        with pairs.row(where):
            if "completion_a" not in data:
                pairs.append(_pair(data, held_out_share))
                continue
            held_out = _held_out(data, str(data.get("prompt_id")), held_out_share)
            pairs.append(rows.parse(Preference, {**data, "held_out": held_out}, where))
    return pairs.checked()


def ratings(path: str | Path, *, held_out_share: float) -> UsableRows[Rating]:
    """Read rated replies; arguments and errors as of `preferences`."""
    replies = UsableRows[Rating](path, "ratings")
    for where, data in _objects(path):
        row = dict(data)
        with replies.row(where):
            if "messages" not in row:
                row["messages"] = _messages(row.get("prompt"))
            row["prompt_id"] = str(row.get("prompt_id") or _hash(row["messages"]))
            row["held_out"] = _held_out(row, row["prompt_id"], held_out_share)
            if isinstance(row.get("score"), str):  # CSV knows no numbers
                row["score"] = float(row["score"])
            replies.append(rows.parse(Rating, row, where))
    return replies.checked()


def prompts(path: str | Path, *, held_out_share: float) -> UsableRows[Prompt]:
    """Read prompts: `prompt` as text or messages, or the prompts of pairs and ratings, each once.

    Arguments and errors as of `preferences`. `tags` may be a list, or text with commas.
    """
    asked_once, known = UsableRows[Prompt](path, "prompts"), set[str]()
    for where, data in _objects(path):
        with asked_once.row(where):
            messages = asked(data)
            prompt_id = str(data.get("prompt_id") or _hash(messages))
            row = {
                "prompt_id": prompt_id,
                "messages": messages,
                "held_out": _held_out(data, prompt_id, held_out_share),
                "tags": _tags(data.get("tags")),
                "reference": _reference(data),
                "columns": {key: value for key, value in data.items() if key not in KNOWN},
            }
            prompt = rows.parse(Prompt, row, where)
            if prompt_id not in known:
                known.add(prompt_id)
                asked_once.append(prompt)
    return asked_once.checked()


@dataclass(frozen=True)
class Chat:
    """A chat that ends with a reply to learn from."""

    prompt_id: str
    messages: list[Message]
    held_out: bool = False


def chats(path: str | Path, *, held_out_share: float) -> UsableRows[Chat]:
    """Read chats to learn replies from: `messages` that end with one, `prompt` and `completion`,
    or the better replies of pairs. Arguments and errors as of `preferences`.
    """
    answered = UsableRows[Chat](path, "chats")
    for where, data in _objects(path):
        with answered.row(where):
            messages = _answered(data)
            prompt_id = str(data.get("prompt_id") or _hash(messages[:-1]))
            held_out = _held_out(data, prompt_id, held_out_share)
            answered.append(Chat(prompt_id, messages, held_out))
    return answered.checked()


def _answered(data: dict[str, Any]) -> list[Message]:
    """The chat of a row of any shape, with the reply that it teaches."""
    if data.get("messages") and "completion" not in data and "completion_a" not in data:
        messages = rows.messages(data["messages"])
    elif "chosen" in data:
        prompt, better, _ = _sides(data)
        messages = [*prompt, {"role": "assistant", "content": better}]
    elif isinstance(data.get("completion"), str):
        messages = [*asked(data), {"role": "assistant", "content": data["completion"]}]
    else:
        raise ValueError(
            "expected messages, prompt and completion, or prompt, chosen and rejected, "
            f"not {', '.join(map(str, data))}"
        )
    for message in messages:
        if message["role"] not in ROLES:
            raise ValueError(f"a message needs a role ({', '.join(ROLES)}) and a content")
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise Unusable("the last message must be a reply of the assistant")
    return messages


def asked(data: dict[str, Any]) -> list[Message]:
    """The prompt of a row of any shape.

    Raises:
        TypeError, ValueError: there is none.
    """
    if "messages" in data:
        chat = rows.messages(data["messages"])
        # A chat to learn from holds its reply, which is not part of what was asked.
        return chat[:-1] if _is_answered(data) and len(chat) > 1 else chat
    if not data.get("prompt") and "chosen" in data:
        return _sides(data)[0]
    return _messages(data.get("prompt"))


def _is_answered(data: dict[str, Any]) -> bool:
    """True where `messages` end with a reply; beside completions they are the prompt alone."""
    alone = not {"completion", "completion_a", "chosen"} & set(data)
    return alone and rows.messages(data["messages"])[-1]["role"] == "assistant"


def _reference(data: dict[str, Any]) -> str:
    """An answer to measure others by: one that is named so, or the one that a row teaches."""
    if data.get("reference"):
        return str(data["reference"])
    if "chosen" in data:
        return _sides(data)[1]
    if data.get("messages") and _is_answered(data):
        return rows.messages(data["messages"])[-1]["content"]
    return str(data.get("completion") or "") if data.get("score") is None else ""


def _tags(value: Any) -> Any:
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    return [] if value is None else value


def _objects(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with the place it stands at."""
    if str(path).startswith(DATASET):
        yield from _dataset(str(path).removeprefix(DATASET))
        return
    path = Path(path)
    packed = path.suffix == ".gz"
    suffix = path.with_suffix("").suffix if packed else path.suffix
    if suffix == ".jsonl":
        for number, data in rows.read_json(path):
            yield f"{path}, line {number}", data
        return
    try:
        opened = gzip.open if packed else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            listed = list(csv.DictReader(file)) if suffix == ".csv" else json.load(file)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RowError(f"cannot read {path}: {reason}") from error
    except (ValueError, csv.Error) as error:
        raise RowError(f"{path}: neither {suffix or 'JSON'} nor UTF-8 ({error})") from error
    if not isinstance(listed, list):
        raise RowError(f"{path}: expected a list of rows")
    for number, data in enumerate(listed, start=1):
        if not isinstance(data, dict):
            raise RowError(f"{path}, row {number}: expected an object")
        yield f"{path}, row {number}", data


def _dataset(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a dataset of the hub (`OWNER/NAME`, perhaps with `/FOLDER` in it) or of a local
    folder; after a colon its split, which is `train` without one."""
    from datasets import load_dataset, load_from_disk  # takes a second to import

    where, _, split = name.partition(":")
    split = split or "train"
    folder = Path(where)
    try:
        if (folder / "dataset_dict.json").is_file():
            dataset = load_from_disk(where)[split]
        elif (folder / "state.json").is_file():
            dataset = load_from_disk(where)
        elif folder.is_dir():
            dataset = load_dataset(where, split=split)
        else:
            owner, _, rest = where.partition("/")
            repository, _, inside = rest.partition("/")
            dataset = load_dataset(f"{owner}/{repository}", data_dir=inside or None, split=split)
    except Exception as error:  # of many kinds, by what the dataset is made of
        raise RowError(f"cannot read the dataset {name}: {' '.join(str(error).split())}") from error
    for number, data in enumerate(dataset, start=1):
        yield f"{DATASET}{name}, row {number}", dict(data)


def _pair(data: dict[str, Any], held_out_share: float) -> Preference:
    """One row of prompt, chosen and rejected as a pair with its votes."""
    messages, chosen, rejected = _sides(data)
    prompt_id = str(data.get("prompt_id") or _hash(messages))
    pair_id = str(data.get("pair_id") or rows.candidate_key(_hash(messages) + chosen, rejected))
    turned = rows.is_held_out(SIDES + pair_id, 0.5)
    return Preference(
        pair_id=pair_id,
        prompt_id=prompt_id,
        messages=messages,
        completion_a=rejected if turned else chosen,
        completion_b=chosen if turned else rejected,
        held_out=_held_out(data, prompt_id, held_out_share),
        votes=_votes(data, *(("b", "a") if turned else ("a", "b"))),
        decided=("b" if turned else "a") if data.get("method") == "adjudicated" else "",
    )


def _votes(data: dict[str, Any], chosen: Choice, rejected: Choice) -> tuple[Vote, ...]:
    """One vote for the chosen side, or as many as the columns of our own export tell of.

    `vote_fraction` is the share of the `n_votes` votes that are for the chosen side, ties half;
    what is left over of a vote is a tie, or a vote of less weight for each side.
    """
    n, share = _column(data, "n_votes", 1.0), _column(data, "vote_fraction", 1.0)
    if n < 1 or n % 1 or not 0 <= share <= 1:
        raise ValueError("n_votes must be a whole number from 1, and vote_fraction lie in [0, 1]")
    whole, rest = divmod(round(n * share, 4), 1)
    lead = abs(2 * share - 1) or 1.0
    # The margin is the mean over all votes, of which those for the other side took away.
    margin = _column(data, "margin", 2 / MAX_STRENGTH * lead)
    strength = min(MAX_STRENGTH, max(1, round(MAX_STRENGTH * margin / lead)))
    mixed: list[tuple[Choice, float]] = [(chosen, rest), (rejected, 1 - rest)] if rest else []
    if rest == 0.5:
        mixed = [("tie", 1.0)]
    cast = [(chosen, 1.0)] * int(whole) + [(rejected, 1.0)] * int(n - whole - bool(rest)) + mixed
    return tuple(
        Vote(annotator="", choice=choice, strength=strength, weight=weight)
        for choice, weight in cast
    )


def _column(data: dict[str, Any], name: str, missing: float) -> float:
    """A number, which CSV writes as text."""
    value = data.get(name)
    return missing if value in (None, "") else float(value)


def _sides(data: dict[str, Any]) -> tuple[list[Message], str, str]:
    for name in ("chosen", "rejected"):
        if data.get(name) is None:
            raise ValueError(f"{name} is missing among {', '.join(map(str, data))}")
        if not isinstance(data[name], str | list):
            raise TypeError(f"{name} must be text or messages")
    sides = [data["chosen"], data["rejected"]]
    if data.get("prompt") and all(isinstance(side, str) for side in sides):
        # "Assistant: I agree.": the blank belongs to neither.
        blank = " " if str(data["prompt"]).endswith("\n\nAssistant:") else ""
        better, worse = (str(side).removeprefix(blank) for side in sides)
        return _messages(data["prompt"]), better, worse
    first, second = (turns(s) if isinstance(s, str) else rows.messages(s) for s in sides)
    if data.get("prompt"):
        return _messages(data["prompt"]), _reply(first), _reply(second)
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if not shared:
        raise Unusable("chosen and rejected share no prompt")
    return first[:shared], _reply(first[shared:]), _reply(second[shared:])


def turns(dialogue: str) -> list[Message]:
    """The turns of a dialogue as HH-RLHF writes them; our export puts a system's turn before.

    Raises:
        ValueError: the text is no such dialogue.
    """
    before, *parts = SPEAKER.split(dialogue)
    system = before.removeprefix(SYSTEM).strip() if before.startswith(SYSTEM) else ""
    if (before.strip() and not system) or not parts:
        raise ValueError("prompt is missing, and the sides are no dialogues of Human and Assistant")
    told = [{"role": "system", "content": system}] if system else []
    return told + [
        {"role": "user" if who == "Human" else "assistant", "content": text.strip()}
        for who, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _reply(rest: list[Message]) -> str:
    """The reply that one side adds to the prompt; one in several turns is joined."""
    if not rest or any(turn["role"] != "assistant" for turn in rest):
        raise Unusable("chosen and rejected must differ in the assistant's reply alone")
    return "\n\n".join(turn["content"] for turn in rest)


def _messages(prompt: Any) -> list[Message]:
    if isinstance(prompt, str) and DIALOGUE.match(prompt):
        *before, last = turns(prompt)
        # "...\n\nAssistant:" asks for the reply and is no turn.
        return before if before and not last["content"] else [*before, last]
    if isinstance(prompt, str) and prompt.strip():
        # Our own export puts a blank line between a question and the reply.
        return [{"role": "user", "content": prompt.removesuffix("\n\n")}]
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
