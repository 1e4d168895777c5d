"""Replies from a server that speaks OpenAI's chat completions: vLLM, `transformers serve`, others.

Torch-free. Only fields of OpenAI's own schema are sent, because some servers refuse all others.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np

from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import EndpointConfig
from training.rlhf.rows import Message

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers after which asking again may help."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between two tries: doubled each time, shortened at random by up to a half."""
CONNECT_SECONDS = 10.0

Tokens = Callable[[str, bool], list[int]]
"""The tokens of a reply, given its text and whether it ended by itself."""


class EndpointError(RuntimeError):
    """The server is absent, stays busy, refuses the request, or answers something else."""


class Endpoint:
    """A model behind a server."""

    def __init__(
        self,
        config: EndpointConfig,
        model: str,
        *,
        tokens: Tokens | None = None,
        template: Mapping[str, bool] | None = None,
    ) -> None:
        """Args:
        model: the name by which the server knows it.
        tokens: how texts become tokens, where the server does not say; without, there are none.
        template: switches of the chat template, for servers that know the field.
        """
        self.config, self.model = config, model
        self._tokens, self._template = tokens, dict(template or {})
        self._jitter = random.Random()
        self._given_up = threading.Event()

    def _client(self) -> httpx2.Client:
        # The key stands in no file and in no message.
        key, config = os.environ.get("PAIRLOOP_ENDPOINT_KEY"), self.config
        return httpx2.Client(
            base_url=config.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(config.timeout, connect=CONNECT_SECONDS, pool=None),
            limits=httpx2.Limits(max_connections=config.concurrency),
        )

    def reply(
        self, chats: Sequence[Sequence[Message]], settings: Settings, *, seed: int
    ) -> list[Reply]:
        """One reply to each chat, `concurrency` at a time; each has a seed of its own.

        Raises:
            EndpointError: a request failed for good; those that still wait are not sent.
        """
        seeds = np.random.default_rng(seed).integers(2**31, size=len(chats)).tolist()
        failures: list[BaseException] = []
        self._given_up.clear()

        def one(messages: Sequence[Message], own: int) -> Reply:
            if failures:
                raise failures[0]
            try:
                response = self._ask(client, self._body(messages, settings, own))
                return self._read(response, own)
            except BaseException as error:
                failures.append(error)
                self._given_up.set()  # no other request waits any longer for its next try
                raise

        with self._client() as client, ThreadPoolExecutor(self.config.concurrency) as pool:
            replies = list(pool.map(one, chats, seeds))
        if self._tokens is None:
            return replies
        # Here, because a tokenizer has settings that change with the call: not for many threads.
        return [replace(r, ids=self._tokens(r.text, r.finished)) for r in replies]

    def stream(
        self, messages: Sequence[Message], settings: Settings, *, seed: int
    ) -> Iterator[str]:
        """The pieces of one reply as they are written. A reply that broke off is not asked again.

        Raises:
            EndpointError: the server does not answer, or no longer.
        """
        body = self._body(messages, settings, seed) | {"stream": True}
        body.pop("logprobs")
        try:
            with (
                self._client() as client,
                client.stream("POST", "chat/completions", json=body) as response,
            ):
                if response.status_code != httpx2.codes.OK:
                    response.read()
                    raise self._refused(response)
                yield from _pieces(response.iter_lines())
        except httpx2.TransportError as error:
            raise self._silent(error) from error

    def _body(self, messages: Sequence[Message], settings: Settings, seed: int) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": [_to_send(message) for message in messages],
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": seed,
            "logprobs": True,
        }
        return body | ({"chat_template_kwargs": self._template} if self._template else {})

    def _read(self, response: httpx2.Response, seed: int) -> Reply:
        try:
            choice = response.json()["choices"][0]
            text = str(choice["message"]["content"] or "")
            finished = choice["finish_reason"] == "stop"
            logprobs = [float(one["logprob"]) for one in _logprobs(choice)]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(
                f"{self.config.url} answers no chat completion: {response.text[:200]!r}"
            ) from error
        # Byte-level vocabularies can spell NUL, which PostgreSQL stores in no text.
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return Reply(text, [], finished, logprobs, seed)

    def _ask(self, client: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
        """The server's answer, asked for again while it is busy or cannot be reached.

        Raises:
            EndpointError: it refuses, or all tries are used up.
        """
        for tried in range(self.config.retries + 1):
            try:
                response = client.post("chat/completions", json=body)
            except httpx2.TransportError as error:
                failure, asked_to_wait = self._silent(error), None
            else:
                if response.status_code == httpx2.codes.OK:
                    return response
                failure = self._refused(response)
                asked_to_wait = response.headers.get("Retry-After")
                if response.status_code not in BUSY:
                    break
            if tried < self.config.retries and self._given_up.wait(
                self._wait(tried, asked_to_wait)
            ):
                break
        raise failure

    def _wait(self, tried: int, asked: str | None) -> float:
        """Seconds before the next try; not all at once after a server came back."""
        if asked is not None and asked.isdigit():
            return min(float(asked), LONGEST_WAIT)
        longest: float = min(FIRST_WAIT * 2.0**tried, LONGEST_WAIT)
        return longest * self._jitter.uniform(0.5, 1.0)

    def _silent(self, error: httpx2.TransportError) -> EndpointError:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return EndpointError(f"no server answers at {self.config.url}: {error}")
        if isinstance(error, httpx2.TimeoutException):
            return EndpointError(
                f"{self.config.url} took more than {self.config.timeout:g} seconds to reply: raise"
                " endpoint.timeout, or lower endpoint.concurrency"
            )
        return EndpointError(f"{self.config.url} broke off: {error or type(error).__name__}")

    def _refused(self, response: httpx2.Response) -> EndpointError:
        said, code = _message(response), response.status_code
        if code in (401, 403):
            return EndpointError(
                f"{self.config.url} wants another key than PAIRLOOP_ENDPOINT_KEY "
                f"holds ({code}): {said}"
            )
        verdict = "is busy" if code in BUSY else "refuses the request"
        return EndpointError(f"{self.config.url} {verdict} ({code}): {said}")


def _logprobs(choice: dict[str, Any]) -> list[dict[str, Any]]:
    return (choice.get("logprobs") or {}).get("content") or []


def _to_send(message: Message) -> dict[str, str]:
    """A tool's result as the user's: servers refuse one without the call, which is text here."""
    role = "user" if message["role"] == "tool" else message["role"]
    return {"role": role, "content": message["content"]}


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """The texts in a stream of server-sent events."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if data == line.strip() or data == "[DONE]":
            continue
        try:
            choices = json.loads(data)["choices"]
            piece = choices[0]["delta"].get("content") if choices else None
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(f"the server streams no chat completion: {data[:200]!r}") from error
        if piece:
            yield str(piece)


def _message(response: httpx2.Response) -> str:
    """The server's own words, in whatever form it sends them, on one line."""
    try:
        data = response.json()
    except ValueError:
        data = response.text
    for name in ("error", "detail", "message"):
        data = data.get(name, data) if isinstance(data, dict) else data
    return " ".join(str(data).split())[:300]
