from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.model_files import write_model
from training.rlhf.config import read_facts


def test_a_model_is_known_by_its_files(tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path / "model"))
    assert facts is not None
    assert (facts.parameters, facts.dtype, facts.layers) == (134_515_008, "bfloat16", 30)
    assert (facts.key_value, facts.vocabulary, facts.tables) == (192, 49_152, 1)


def test_an_adapter_is_as_large_as_what_it_adapts(tmp_path: Path) -> None:
    base = write_model(tmp_path / "model", parameters=5)
    for name, below in (("one", str(base)), ("two", "../one")):
        adapter = tmp_path / name
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": below}))
    facts = read_facts(tmp_path / "two")
    assert facts is not None and facts.parameters == 5


def test_a_hub_id_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    write_model(tmp_path / "models--org--small" / "snapshots" / "abc", parameters=7)
    facts = read_facts("org/small")
    assert facts is not None and facts.parameters == 7
    assert read_facts("org/other") is None


def test_names_of_gpt2_are_read_too(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", dtype="F32")
    shape = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50_257}
    (folder / "config.json").write_text(json.dumps(shape))
    facts = read_facts(folder)
    assert facts is not None
    assert (facts.hidden, facts.layers, facts.wide, facts.context) == (768, 12, 3072, 1024)
    assert facts.dtype == "float32"


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff" * 20])
def test_what_is_no_model_has_no_facts(damage: str, content: bytes | None, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    if content is None:
        (folder / damage).unlink()
    else:
        (folder / damage).write_bytes(content)
    assert read_facts(folder) is None
