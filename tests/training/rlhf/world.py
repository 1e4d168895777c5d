"""A whole round in miniature: a tiny starter, prompts, votes by a planted rule, small settings.

The rule: the reply with more kind words wins. `run_directory` writes everything a round needs.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.training.rlhf import tiny
from training.rlhf import rows
from training.rlhf.config import RoundConfig, dump, from_dict
from training.rlhf.data import soft_labels
from training.rlhf.rows import Preference, Prompt, Vote

KIND, RUDE = ("good", "great", "kind", "happy"), ("bad", "awful", "rude", "sad")
THINGS = ("parcel", "invoice", "manual", "fox", "dog", "lazy dog", "brown fox", "quick parcel")

CONFIG: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "seed": 3,
    "reward": {
        "epochs": 1.0,
        "batch_size": 4,
        "checkpoint_every": 2,
        "max_length": 128,
        "folds": 0,  # five more models are the business of their own test
    },
    "ppo": {
        "updates": 4,
        "batch_size": 4,
        "minibatch_size": 4,
        "epochs": 1,
        "max_new_tokens": 8,
        "checkpoint_every": 1,
        "learning_rate": 1e-3,
    },
    "evaluate": {"prompts": 8, "max_new_tokens": 8, "batch_size": 1, "samples": 3},
    "sample": {"prompts": 8, "per_prompt": 3, "max_new_tokens": 8, "batch_size": 1},
    "propose": {"pairs": 12, "evaluation_pairs": 2, "features": 8, "cold_start_votes": 20},
}


def prompts(n: int = 16) -> list[Prompt]:
    """Every fourth is held out."""
    return [
        Prompt(
            prompt_id=f"p{i}",
            messages=[{"role": "user", "content": f"Tell me about the {THINGS[i % 8]} {i}."}],
            held_out=i % 4 == 3,
        )
        for i in range(n)
    ]


def reply(rng: random.Random, kind: int) -> str:
    """Four words of judgement, `kind` of them kind, in any order among plain ones."""
    words = [rng.choice(KIND) for _ in range(kind)] + [rng.choice(RUDE) for _ in range(4 - kind)]
    words += [rng.choice(("the parcel", "the invoice", "today", "please"))]
    rng.shuffle(words)
    return " ".join(words) + "."


def preferences(n: int, *, seed: int = 0, asked: list[Prompt] | None = None) -> list[Preference]:
    """`n` pairs with two votes each, by the rule."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        prompt = (asked or prompts())[i % len(asked or prompts())]
        a, b = rng.sample(range(5), 2)
        choice: Any = "a" if a > b else "b"
        found.append(
            Preference(
                pair_id=f"pair-{i}",
                prompt_id=prompt.prompt_id,
                messages=prompt.messages,
                completion_a=reply(rng, a),
                completion_b=reply(rng, b),
                held_out=prompt.held_out,
                votes=(Vote(annotator="ann", choice=choice), Vote(annotator="ben", choice=choice)),
            )
        )
    return found


def chosen_and_rejected(n: int) -> list[dict[str, str]]:
    """`preferences` as other people's files have them."""
    rows = []
    for pair in preferences(n):
        sides = pair.completion_a, pair.completion_b
        chosen, rejected = sides if soft_labels.verdict(pair) == "a" else sides[::-1]
        prompt = pair.messages[0]["content"]
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


def run_directory(path: Path, starter: Path, **changes: Any) -> Path:
    """Write the inputs of a round into a new folder."""
    path.mkdir()
    dump(from_dict(RoundConfig, CONFIG | {"starter": str(starter)} | changes), path / "config.json")
    rows.write(path / "prompts.jsonl", prompts())
    rows.write(path / "preferences.jsonl", preferences(24))
    return path


def starter(path: Path) -> Path:
    """A tiny untrained policy."""
    return tiny.llama(path)
