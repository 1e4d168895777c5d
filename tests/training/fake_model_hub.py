"""A hub of models on this machine: as much of its HTTP interface as a download uses."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.training.local_server import LocalServer, answering

COMMIT = "5ec0de" + "0" * 34
TOKEN = "hf_of_the_operator"
PIECE = 4096


class Hub(LocalServer):
    """Repositories by name, each a dictionary of files by their paths."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.closed: dict[str, str] = {}
        """Repositories that want the token: "gated", whose list of files everybody reads, or
        "private"."""
        self.tokens: list[str | None] = []
        self.sent: list[tuple[str, int]] = []
        """Files that were asked for, with the place from which on."""
        self.breaks_after: int | None = None
        """Bytes after which the connection of a large file breaks, once."""

    def add(self, name: str, folder: Path, **others: bytes) -> None:
        """Offer the files of a folder."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.repos[name] = files | others


def running() -> AbstractContextManager[Hub]:
    return answering(Hub())


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers.get("Authorization"))
        parts = self.path.partition("?")[0].strip("/").split("/")
        about = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if about else parts[:2])
        if (refusal := self.refusal(name, about=about)) is not None:
            self.refuse(*refusal)
        elif about:
            wanted = parts[5] if "revision" in parts else "main"
            if wanted in ("main", COMMIT):
                self.answer(self.about(name))
            else:
                self.refuse(404, "RevisionNotFound")
        else:
            self.send_file(name, "/".join(parts[4:]))

    def refusal(self, name: str, *, about: bool) -> tuple[int, str] | None:
        closed = self.server.closed.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if closed == "gated" and not known and not about:
            return 403, "GatedRepo"
        if name not in self.server.repos or (closed == "private" and not known):
            return 404, "RepoNotFound"
        return None

    def about(self, name: str) -> dict[str, Any]:
        files = self.server.repos[name].items()
        siblings = [{"rfilename": path, "size": len(data)} for path, data in files]
        told = {"id": name, "sha": COMMIT, "siblings": siblings, "tags": []}
        closed = self.server.closed.get(name)
        gated = "manual" if closed == "gated" else False
        return told | {"private": closed == "private", "gated": gated}

    def send_file(self, name: str, path: str) -> None:
        data = self.server.repos[name][path]
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
        start = int(asked.split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.server.sent.append((path, start))
        stop = self.server.breaks_after
        for at in range(start, len(data), PIECE):
            if stop is not None and at >= stop:
                self.server.breaks_after = None
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data[at : at + PIECE])

    def refuse(self, code: int, why: str) -> None:
        self.answer({"error": why}, code, {"X-Error-Code": why})

    def answer(
        self, body: dict[str, Any], code: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what was sent instead."""
