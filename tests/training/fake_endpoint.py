"""A server in this process that speaks OpenAI's chat completions, and can fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.training.local_server import LocalServer, answering

Failure = tuple[int, dict[str, str], bytes]


class Server(LocalServer):
    """Answers with the model, the seed and the last message; first with `failures`, one each
    (None: no failure)."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failures: list[Failure | None] = []
        self.fails: Callable[[dict[str, Any]], Failure | None] = lambda body: None
        """A failure by what is asked."""
        self.says: Callable[[dict[str, Any]], str] = said
        self.tells_logprobs = True
        self.models: list[str] = ["desk", "old-desk"]
        self.together = self.most_together = 0
        self.lock = threading.Lock()
        self.open = threading.Event()
        """Cleared: requests wait for it."""
        self.open.set()

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


def said(body: dict[str, Any]) -> str:
    return f" {body['model']} {body['seed']} {body['messages'][-1]['content']}"


@contextmanager
def running() -> Iterator[Server]:
    with answering(Server()) as server:
        yield server
        server.open.set()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        listed = {"data": [{"id": name} for name in self.server.models]}
        self.answer(json.dumps(listed).encode())

    def do_POST(self) -> None:
        server = self.server
        length = int(self.headers["Content-Length"])
        sent = self.rfile.read(length)
        if len(sent) < length:
            return  # the client was killed meanwhile
        body = json.loads(sent)
        with server.lock:
            server.asked.append(body | {"path": self.path})
            server.keys.append(self.headers.get("Authorization"))
            failure = server.failures.pop(0) if server.failures else server.fails(body)
            server.together += 1
            server.most_together = max(server.most_together, server.together)
        server.open.wait(30)
        text = server.says(body)
        try:
            if failure is not None:
                self.answer(failure[2], failure[0], failure[1])
            elif body.get("stream"):
                self.answer(b"".join(events(text)))
            else:
                self.answer(json.dumps(self.completion(text)).encode())
        except BrokenPipeError:
            """The client was killed meanwhile."""
        finally:
            with server.lock:
                server.together -= 1

    def completion(self, text: str) -> dict[str, Any]:
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        logprobs = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
        told = {"logprobs": logprobs} if self.server.tells_logprobs else {}
        usage = {"prompt_tokens": 7, "completion_tokens": len(text.split())}
        return {"choices": [choice | told], "usage": usage}

    def answer(self, data: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def events(text: str) -> Iterator[bytes]:
    first = {"choices": [{"delta": {"role": "assistant"}}]}
    pieces = [{"choices": [{"delta": {"content": word + " "}}]} for word in text.split()]
    for data in (first, *pieces, {"choices": []}):
        yield b"data: " + json.dumps(data).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"
