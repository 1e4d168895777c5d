"""Settings of the check of a model that somebody brings along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.rlhf.config.config_file import require, require_at_least
from training.rlhf.config.evaluate_config import EndpointConfig
from training.rlhf.config.job_config import Job


@dataclass(frozen=True, kw_only=True)
class CheckJob(Job):
    """`check`: whether a model loads, writes and stops by itself, and what it needs. It is named in
    one of three ways: `model`, `hub` or `endpoint`."""

    model: str = ""
    """A folder of this machine."""
    hub: str = ""
    """A repository of the hub, as `owner/name`; it is fetched to `keep`."""
    revision: str = ""
    """Branch, tag or commit of the hub; empty: the newest. The commit that it is now is kept."""
    keep: str = ""
    """Folder below which models of the hub are kept; one that is there is not fetched again."""
    private: bool = False
    """Whether HF_TOKEN may open what is not public."""
    endpoint: EndpointConfig | None = None
    """A server instead, which writes and is never trained."""
    kind: Literal["", "policy", "reward"] = ""
    """What the model has to be; empty: what its files say."""
    trained: bool = False
    """Whether rounds shall train it: it then needs a chat template."""
    roots: tuple[str, ...] = ()
    """Folders; with any, all files of the model and of what it adapts lie below them."""
    prompts: str = ""
    """Prompts as for `ppo`; the first three are answered. Empty: a prompt of a support desk."""
    max_new_tokens: int = 256
    temperature: float = 0.7
    free_gb: float = 1.0
    """Gigabytes of the disk that stay free when a model is fetched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [bool(self.model), bool(self.hub), self.endpoint is not None]
        require(sum(named) == 1, "check needs one of model, hub and endpoint")
        require(not self.hub or bool(self.keep), "check of a hub's model needs keep")
        require_at_least(1, "check", self, "max_new_tokens")
