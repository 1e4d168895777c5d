"""The first pairs of a project: completions of one policy, drawn at random.

Nothing is known yet that could make one pair more worth a vote than another, so all of them
belong to the random stream.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from training.rlhf.rows import candidate_key

Row = dict[str, Any]

SEED = 0


def pairs(completions: Iterable[Row]) -> list[Row]:
    """Pair the distinct completions of each prompt; every completion is used at most once."""
    by_prompt: dict[str, dict[str, Row]] = {}
    for row in completions:
        if row["text"].strip():
            by_prompt.setdefault(row["prompt_id"], {})[" ".join(row["text"].split())] = row
    paired: list[Row] = []
    for prompt_id, distinct in sorted(by_prompt.items()):
        rows = _compared(sorted(distinct.values(), key=lambda row: str(row["key"])))
        random.Random(f"{SEED} {prompt_id}").shuffle(rows)
        paired += [_pair(a, b) for a, b in zip(rows[::2], rows[1::2], strict=False)]
    return paired


def _compared(rows: list[Row]) -> list[Row]:
    """Those that ended by themselves; of those that were cut no more than make up a pair."""
    whole = [row for row in rows if row.get("finish_reason") != "length"]
    cut = [row for row in rows if row.get("finish_reason") == "length"]
    return whole + cut[: max(0, 2 - len(whole))]


def _pair(a: Row, b: Row) -> Row:
    return {
        "key": candidate_key(a["key"], b["key"]),
        "prompt_id": a["prompt_id"],
        "completion_a": a["key"],
        "completion_b": b["key"],
        "kind": "normal",
        "stream": "random",
        "score": 0.0,
    }
