"""Settings of completions that people will compare, written by servers or by models here."""

from __future__ import annotations

from dataclasses import dataclass

from training.rlhf.config.config_file import require, require_at_least
from training.rlhf.config.evaluate_config import EndpointConfig
from training.rlhf.config.job_config import Job


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """A model that writes: behind a server, or a folder that is loaded here."""

    name: str
    """By which its completions are known."""
    folder: str = ""
    """Model folder or hub id, where there is no endpoint."""
    endpoint: EndpointConfig | None = None
    """The server; `endpoint.model` is its name for the model."""

    def __post_init__(self) -> None:
        require(bool(self.name), "sources: each needs a name")
        require(
            bool(self.folder) != (self.endpoint is not None),
            f"sources: {self.name} needs a folder or an endpoint, and not both",
        )


@dataclass(frozen=True, kw_only=True)
class CompletionsJob(Job):
    """`complete`: completions for prompts and their pairs, kept reply by reply. Needs no training
    stack where all sources are endpoints."""

    prompts: str = ""
    """Prompts as for `ppo`; all of them are answered."""
    sources: tuple[SourceConfig, ...] = ()
    """One: pairs of its own samples. Two: pairs of one sample of each."""
    per_prompt: int = 2
    """Samples of each source for each prompt."""
    temperature: float = 0.9
    top_p: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 32
    """Of models here; endpoints have their `concurrency`."""
    held_out_share: float = 0.1
    list_models: bool = False
    """True when the servers' models are asked for; a source without one then writes nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, "complete", self, "per_prompt", "max_new_tokens", "batch_size")
        require_at_least(0, "complete", self, "temperature")
        require(0 < self.top_p <= 1, "top_p must lie in (0, 1]")
        names = [source.name for source in self.sources]
        require(len(names) <= 2, "sources: one or two")
        require(len(set(names)) == len(names), "sources: two of the same name cannot be told apart")


@dataclass(frozen=True, kw_only=True)
class AnnotateJob(Job):
    """`annotate`: votes of a model on pairs of replies, kept answer by answer. Needs no training
    stack where a server answers."""

    pairs: str = ""
    """Pairs as in a run directory, JSON lines; their own votes are not read."""
    endpoint: EndpointConfig | None = None
    """A chat model, asked about each pair in both orders; `endpoint.model` is its name."""
    reward_model: str = ""
    """Folder of a reward model instead, which votes for the reply that it scores higher."""
    principles: str = ""
    """The constitution that the chat model judges by."""
    per_minute: int = 60
    """Requests a minute at most."""
    most_requests: int = 0
    """Requests at most; 0: as many as it takes."""
    most_tokens: int = 0
    """Tokens in and out at most, by the server's count; 0: as many as it takes."""
    max_new_tokens: int = 16
    """Of an answer: a letter, or more for models that think before they answer."""
    batch_size: int = 32
    """Pairs that a reward model scores between two chances to stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one = bool(self.reward_model) != (self.endpoint is not None)
        require(one, "annotate needs either endpoint or reward_model")
        named = self.endpoint is None or bool(self.endpoint.model)
        require(named, "annotate.endpoint needs model, the server's name of the judge")
        require_at_least(1, "annotate", self, "per_minute", "max_new_tokens", "batch_size")
        require_at_least(0, "annotate", self, "most_requests", "most_tokens")
