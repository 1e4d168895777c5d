"""Agreement that other projects reported, to read ours beside it.

There are no marks for good and bad: on subjective pairs people rightly disagree, and the
customary thresholds of kappa come from tasks with one true answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from annotate.statistics.agreement import Agreement
from annotate.statistics.share_text import percent, percent_range

ENOUGH = 200
"""Pairs below which the interval is too wide to say anything (about 6 points each way)."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published share of pairs on which two people agree."""

    name: str
    share: float
    half_width: float
    source: str

    @property
    def low(self) -> float:
        return self.share - self.half_width

    @property
    def high(self) -> float:
        return self.share + self.half_width


FIGURES = (
    Figure(
        name="InstructGPT, training labelers",
        share=0.726,
        half_width=0.015,
        source="Ouyang et al. 2022, section 3.4",
    ),
    Figure(
        name="InstructGPT, held-out labelers",
        share=0.773,
        half_width=0.013,
        source="Ouyang et al. 2022, section 3.4",
    ),
    Figure(
        name="Summaries, researchers among themselves",
        share=0.73,
        half_width=0.04,
        source="Stiennon et al. 2020, section 3.3",
    ),
    Figure(
        name="Summaries, labelers with researchers",
        share=0.77,
        half_width=0.02,
        source="Stiennon et al. 2020, section 3.3",
    ),
)
LOWEST = min(figure.low for figure in FIGURES)
HIGHEST = max(figure.high for figure in FIGURES)


def reading(ours: Agreement) -> list[str]:
    """Sentences on what the figures say."""
    raw, alpha = ours.values["raw"], ours.values["alpha_nominal"]
    if raw is None:
        return ["There is nothing to measure yet: no pair has votes of two people."]
    sentences = [f"Of two people, both gave the same answer on {percent(raw)} of the pairs."]
    if alpha is not None:
        sentences.append(
            f"Corrected for chance that is {alpha:.2f}: 0 would be guessing, 1 full agreement."
        )
    return [*sentences, _beside_others(ours)]


def _beside_others(ours: Agreement) -> str:
    interval = ours.intervals["raw"]
    if ours.pairs < ENOUGH or interval is None:
        return (
            f"With {ours.pairs} pairs this can still move a lot; "
            f"ask for at least {ENOUGH} before you judge it."
        )
    low, high = interval
    span = percent_range(LOWEST, HIGHEST, 0)
    if high < LOWEST:
        return (
            f"That is below what comparable projects published ({span}). Look at the hardest "
            "pairs: guidelines that leave a question open show there first."
        )
    if low > HIGHEST:
        return f"That is above what comparable projects published ({span}): the pairs are clear."
    return f"That is in the range of what comparable projects published ({span})."
