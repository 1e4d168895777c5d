"""One row of a file once it is understood: a prompt, replies to it, and what people said of them.

Shapes make rows, storage writes them; neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from annotate.models.content import Messages, messages_sha256, prompt_sha256, text_sha256

Choice = Literal["a", "b", "tie", "both_bad"]
Side = Literal["", "a", "b"]


@dataclass(frozen=True)
class Rating:
    """Somebody's word on one reply by itself. `label` is 1 for good and 0 for bad."""

    name: str
    value: float
    rater: str = ""


@dataclass(frozen=True)
class Reply:
    """A completion and the model that wrote it, when the row names one.

    `messages` are its turns where it is more than one text of the assistant (several turns, tool
    calls, thinking); `text` then reads them one after the other.
    """

    text: str
    model: str = ""
    messages: Messages | None = None
    ratings: Sequence[Rating] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return messages_sha256(self.messages) if self.messages else text_sha256(self.text)


@dataclass(frozen=True)
class Judgement:
    """One person's vote as the source knows it; what it does not say is None or empty."""

    choice: Choice
    rater: str = ""
    """The source's name of the person; empty where it names nobody."""
    strength: int | None = None
    """0 to 3, as Assignment.strength."""
    left: Side = ""
    at: datetime | None = None
    wall_ms: int | None = None
    criteria: Mapping[str, str] = field(default_factory=dict)
    """Name of a criterion -> a, b or tie."""
    criteria_asked: str = ""
    """As Assignment.criteria_asked."""
    comment: str = ""
    reasons: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    weight: float | None = None
    """Of its author, where the row says it."""
    sums_up: bool = False
    """It is what several votes come to together, as our own exports of pairs say it."""


@dataclass(frozen=True)
class Comparison:
    """Two of the row's replies, by their places in it, and the votes on them."""

    a: int
    b: int
    judgements: Sequence[Judgement] = ()
    source_id: str = ""
    """The source's own name of the pair: two rows with different names are two pairs."""
    margin: float | None = None
    """The winner's lead, on the source's own scale."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One accepted row."""

    messages: Messages
    replies: Sequence[Reply] = ()
    comparisons: Sequence[Comparison] = ()
    tools: list[Any] | None = None
    reference: str = ""
    tags: Sequence[str] = ()
    """Of the pairs; where the row has none, of the prompt."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Columns that nothing reads. Kept with the pairs, else the replies, else the prompt."""
    warnings: Sequence[tuple[str, str]] = ()
    """Field and reason."""

    @property
    def prompt_sha256(self) -> str:
        return prompt_sha256(self.messages, self.tools)
