"""Reasons for which a pair is asked, in plain words, for those who run the project.

The labelling side says how the queue offers the pair; it sends `reasons_wanted` with `pair`, and
whoever ranked the pair answers with further sentences.
"""

from __future__ import annotations

from django.dispatch import Signal

from annotate.models import Pair
from annotate.statistics.share_text import percent

reasons_wanted = Signal()

ALONE = {
    Pair.Arms.RANDOM: "Only random order may offer it: it measures, so nothing chooses it.",
    Pair.Arms.EVALUATION: "It compares two policies and is offered by its own share.",
    Pair.Arms.CHECK: "It checks people whose answers are known, and is offered by its own share.",
}


def reasons(pair: Pair) -> list[str]:
    """Sentences on how the queue offers this pair, and why."""
    if pair.state != Pair.State.OPEN:
        return [f"It is not asked: {pair.get_state_display().lower()}."]
    if pair.arms in ALONE:
        return [ALONE[Pair.Arms(pair.arms)]]
    told = [*_place(pair)]
    for _, more in reasons_wanted.send(sender=Pair, pair=pair):
        told += more or []
    return told


def _place(pair: Pair) -> list[str]:
    """The pair's place in the active order, and how often that order is drawn."""
    ranked = pair.project.pairs.filter(
        open_slots__gt=0, arms__in=(Pair.Arms.BOTH, Pair.Arms.ACTIVE), priority__gt=0
    )
    share = pair.project.random_share
    if pair.priority <= 0 or not ranked.exists():
        return ["Nothing ranks it: it comes in random order, each pair as likely as any other."]
    place = ranked.filter(priority__gt=pair.priority).count() + 1
    told = [
        f"Place {place:,} of {ranked.count():,} in the order of {pair.project.ranked_by}.",
        f"A lease comes from this order with probability {percent(1 - share, 0)}.",
    ]
    if pair.arms == Pair.Arms.BOTH:
        told.append(
            f"With probability {percent(share, 0)} it is drawn at random instead, where each pair "
            "is as likely as any other."
        )
    return told
