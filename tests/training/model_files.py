"""Model folders without weights: what is read of them are their settings and headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

SMOLLM = {
    "architectures": ["LlamaForCausalLM"],
    "head_dim": 64,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}
"""The shape of SmolLM2-135M."""


def write_model(
    folder: Path, *, parameters: int = 134_515_008, dtype: str = "BF16", **config: object
) -> Path:
    """A folder of a model of so many parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SMOLLM | config))
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "all": {"dtype": dtype, "shape": [parameters], "data_offsets": [0, 0]},
        }
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder
