"""The settings of a round that was started, and what it took, for its page."""

from __future__ import annotations

from dataclasses import dataclass

from training.figures.number_format import number
from training.models import Round
from training.plans import expected_cost
from training.plans.shown_settings import SHOWN, flat, worded
from training.rlhf.config import PRESETS, RoundConfig, differing, to_dict


@dataclass(frozen=True, kw_only=True)
class Change:
    """A setting that is another one than before."""

    name: str
    title: str
    before: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """The settings of a round by what is worth knowing of them."""

    preset: str
    chosen: list[tuple[str, str]]
    since: int | None
    """Number of the round before, which it is compared with; None for the first."""
    changed: list[Change]
    """Since the round before."""
    unusual: list[Change]
    """From the engine's defaults."""
    expected: dict[str, float | None]
    took: dict[str, float | None]


def record(round_: Round) -> Record:
    """The settings of a round beside those of the round before and the defaults."""
    preset = PRESETS.get(round_.preset)
    before = Round.objects.filter(project=round_.project, number__lt=round_.number).first()
    return Record(
        preset=preset.title if preset else "",
        chosen=[(name, worded(value)) for name, value in flat(round_.chosen)],
        since=before.number if before else None,
        changed=_changes(before.config, round_.config) if before else [],
        unusual=_changes(to_dict(RoundConfig()), round_.config),
        expected={name: number(round_.estimate.get(name)) for name in ("seconds", "memory_gib")},
        took={
            "seconds": expected_cost.took_seconds(round_),
            "memory_gib": expected_cost.peak_gib(round_),
        },
    )


def _changes(before: dict[str, object], now: dict[str, object]) -> list[Change]:
    return [
        Change(
            name=name,
            title=SHOWN[name].title if name in SHOWN else "",
            before=_one(name, was),
            now=_one(name, is_),
        )
        for name, (was, is_) in differing(before, now).items()
    ]


def _one(name: str, value: object) -> str:
    return worded(value, SHOWN[name].unit if name in SHOWN else "")
