from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.training import fake_hub
from tests.training.rlhf import tiny
from training.rlhf.config import LoraConfig, PushJob
from training.rlhf.delivery import hub_upload
from training.rlhf.language import lora_adapters, pretrained


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter on a base that only this machine has."""
    base = tiny.llama(tmp_path / "base")
    made = lora_adapters.new_adapter(pretrained.load_causal(base), LoraConfig(r=2), base=base)
    pretrained.save_model(made, pretrained.load_tokenizer(base), tmp_path / "adapter")
    return tmp_path / "adapter"


def reach(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", fake_hub.Hub.token)


def test_an_adapter_on_a_base_that_nobody_else_has_leaves_as_one_model(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    card = tmp_path / "card.md"
    card.write_text("# Desk\n")
    with fake_hub.running() as found:
        reach(found.url, monkeypatch)
        job = PushJob(folder=str(adapter), repo="me/desk", card=str(card), merge=True)
        metrics = hub_upload.push(job, tmp_path / "out", scratch=tmp_path / "scratch")
    files = found.repos["me/desk"]
    assert "adapter_config.json" not in files and files["README.md"] == b"# Desk\n"
    assert metrics["files"] == len(files)
    for name, content in files.items():
        (tmp_path / "out" / name).write_bytes(content)
    assert pretrained.load_causal(tmp_path / "out").config.model_type == "llama"
    assert json.loads((tmp_path / "out" / hub_upload.RESULT).read_text())["url"].endswith(
        "/me/desk"
    )


def test_a_hub_that_cannot_be_reached_is_said_in_words(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub_upload.HubError, match="no hub is reached from here"):
        hub_upload.push(PushJob(folder=str(adapter), repo="me/desk"), tmp_path, scratch=tmp_path)


def test_what_shall_be_private_is_not_put_where_everybody_reads_it(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = PushJob(folder=str(adapter), repo="me/desk", private=True)
    with fake_hub.running() as found:
        reach(found.url, monkeypatch)
        found.private["me/desk"] = False
        with pytest.raises(hub_upload.HubError, match="me/desk is there already and public"):
            hub_upload.push(job, tmp_path, scratch=tmp_path)
        assert found.repos == {}
        found.private["me/desk"] = True
        hub_upload.push(job, tmp_path, scratch=tmp_path)
        assert "adapter_model.safetensors" in found.repos["me/desk"]


def test_a_hub_where_nobody_answers_is_said_in_words(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub.running() as found:
        reach(found.url, monkeypatch)
    with pytest.raises(hub_upload.HubError, match="the hub took nothing"):
        hub_upload.push(PushJob(folder=str(adapter), repo="me/desk"), tmp_path, scratch=tmp_path)
