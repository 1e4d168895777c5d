"""A model hub on this machine: as much of its HTTP interface as an upload uses."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.training.local_server import LocalServer, answering


class Hub(LocalServer):
    """Keeps what was uploaded by repository and path; takes only this token."""

    token = "hf_secret"

    def __init__(self) -> None:
        super().__init__(Handler)
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.repos: dict[str, dict[str, bytes]] = {}


def running() -> AbstractContextManager[Hub]:
    return answering(Hub())


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if not self.known():
            self.refuse()
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in self.server.private
            self.server.private.setdefault(name, asked["visibility"] == "private")
            made = {"url": f"{self.server.url}/{name}", "name": name}
            self.answer(made, 409 if known else 200)
        elif self.path.startswith("/api/validate-yaml"):
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            self.answer({"files": [mode(one["path"]) for one in json.loads(body)["files"]]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self.answer({"transfer": "basic", "objects": self.places(json.loads(body))})
        else:
            self.commit(body)

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/")
        if not self.known():
            self.refuse()
        else:
            self.answer({"id": name, "private": self.server.private[name]})

    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def refuse(self) -> None:
        self.answer({"error": "Invalid username or password."}, 401)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.large[self.path.rpartition("/")[2]] = body
        self.answer({})

    def places(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            one | {"actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
            for one in asked["objects"]
        ]

    def commit(self, body: bytes) -> None:
        name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
        files = self.server.repos.setdefault(name, {})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        url = f"{self.server.url}/{name}/commit/abc"
        self.answer({"success": True, "commitOid": "abc", "commitUrl": url})

    def answer(self, found: dict[str, Any], code: int = 200) -> None:
        data = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what was uploaded instead."""


def mode(path: str) -> dict[str, Any]:
    kind = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": kind, "shouldIgnore": False}
