"""Datasets by name: fetched by a worker, part by part, and read as a folder of files is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from django.core.management import CommandError, call_command
from huggingface_hub import constants, file_download

from annotate.importing import Unreadable, limits
from annotate.jobs import import_actions
from annotate.jobs.datasets_by_name import Listed, choose, fetch, named
from annotate.jobs.import_actions import stage
from annotate.jobs.upload_files import Refusal, fetched_path
from tests.annotate.jobs.files import lines, pair, work_off

FILES = {
    "README.md": b"A set of pairs.",
    "data/train.jsonl": lines(pair(0), pair(1)),
    "data/test.jsonl": lines(pair(2)),
    "harmless/train.jsonl": lines(pair(3)),
}


@pytest.fixture
def root(settings, tmp_path: Path) -> Path:
    """Import roots that hold a copy of the dataset lab/pairs."""
    for name, content in FILES.items():
        path = tmp_path / "lab" / "pairs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    settings.IMPORT_ROOTS = [str(tmp_path)]
    return tmp_path


class Hub(BaseHTTPRequestHandler):
    """The two calls of the hub that fetching a dataset takes."""

    keys: ClassVar[list[str | None]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.keys.append(self.headers["Authorization"])
        if path.startswith("/api/datasets/lab/pairs"):
            siblings = [{"rfilename": name, "size": len(of)} for name, of in FILES.items()]
            configs = [{"config_name": "plain", "data_files": "data/*"}]
            body = {"id": "lab/pairs", "sha": "a" * 40, "siblings": siblings}
            self._answer(json.dumps(body | {"cardData": {"configs": configs}}).encode())
        elif path.startswith("/datasets/lab/pairs/resolve/"):
            self._answer(FILES[path.split("/", 6)[6]])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:x}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch) -> Iterator[str]:
    """A hub on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
    }.items():
        monkeypatch.setattr(constants, name, value)
        if hasattr(file_download, name):
            monkeypatch.setattr(file_download, name, value)
    yield address
    server.shutdown()
    server.server_close()


def test_a_dataset_is_fetched_from_the_hub_by_its_config_and_split(hub, home, tmp_path):
    told: list[float] = []
    to = fetch(named("lab/pairs", "plain", "train"), tmp_path / "x", told.append, with_token=True)
    assert (to / "data/train.jsonl").read_bytes() == FILES["data/train.jsonl"]
    held = list(to.rglob("*.jsonl"))
    assert len(held) == 1 and told == [0.0]
    with pytest.raises(Unreadable, match=r"no config 'other'\. It has: plain"):
        fetch(named("lab/pairs", "other"), tmp_path / "y", told.append, with_token=True)
    with pytest.raises(Unreadable, match="hub has no dataset lab/none"):
        fetch(named("lab/none"), tmp_path / "z", told.append, with_token=True)


@pytest.mark.parametrize("allowed", [False, True])
def test_the_operators_token_opens_datasets_for_admins_only_where_the_operator_says_so(
    allowed, hub, home, settings, monkeypatch, project, zed
):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_operator")
    settings.HUB_PRIVATE = allowed
    Hub.keys.clear()
    import_actions.take_dataset(project, zed, named("lab/pairs", "plain", "train"))
    work_off()
    assert set(Hub.keys) == ({"Bearer hf_of_the_operator"} if allowed else {None})


def test_offline_one_sentence_says_so(monkeypatch, home, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreadable, match=r"offline\. Import a copy of its files instead"):
        fetch(named("lab/pairs"), tmp_path / "x", lambda share: None, with_token=True)


def test_an_admin_imports_a_dataset_by_name_on_the_page(client_for, project, zed, root):
    client = client_for(zed)
    answer = client.post(
        "/projects/desk/import/", {"dataset": "lab/pairs", "config": "data", "split": "test"}
    )
    import_ = project.imports.get()
    work_off()
    assert "Import 1 pair" in client.get(answer["Location"]).text
    client.post(answer["Location"] + "start/", {})
    work_off()
    import_.refresh_from_db()
    assert stage(import_) == "done" and project.pairs.count() == 1
    assert not fetched_path(import_).exists()
    assert (root / "lab/pairs/data/test.jsonl").exists()
    assert "OWNER/NAME" in client.post("/projects/desk/import/", {"dataset": "../etc"}).text


def test_a_program_imports_a_dataset_by_name(client_for, project, zed, root):
    client = client_for(zed)
    address = "/api/v1/projects/desk/imports/"
    body = {"dataset": "lab/pairs", "split": "train", "auto": True}
    answer = client.post(address, body, content_type="application/json")
    assert answer.status_code == 202, answer.text
    work_off()
    assert project.pairs.count() == 3
    for wrong in (
        {"dataset": "a b"},
        {"server_file": "x", "split": "train"},
        {**body, "split": "/"},
    ):
        assert client.post(address, wrong, content_type="application/json").status_code == 400


def test_a_command_imports_a_dataset_by_name_and_leaves_no_copy(project, root, home):
    call_command("import_data", dataset="lab/pairs", split="train", project=project.slug)
    assert project.pairs.count() == 3
    assert not any((home / "datasets").iterdir())
    with pytest.raises(CommandError, match="no files of a split 'valid'"):
        call_command("import_data", dataset="lab/pairs", split="valid", project=project.slug)


def test_what_is_fetched_already_is_not_fetched_again(project, zed, root):
    import_ = import_actions.take_dataset(project, zed, named("lab/pairs", "data"))
    work_off()
    for path in (root / "lab/pairs/data").iterdir():
        path.unlink()
    import_.refresh_from_db()
    import_actions.map_columns(import_, {"id": ""})
    work_off()
    import_.refresh_from_db()
    assert import_.report["check"]["report"]["rows"] == 3


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "a b", "x/..", "https://elsewhere.org/x"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(Refusal, match="OWNER/NAME"):
        named(name)


def test_a_set_that_is_too_large_is_refused_before_anything_is_sent():
    files = [Listed(f"data/part-{i}.parquet", 30_000_000_000) for i in range(2)]
    with pytest.raises(Unreadable, match="Choose a config or a split"):
        choose(files, {}, named("lab/pairs"))
    assert limits.MAX_FILE < 30_000_000_000
