"""Decide by a pair's counts: resolved, one more vote asked, or adjudication."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from annotate.models import Adjudication, Assignment, Label, Membership, Pair
from annotate.queue import slots
from annotate.queue.slots import SlotCounts
from annotate.statements import prepared
from annotate.statistics.aggregation import PLACE
from annotate.statistics.label_certainty import posterior
from annotate.votes import labels
from annotate.webhooks import outbox

TIES = 1 / 3
"""Share of pairs with no better side while nothing is known of it: A, tie and B are alike."""
TWO_AND_ONE = (2, 3, 2)
"""Votes wanted, at most, and equal ones that resolve: two, and a third where they differ."""
# The right-hand sides see the row as it was: while the state stays, so does its time.
SETTLED = """
    asked = asked - %(excess)s, open_slots = open_slots - %(excess)s,
    resolved_at = CASE WHEN state = %(state)s THEN resolved_at ELSE %(settled_at)s END,
    state = %(state)s
"""
SETTLE = f"UPDATE annotate_pair SET {SETTLED} WHERE id = %(pair)s"


def state_and_votes_asked(counts: SlotCounts, *, certain: bool | None = None) -> tuple[str, int]:
    """The state a pair's counts amount to, and the number of votes it should ask for.

    `certain` says whether the label is as probable as the project asks, which then decides in the
    place of the counts until the votes are at their limit; None where counts decide alone.
    """
    wanted, limit, agree = counts.wanted, counts.limit, counts.agree
    if counts.contradicts:
        wanted, limit, agree = TWO_AND_ONE
    enough = max(counts.n_a, counts.n_b, counts.n_tie) >= agree
    if not agree or (agree == 1 and counts.votes > 1):
        # The votes were there before the pair, or another was asked for though one is enough: the
        # most of them decide.
        counted = {"a": counts.n_a, "tie": counts.n_tie, "b": counts.n_b}
        enough = labels.majority(counted) != "split"
    if certain is not None:
        enough = certain or (enough and counts.votes >= limit)
    elif counts.votes < wanted:
        enough = False
    if counts.state == Pair.State.RETIRED:
        return Pair.State.RETIRED, counts.votes
    if enough:
        return Pair.State.RESOLVED, counts.votes
    if counts.votes >= limit:
        return Pair.State.ADJUDICATE, counts.votes
    return Pair.State.OPEN, max(wanted, min(counts.votes + 1, limit))


def certainty(counts: SlotCounts, *, voted: bool) -> bool | None:
    """The `certain` of `state_and_votes_asked`; votes are read only where a project stops early."""
    stop = counts.stop_when_certain
    if stop is None or not counts.agree or counts.kind not in Pair.TEACHING:
        return None
    if not voted:
        # Whatever is known about people by now: no vote has changed.
        return counts.state == Pair.State.RESOLVED
    second_opinion = counts.kind == Pair.Kind.OVERLAP or counts.contradicts
    if counts.votes < (2 if second_opinion else 1):
        return False
    return label_certainty(counts.id) >= stop


def label_certainty(pair_id: int) -> float:
    """P(label | votes), from 0 to 1, given how reliable those are who voted.

    The label is the class with most votes, so this agrees with what the votes amount to when they
    are counted: 0 where no class has more votes than every other, whoever is better.
    """
    crew = Membership.objects.filter(project=OuterRef("pair__project"))
    author = crew.filter(user=OuterRef("annotator"))
    # Everybody's estimate was made with the same share of ties.
    ties = crew.filter(estimate__isnull=False).values("estimate__prior__1")
    votes = Assignment.objects.filter(pair=pair_id).standing().order_by("seq")
    told = list(
        votes.values_list("choice", Subquery(author.values("reliability")[:1]), Subquery(ties[:1]))
    )
    counts = Counter(PLACE[choice] for choice, *_ in told).most_common(2)
    if not counts or (len(counts) > 1 and counts[0][1] == counts[1][1]):
        return 0.0
    share = TIES if told[0][2] is None else float(told[0][2])
    cast = [(choice, reliability) for choice, reliability, _ in told]
    return posterior(cast, share)[counts[0][0]]


def is_adjudicated(pair_id: int) -> bool:
    """True once a reviewer decided the pair: it stays resolved, whatever becomes of its votes."""
    return Adjudication.objects.filter(pair=pair_id).exists()


def follows_from_counts(pair: Pair) -> bool:
    """True where a vote's consequences are known from the pair's row, read with its project: no
    label has to be sure enough, and no reviewer has decided."""
    return pair.project.stop_when_certain is None and pair.state != Pair.State.RESOLVED


def settled(counts: SlotCounts) -> tuple[str, int]:
    """State of a pair whose fate its counts alone decide, and its slots that nobody needs."""
    state, wanted = state_and_votes_asked(counts)
    return state, min(counts.asked - wanted, counts.open_slots)


def resolve(counts: SlotCounts, *, voted: bool, now: datetime | None = None) -> None:
    """Open or withdraw slots so that the pair asks for what its counts call for.

    Sets its state and its label accordingly. A slot that somebody holds is never taken away.
    `voted` says that the votes themselves changed, so a label that stands has to be computed again.
    """
    if counts.state == Pair.State.RESOLVED and is_adjudicated(counts.id):
        return
    state, wanted = state_and_votes_asked(counts, certain=certainty(counts, voted=voted))
    excess = min(counts.asked - wanted, counts.open_slots)
    if excess or state != counts.state:
        at = (now or timezone.now()) if state != Pair.State.OPEN else None
        settled = {"pair": counts.id, "excess": excess, "state": str(state), "settled_at": at}
        prepared.execute(SETTLE, settled)
    follow(counts, state, voted=voted)


def follow(counts: SlotCounts, state: str, *, voted: bool) -> None:
    """Write what follows from a pair's new state: its label, and what webhooks are told."""
    if counts.kind in Pair.OUTSIDE_LABELS:
        return
    if voted and counts.has_webhooks and state == Pair.State.RESOLVED != counts.state:
        outbox.tell_resolved([counts.id])
    # A pair that was asked again kept its label, until a second vote leaves it undecided.
    had_label = counts.state != Pair.State.OPEN or (voted and counts.quota == Pair.ADAPTIVE)
    if state != Pair.State.OPEN and voted:
        labels.refresh(Pair(pk=counts.id))
    elif state == Pair.State.OPEN and had_label:
        Label.objects.filter(pair=counts.id).delete()


def give_back(pair_id: int, *, left: str) -> None:
    """Stop holding a slot. It opens again, unless nobody needs it any more."""
    sign = "-" if left == "a" else "+"
    counts = slots.update(
        pair_id,
        "open_slots = open_slots + CASE WHEN state = 'open' THEN 1 ELSE 0 END, "
        "asked = asked - CASE WHEN state = 'open' THEN 0 ELSE 1 END, "
        f"left_balance = left_balance {sign} 1",
    )
    assert counts, "pairs with assignments are never deleted on their own"
    resolve(counts, voted=False)
