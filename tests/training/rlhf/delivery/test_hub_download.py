"""Models of a hub that is served on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.training import fake_model_hub
from tests.training.fake_model_hub import COMMIT, TOKEN, Hub
from training.rlhf.delivery import hub_download
from training.rlhf.delivery.hub_upload import HubError

NAME = "someone/tiny-chat"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 400,
    "README.md": b"---\nlicense: mit\n---\n",
    "pytorch_model.bin": b"pickled",
    "onnx/model.onnx": b"onnx",
    "run.py": b"print('hello')",
}


class Asked(Exception):
    """Somebody asked for a stop."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with fake_model_hub.running() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        address = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        running.repos[NAME] = dict(FILES)
        yield running


def fetch(
    folder: Path,
    name: str = NAME,
    revision: str = "",
    *,
    told: hub_download.Told = lambda here, total: None,
    private: bool = False,
    free_gb: float = 0.0,
) -> tuple[Path, str]:
    return hub_download.fetch(
        name,
        revision,
        keep=folder / "models",
        scratch=folder / "scratch",
        told=told,
        private=private,
        free_gb=free_gb,
    )


def test_a_models_own_files_are_fetched_once_and_kept_by_their_commit(
    hub: Hub, tmp_path: Path
) -> None:
    seen: list[int] = []
    folder, commit = fetch(tmp_path, told=lambda here, total: seen.append(total - here))
    assert commit == COMMIT and folder.name == f"someone--tiny-chat-{COMMIT[:12]}"
    wanted = {"config.json", "tokenizer.json", "model.safetensors", "README.md"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert seen == sorted(seen, reverse=True) and seen[-1] == 0
    asked = len(hub.sent)
    assert fetch(tmp_path) == (folder, COMMIT) and len(hub.sent) == asked


def test_a_fetch_that_was_stopped_goes_on_with_the_files_that_are_missing(
    hub: Hub, tmp_path: Path
) -> None:
    def stop(here: int, total: int) -> None:
        if total - here < len(FILES["model.safetensors"]):
            raise Asked

    with pytest.raises(Asked):
        fetch(tmp_path, told=stop)
    assert not (tmp_path / "models").exists()
    before = [path for path, _ in hub.sent]
    folder, _ = fetch(tmp_path)
    after = [path for path, _ in hub.sent[len(before) :]]
    assert "config.json" in before and after == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_the_operators_token_is_sent_only_where_it_is_lent(hub: Hub, tmp_path: Path) -> None:
    hub.closed[NAME] = "private"
    with pytest.raises(HubError, match="no model someone/tiny-chat, or it is private"):
        fetch(tmp_path)
    assert set(hub.tokens) == {None}
    assert fetch(tmp_path, private=True)[1] == COMMIT
    assert hub.tokens[-1] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("private", [True, False])
def test_a_gated_model_is_said_to_be_one(hub: Hub, tmp_path: Path, private: bool) -> None:
    hub.closed[NAME] = "gated"
    if private:
        hub.closed[NAME], hub.repos = "gated", {NAME: FILES}
        assert fetch(tmp_path, private=True)[1] == COMMIT
        return
    with pytest.raises(HubError, match=r"is gated.*PAIRLOOP_HUB_PRIVATE=1"):
        fetch(tmp_path)


@pytest.mark.parametrize(
    ("closed", "why"), [("gated", "is gated"), ("private", "no model someone/tiny-chat, or it is")]
)
def test_what_the_operator_fetched_is_not_given_to_those_who_may_not_open_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, why: str
) -> None:
    hub.closed[NAME] = closed
    folder, _ = fetch(tmp_path, private=True)
    asked = len(hub.sent)
    assert fetch(tmp_path, private=True) == (folder, COMMIT) and len(hub.sent) == asked
    with pytest.raises(HubError, match=why):
        fetch(tmp_path)
    # The hub no longer gives it to this account either.
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(HubError, match=why):
        fetch(tmp_path, private=True)
    hub.closed.clear()
    assert fetch(tmp_path) == (folder, COMMIT)


def test_a_name_or_a_revision_that_is_not_there_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="the hub has no model someone/else"):
        fetch(tmp_path, "someone/else")
    with pytest.raises(HubError, match="has no revision 'v9'"):
        fetch(tmp_path, revision="v9")


@pytest.mark.parametrize(
    ("files", "held"),
    [
        ({"model.Q4_K.gguf": b"GGUF"}, "but GGUF"),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, r"but pickled weights \(.bin\)"),
        ({"config.json": b"{}"}, "no weights as safetensors. Only"),
    ],
)
def test_other_formats_are_refused_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], held: str
) -> None:
    hub.repos[NAME] = files
    with pytest.raises(HubError, match=held):
        fetch(tmp_path)
    assert hub.sent == []


def test_a_model_for_which_the_disk_has_no_room_is_not_begun(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"0\.0 GB are free for it"):
        fetch(tmp_path, free_gb=1e9)
    assert hub.sent == []


def test_a_machine_without_a_network_says_so(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="does not answer from here, or this machine is offline"):
        fetch(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="no hub is reached from here"):
        fetch(tmp_path)
