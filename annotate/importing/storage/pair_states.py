"""Pairs while rows are joined into them: who voted what, seen from the side that was first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from annotate.importing.imported_row import Judgement
from annotate.importing.storage.same_pair import Side

TURNED = {"a": "b", "b": "a"}


@dataclass(slots=True)
class Cast:
    """A vote that is stored, or with a `judgement` one to be stored or changed."""

    choice: str
    strength: int | None
    id: int | None = None
    judgement: Judgement | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Values its row has for the pair that differ from the pair's own."""

    def is_repeated_by(self, judgement: Judgement) -> bool:
        """True when the judgement says nothing new."""
        same = judgement.strength is None or judgement.strength == self.strength
        return judgement.choice == self.choice and same


@dataclass(slots=True)
class PairState:
    """A pair as it will be; `id` is None while it is to be added."""

    key: str
    a: Side
    b: Side
    prompt: str
    id: int | None = None
    source_ids: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    margin: float | None = None
    imported_by: int | None = None
    is_open: bool = True
    is_decided: bool = False
    """A reviewer has decided the pair."""
    votes: dict[int, Cast] = field(default_factory=dict)
    """By annotator, in the order in which they were cast."""
    fresh: list[int] = field(default_factory=list)
    """Annotators whose votes this batch adds."""
    is_judged: bool = False
    """This batch has votes on it, new or not, that are to be labels."""
    is_described_anew: bool = False

    is_revised: bool = False
    """A stored vote is to be changed."""

    @property
    def is_recounted(self) -> bool:
        """True when the rules have to say anew what the votes of a stored pair amount to."""
        return bool(self.fresh) or self.is_revised or (self.is_judged and self.is_open)

    @property
    def is_touched(self) -> bool:
        return self.is_recounted or self.is_described_anew

    def kept(self, missing: int) -> list[Any]:
        """The state as JSON, from which `of_kept` makes it again; `missing` numbers new rows."""
        votes = [
            [annotator, one.choice, one.strength, one.id or missing, one.extra]
            for annotator, one in self.votes.items()
        ]
        described = [self.source_ids, self.tags, self.metadata, self.margin]
        rest = [self.imported_by, self.is_open, self.is_decided]
        return [self.key, self.a, self.b, self.prompt, self.id or missing, *described, *rest, votes]

    @classmethod
    def of_kept(cls, kept: list[Any]) -> PairState:
        key, a, b, prompt, *rest, votes = kept
        state = cls(key, tuple(a), tuple(b), prompt, *rest)
        for annotator, choice, strength, number, extra in votes:
            state.votes[annotator] = Cast(choice, strength, id=number, extra=extra)
        return state

    @property
    def of_one_text(self) -> bool:
        return self.a[0] == self.b[0]

    def described(self) -> dict[str, Any]:
        """Columns that a later row may add to."""
        return {
            "source_ids": [*self.source_ids],
            "tags": [*self.tags],
            "metadata": {**self.metadata},
            "source_margin": self.margin,
        }


def turned(judgement: Judgement) -> Judgement:
    """The judgement with A and B exchanged."""
    return Judgement(
        choice=TURNED.get(judgement.choice, judgement.choice),  # type: ignore[arg-type]  # Of literals.
        rater=judgement.rater,
        strength=judgement.strength,
        left=TURNED.get(judgement.left, ""),  # type: ignore[arg-type]  # Of literals.
        at=judgement.at,
        wall_ms=judgement.wall_ms,
        criteria={name: TURNED.get(side, side) for name, side in judgement.criteria.items()},
        criteria_asked=judgement.criteria_asked,
        comment=judgement.comment,
        reasons=judgement.reasons,
        metadata=judgement.metadata,
        weight=judgement.weight,
        sums_up=judgement.sums_up,
    )
