"""Replies from a server that speaks OpenAI's chat completions: vLLM, `transformers serve`, others.

Torch-free. Only fields of OpenAI's own schema are sent, because some servers refuse all others.
"""

from __future__ import annotations

import email.utils
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import EndpointConfig
from training.rlhf.rows import Message

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers after which asking again may help."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between two tries: doubled each time, shortened at random by up to a half."""
MOST_ASKED = 900.0
"""Seconds that are waited at most where a server asks for it (Retry-After)."""
ONE_REQUEST = (400, 413, 422, 451)
"""Answers that may be about this chat alone: too long, or not to be talked about."""
NEWER = "max_completion_tokens"
KEY = "PAIRLOOP_ENDPOINT_KEY"
CONNECT_SECONDS = 10.0

Tokens = Callable[[str, bool], list[int]]
"""The tokens of a reply, given its text and whether it ended by itself."""


class EndpointError(RuntimeError):
    """The server is absent, stays busy, refuses the request, or answers something else."""


class UnknownModel(EndpointError):
    """The server has no model of this name, or takes no chats at this address."""


class RequestRefused(EndpointError):
    """The server does not answer this chat; it may answer others."""


def key_name(host: str) -> str:
    """The variable that holds the key of one host: PAIRLOOP_ENDPOINT_KEY_API_EXAMPLE_ORG."""
    return f"{KEY}_{re.sub(r'[^A-Z0-9]', '_', host.upper())}"


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
        self._length = "max_tokens"
        self._jitter = random.Random()
        self._given_up = threading.Event()

    @property
    def _key(self) -> str:
        """This server's key: its host's own, else the one for all; "" without one."""
        return os.environ.get(self._own_key) or os.environ.get("PAIRLOOP_ENDPOINT_KEY", "")

    @property
    def _own_key(self) -> str:
        return key_name(urlsplit(self.config.url).hostname or "")

    def client(self) -> httpx2.Client:
        """Connections to the server, for `ask` and `models`."""
        # The key stands in no file and in no message.
        key, config = self._key, self.config
        return httpx2.Client(
            base_url=config.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(config.timeout, connect=CONNECT_SECONDS, pool=None),
            limits=httpx2.Limits(max_connections=config.concurrency),
            # A redirect would carry the chats, and perhaps the key, to a host nobody allowed.
            follow_redirects=False,
        )

    def ask(
        self,
        client: httpx2.Client,
        messages: Sequence[Message],
        settings: Settings,
        *,
        seed: int,
    ) -> Reply:
        """One reply; log-probabilities, which some servers refuse to tell, are not asked for.

        Raises:
            RequestRefused: this chat gets no answer.
            EndpointError: the server failed for good, or `give_up` was called meanwhile.
        """
        body = self._body(messages, settings, seed)
        body.pop("logprobs")
        return self._read(self._ask(client, body), seed)

    def give_up(self) -> None:
        """Have requests that wait for their next try end at once."""
        self._given_up.set()

    def models(self, client: httpx2.Client) -> list[str]:
        """Names of the models that the server offers; none where it does not list them.

        Raises:
            EndpointError: it cannot be reached, or wants another key.
        """
        try:
            response = client.get("models")
        except httpx2.TransportError as error:
            raise self._silent(error) from error
        if response.status_code in (401, 403):
            raise self._refused(response)
        try:
            return sorted(str(model["id"]) for model in response.json()["data"])
        except (ValueError, KeyError, TypeError):
            return []

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

        with self.client() as client, ThreadPoolExecutor(self.config.concurrency) as pool:
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
                self.client() as client,
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
            self._length: settings.max_new_tokens,
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
            usage = response.json().get("usage") or {}
            used = [int(usage.get(f"{name}_tokens") or 0) for name in ("prompt", "completion")]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(
                f"{self.config.url} answers no chat completion: "
                f"{self._hidden(response.text)[:200]!r}"
            ) from error
        # Byte-level vocabularies can spell NUL, which PostgreSQL stores in no text.
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return Reply(text, [], finished, logprobs, seed, *used)

    def _ask(self, client: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
        """The server's answer, asked for again while it is busy or cannot be reached.

        Raises:
            EndpointError: it refuses, or all tries are used up.
        """
        for tried in range(self.config.retries + 1):
            try:
                response = self._post(client, body)
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

    def _post(self, client: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
        """The server's answer; one that knows the length by its newer name alone is told that."""
        response = client.post("chat/completions", json=body)
        known = response.status_code != httpx2.codes.BAD_REQUEST or NEWER not in response.text
        if known or NEWER in body:
            return response
        self._length = NEWER
        body[NEWER] = body.pop("max_tokens")
        return client.post("chat/completions", json=body)

    def _wait(self, tried: int, asked: str | None) -> float:
        """Seconds before the next try; not all at once after a server came back."""
        if asked is not None and (seconds := _seconds(asked)) is not None:
            return min(seconds, MOST_ASKED)
        longest: float = min(FIRST_WAIT * 2.0**tried, LONGEST_WAIT)
        return longest * self._jitter.uniform(0.5, 1.0)

    def _silent(self, error: httpx2.TransportError) -> EndpointError:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return EndpointError(f"no server answers at {self.config.url}: {error}")
        if isinstance(error, httpx2.TimeoutException):
            return EndpointError(
                f"{self.config.url} took more than {self.config.timeout:g} seconds to reply: lower"
                " the requests at a time (endpoint.concurrency), or raise endpoint.timeout"
            )
        return EndpointError(f"{self.config.url} broke off: {error or type(error).__name__}")

    def _hidden(self, said: str) -> str:
        """The server's words without the key, which some repeat in their refusals."""
        return said.replace(self._key, "…") if self._key else said

    def _refused(self, response: httpx2.Response) -> EndpointError:
        said, code = self._hidden(_message(response))[:300], response.status_code
        if code in (401, 403):
            return EndpointError(
                f"{self.config.url} wants another key than {KEY} or {self._own_key} holds ({code}):"
                f" {said}"
            )
        if code == httpx2.codes.NOT_FOUND:
            return UnknownModel(
                f"{self.config.url} knows no model {self.model}, or no chat completions at this "
                f"address (404): {said}"
            )
        if response.is_redirect:
            return EndpointError(
                f"{self.config.url} sends requests on to another address ({code}), which is not "
                "followed: give the address itself"
            )
        if code in ONE_REQUEST:
            return RequestRefused(f"{self.config.url} refuses the request ({code}): {said}")
        verdict = "is busy" if code in BUSY else "refuses the request"
        return EndpointError(f"{self.config.url} {verdict} ({code}): {said}")


def _seconds(asked: str) -> float | None:
    """Retry-After as seconds from now: a number, or a date (RFC 9110, 10.2.3); None for others."""
    if asked.strip().isdigit():
        return float(asked)
    try:
        at = email.utils.parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - time.time())


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
    return " ".join(str(data).split())
