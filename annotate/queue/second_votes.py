"""Another vote on a pair that its first one resolved, where a ranking says it teaches more.

With the preset Adaptive a pair wants one vote and takes three. Whatever ranks pairs sees those with
a vote beside the new ones, and may have them asked again; agreement never counts these votes.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Exists, F, OuterRef

from annotate.models import Adjudication, Assignment, Membership, Pair, Project
from annotate.models.pair import PairQuerySet
from annotate.queue import resolution, slots
from annotate.queue.transactions import write

BATCH = 300


def may_be_asked_again(project: Project) -> PairQuerySet:
    """Pairs that one vote resolved, of a project whose ranking may ask for more.

    None where a label's certainty asks for more votes: that alone decides then.
    """
    if project.votes != Project.Votes.ADAPTIVE or project.stop_when_certain is not None:
        return project.pairs.none()
    decided = Adjudication.objects.filter(pair__project=project).values("pair")
    resolved = _adaptive(project).filter(state=Pair.State.RESOLVED, prompt__held_out=False)
    return resolved.exclude(pk__in=decided)


def asked_again(project: Project) -> PairQuerySet:
    """Those whose second vote was asked for, and that nobody has on the screen."""
    if project.stop_when_certain is not None:
        return project.pairs.none()
    held = Assignment.objects.in_project(project).leased().values("pair")
    waiting = _adaptive(project).filter(state=Pair.State.OPEN, open_slots__gt=0)
    return waiting.exclude(pk__in=held)


def _adaptive(project: Project) -> PairQuerySet:
    """Pairs with one vote that want no second by themselves, and may have one."""
    wanted, limit, agree = Pair.ADAPTIVE
    one = F("n_a") + F("n_b") + F("n_tie")
    pairs = project.pairs.filter(kind=Pair.Kind.NORMAL, wanted=wanted, limit=limit, agree=agree)
    return pairs.alias(votes_now=one).filter(votes_now=1)


def ask_again(project: Project, keys: Collection[str]) -> int:
    """Open a place for a second vote on these pairs; how many of them could have one.

    The active arm alone leases them: at random they would stand for pairs that nobody chose. They
    keep their labels: what is known of them holds until somebody else has said more.
    """
    asked = 0
    for batch in _batches(_with_somebody_left(may_be_asked_again(project).filter(key__in=keys))):
        with write():
            slots.lock(batch)
            still = may_be_asked_again(project).filter(pk__in=batch)
            pks = list(still.values_list("pk", flat=True))
            asked += Pair.objects.filter(pk__in=pks).update(
                state=Pair.State.OPEN,
                asked=F("asked") + 1,
                open_slots=F("open_slots") + 1,
                arms=Pair.Arms.ACTIVE,
                resolved_at=None,
            )
    return asked


def _with_somebody_left(pairs: PairQuerySet) -> PairQuerySet:
    """Those that a person could be shown who has not seen them; a place on another would stay
    open."""
    seen = Assignment.objects.filter(pair=OuterRef(OuterRef("pk")), annotator=OuterRef("user"))
    people = Membership.objects.filter(
        project=OuterRef("project"), active=True, simulated=False, paused_at=None
    )
    return pairs.filter(Exists(people.filter(~Exists(seen))))


def withdraw(project: Project, keys: Collection[str] | None = None) -> int:
    """Close the places for second votes on these pairs, or on all; how many were free."""
    asked, closed = asked_again(project), 0
    for batch in _batches(asked if keys is None else asked.filter(key__in=keys)):
        with write():
            slots.lock(batch)
            for pk in asked_again(project).filter(pk__in=batch).values_list("pk", flat=True):
                counts = slots.update(pk, '"cast" = "cast"')
                assert counts, "pairs are never deleted on their own"
                resolution.resolve(counts, voted=False)
                closed += 1
    return closed


def _batches(pairs: PairQuerySet) -> list[list[int]]:
    pks = list(pairs.order_by("pk").values_list("pk", flat=True))
    return [pks[start : start + BATCH] for start in range(0, len(pks), BATCH)]
