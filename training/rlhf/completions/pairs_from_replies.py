"""The completions and pairs of one prompt, of the replies that came to it.

Torch-free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from training.rlhf import rows
from training.rlhf.completions.reply_files import Row
from training.rlhf.completions.reply_filter import UNREADABLE, comparable, fault_of, readable
from training.rlhf.completions.writers import Settings
from training.rlhf.rows import Completion


def finished_prompt(
    prompt_id: str, replies: Sequence[Row], settings: Settings, names: Sequence[str]
) -> Row:
    """The line of written.jsonl: what people will read of a prompt, and what was left out.

    Args:
        names: of the sources. Of one, pairs are of two of its samples; of two, of one of each.

    Returns:
        prompt_id; completions, with their source, and pairs as rows; equal, the replies that read
        like another one; left_out, how many by fault; refused, how many by the server's reason;
        truncated, the completions that end at the limit of their length.
    """
    answered = [row for row in replies if "refused" not in row]
    answered.sort(key=lambda row: (names.index(row["source"]), row["sample"]))
    said = [row for row in answered if row["text"].strip()]
    distinct: dict[str, Row] = {}
    for row in said:
        distinct.setdefault(" ".join(row["text"].split()), row)
    by_key = {_completion(row, settings).key: row for row in distinct.values()}
    completions = [_completion(row, settings) for row in by_key.values()]
    kept = readable(completions, spared=())
    gone = {one.key for one in completions} - {one.key for one in kept}
    faults = Counter(fault_of(one) for one in completions if one.key in gone)
    assert set(faults) <= set(UNREADABLE)
    faults["empty"] = len(answered) - len(said)
    return {
        "prompt_id": prompt_id,
        "completions": [vars(one) | {"source": by_key[one.key]["source"]} for one in kept],
        "pairs": [_pair(a, b) for a, b in _pairs(kept, by_key, names)],
        "equal": len(said) - len(distinct),
        "left_out": {name: n for name, n in faults.items() if n},
        "refused": Counter(row["refused"] for row in replies if "refused" in row),
        "truncated": sum(one.finish_reason == "length" for one in kept),
    }


def _completion(row: Row, settings: Settings) -> Completion:
    return Completion(
        key=rows.completion_key(row["prompt_id"], row["text"]),
        prompt_id=row["prompt_id"],
        text=row["text"],
        seed=row["seed"],
        temperature=settings.temperature,
        top_p=settings.top_p,
        n_tokens=row["tokens_out"],
        finish_reason="stop" if row["finished"] else "length",
    )


def _pairs(
    kept: Sequence[Completion], by_key: dict[str, Row], names: Sequence[str]
) -> list[tuple[Completion, Completion]]:
    """Every completion is in one pair at most. Those that were cut are in none where the prompt
    has a pair of others."""
    if len(names) == 2:
        sides = [[c for c in kept if by_key[c.key]["source"] == name] for name in names]
        paired = list(zip(*map(_whole_first, sides), strict=False))
        whole = [(a, b) for a, b in paired if not _cut(a) and not _cut(b)]
        paired = whole or paired[:1]
    else:
        compared = comparable(kept)
        paired = list(zip(compared[::2], compared[1::2], strict=False))
    # In an order that the texts alone decide: neither model is always the first.
    return [(min(pair, key=_key), max(pair, key=_key)) for pair in paired]


def _whole_first(replies: Sequence[Completion]) -> list[Completion]:
    return sorted(replies, key=_cut)


def _cut(completion: Completion) -> bool:
    return completion.finish_reason == "length"


def _key(completion: Completion) -> str:
    return completion.key


def _pair(a: Completion, b: Completion) -> Row:
    return {
        "key": rows.candidate_key(a.key, b.key),
        "prompt_id": a.prompt_id,
        "completion_a": a.key,
        "completion_b": b.key,
        "kind": "normal",
        "stream": "random",
        "score": 0.0,
    }
