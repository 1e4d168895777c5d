"""Facts about models whose files somebody spoilt, or wrote by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.training.model_files import write_model
from training.rlhf.delivery import licence_context_memory, model_folder_checks
from training.rlhf.delivery.model_folder_checks import Unusable


def look(folder: Path) -> licence_context_memory.Facts:
    """What a check reads of a folder before it loads the model."""
    (folder / "tokenizer.json").write_text("{}")
    model_folder_checks.kind(folder)
    facts = licence_context_memory.facts(folder)
    licence_context_memory.memory(licence_context_memory.settings(folder), facts.parameters)
    return facts


@pytest.mark.parametrize("value", ["x", ["x"], [], {"a": 1}, True, -5, 1e400, 10**400])
@pytest.mark.parametrize("name", ["max_position_embeddings", "vocab_size", "num_hidden_layers"])
def test_a_setting_that_is_no_number_is_named(tmp_path: Path, name: str, value: Any) -> None:
    folder = write_model(tmp_path, **{name: value})
    if not value:
        assert look(folder).architecture == "LlamaForCausalLM"
        return
    with pytest.raises(Unusable, match=f"its {name} is no number"):
        look(folder)


def test_a_width_for_each_layer_counts_as_the_largest(tmp_path: Path) -> None:
    assert look(write_model(tmp_path, intermediate_size=[64, 128])).parameters > 0


@pytest.mark.parametrize("named", [5, "LlamaForCausalLM", {"a": 1}, [["Llama"]], [5]])
def test_a_name_of_an_architecture_that_is_none_makes_no_model(tmp_path: Path, named: Any) -> None:
    with pytest.raises(Unusable, match="names no architecture"):
        look(write_model(tmp_path, architectures=named))


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": ["BF16"], "shape": "x", "data_offsets": [0, 0]},
        {"dtype": "BF16", "shape": [1e400], "data_offsets": [0, 0]},
        {"dtype": "BF16", "shape": [10**300], "data_offsets": [0, 0]},
        {"dtype": "BF16", "shape": [-4], "data_offsets": [0, 0]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, "x"]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, 10**400]},
        [],
    ],
)
def test_a_header_that_lists_no_tensors_is_damaged(tmp_path: Path, tensor: Any) -> None:
    folder = write_model(tmp_path)
    header = json.dumps({"all": tensor}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(Unusable, match=r"model\.safetensors is damaged"):
        look(folder)


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: [mit, 5]", "mit, 5"),
        ("license: 5", "5"),
        ("license: true", "True"),
        ("license: mit\ndate: 2023-99-99", ""),
        ("[[[", ""),
    ],
)
def test_a_card_may_say_anything(tmp_path: Path, head: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n")
    assert look(write_model(tmp_path)).licence == licence
