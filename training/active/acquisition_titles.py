"""The acquisitions that a project may choose, worded for people."""

from __future__ import annotations

from training.rlhf import acquire

TITLES = {
    "i-optimal": "I-optimal: what makes the predictions of all pairs surer",
    "fisher": "Fisher (D-optimal): what narrows the model most",
    "bald": "BALD: what the model itself is unsure of",
    "bal-pm": "BAL-PM: the same, on prompts that are new",
    "ensemble": "Ensemble: what several models disagree on",
    "margin": "Margin: the closest pairs",
    "random": "Random: no choice",
}


def acquisition_choices(**sent: object) -> list[tuple[str, str]]:
    """Name and title of each acquisition, in the order of the table."""
    return [(name, TITLES.get(name, name)) for name in acquire.ACQUISITIONS]
