"""Settings of evaluation, and of servers that write or judge replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.rlhf.config.config_file import require, require_at_least, require_positive


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """A server that speaks OpenAI's chat completions, such as vLLM or `transformers serve`. Its
    key, where it wants one, is in the environment: PAIRLOOP_ENDPOINT_KEY."""

    url: str
    """Up to and with the version: `http://gpu-host:8000/v1`."""
    model: str = ""
    """The server's name of the new policy; empty: its folder, for servers that load by path."""
    other: str = ""
    """The server's name of the policy it is compared with: the starter, or the one before."""
    concurrency: int = 16
    """Requests at a time. The server batches what comes together."""
    retries: int = 6
    """Of a request, while the server is busy or cannot be reached: with 6 about half a minute."""
    timeout: float = 300.0
    """Seconds that one reply may take, waiting for its turn on the server included."""

    def __post_init__(self) -> None:
        require(
            self.url.startswith(("http://", "https://")), "endpoint.url must begin with http(s)://"
        )
        require(self.concurrency >= 1, "endpoint.concurrency must be at least 1")
        require(self.retries >= 0, "endpoint.retries must not be negative")
        require(self.timeout > 0, "endpoint.timeout must be positive")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """A model that reads two replies and says which is better: local, or behind a server."""

    path: str = ""
    """Folder or hub id of an instruction-tuned policy; it takes the likelier of A and B."""
    endpoint: EndpointConfig | None = None
    """A server instead, asked for one letter; `model` is its name of the judge."""

    def __post_init__(self) -> None:
        require(bool(self.path) != bool(self.endpoint), "judge needs either path or endpoint")
        named = self.endpoint is None or bool(self.endpoint.model)
        require(named, "judge.endpoint needs model, the server's name of the judge")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """New policy against the one before it, or any models beside each other, on test prompts."""

    prompts: int = 200
    """Held-out prompts that the new policy and the one before it answer: more narrow the
    intervals."""
    temperature: float = 0.7
    """Higher: replies differ more."""
    max_new_tokens: int = 64
    """Longer replies are cut off there and count as broken."""
    batch_size: int = 64
    """Replies that are written together; fewer take less memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the policies' weights while they write; auto takes what suits the model
    and the device."""
    samples: int = 12
    """Examples kept for people to read. All replies are in replies.jsonl."""
    endpoint: EndpointConfig | None = None
    """Endpoint that writes the replies; None: this process. It measures them in either case."""
    judge: JudgeConfig | None = None
    """Reads the replies itself, beside the reward models, which score them one by one."""
    resamples: int = 1000
    """Bootstrap draws behind the intervals; 0 leaves those of shares, which need none."""

    refusals: tuple[str, ...] = ()
    """Phrases that replies in other languages refuse with; the built-in ones are English."""

    def __post_init__(self) -> None:
        require(all(map(str.strip, self.refusals)), "evaluate.refusals must hold no empty phrase")
        require_at_least(1, "evaluate", self, "prompts", "max_new_tokens", "batch_size")
        require_at_least(0, "evaluate", self, "samples", "resamples")
        require_positive("evaluate", self, "temperature")
