"""A probe of the training stack and of a model that should generate and stop: one JSON line.

`python -m training.rlhf.serving.stack_and_generation_probe` tells of

    (nothing)         the libraries and the GPU
    MODEL             replies of a model folder, adapter folder or hub id

A process of its own, so that whoever asks needs no torch and survives a broken installation.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from training.rlhf.run.entry_points import importing_libraries

REPLIES = 8
MAX_NEW_TOKENS = 128
MESSAGES = [{"role": "user", "content": "My order has not arrived yet. What can I do?"}]


def stack() -> dict[str, Any]:
    """Version of torch, and name and memory (GiB) of every GPU."""
    import torch

    gpus = [
        {"name": card.name, "memory": round(card.total_memory / 2**30, 1)}
        for card in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ]
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "gpus": gpus}


def model(path: str) -> dict[str, Any]:
    """Sample a few replies: how many ended by themselves, how many hold text, mean tokens."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with importing_libraries():
        from training.rlhf.language import chat_template, generation, pretrained
        from training.rlhf.run.device import resolve_device

    # The model first: its loader says in words what a folder lacks.
    policy = pretrained.load_causal(path, device=resolve_device("auto"))
    tokenizer = pretrained.load_tokenizer(path)
    room = int(getattr(policy.config, "max_position_embeddings", 2 * MAX_NEW_TOKENS))
    replies = generation.generate(
        policy,
        tokenizer,
        [chat_template.prompt_ids(tokenizer, MESSAGES)] * REPLIES,
        max_new_tokens=min(MAX_NEW_TOKENS, room // 2),
        temperature=0.7,
        stop_ids=pretrained.stop_token_ids(policy, tokenizer),
    )
    texts = [chat_template.response_text(tokenizer, reply.ids) for reply in replies]
    return {
        "replies": len(replies),
        "stopped": sum(reply.finished for reply in replies),
        "with_text": sum(bool(text) for text in texts),
        "tokens": sum(len(reply.ids) for reply in replies) / len(replies),
        "example": texts[0][:200],
    }


def main(arguments: list[str]) -> int:
    """Print the answer; an error is one too, with exit code 1."""
    try:
        answer = model(*arguments) if arguments else stack()
    except Exception as error:  # noqa: BLE001 - what a broken model raises is the finding
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
