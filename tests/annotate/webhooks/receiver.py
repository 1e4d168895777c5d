"""A receiver of webhooks in a thread of this process, which answers what it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from annotate.models import Project, Webhook, WebhookEvent


class Receiver(HTTPServer):
    """What came is in `got`: (path, headers, body). `status`, `body` and the rest is answered."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], str]] = []
        self.status, self.body, self.location, self.pause = 200, b"thanks", "", 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((self.path, headers, body))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        if self.server.pause:
            for byte in self.server.body:
                time.sleep(self.server.pause)
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(self.server.body)

    def handle(self) -> None:
        # Whoever asked may be gone before the answer is.
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def hook_of(project: Project, url: str = "https://hooks.example/", **columns: Any) -> Webhook:
    """A webhook that wants every event."""
    given = {"events": list(WebhookEvent.values), "site": "https://pairs.example", **columns}
    return Webhook.objects.create(project=project, url=url, **given)
