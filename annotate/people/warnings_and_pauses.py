"""Figures that speak against a person, and the warnings and pauses that follow by themselves.

Warnings are cheap and come early, on the share as it stands. A pause takes somebody's work away,
so it needs certainty: the whole 95 % interval below the threshold, after twenty gold pairs.
"""

from __future__ import annotations

from django.db.models import Count
from django.utils import timezone

from annotate.models import Assignment, Gold, Membership, Message
from annotate.people.annotator_figures import Row, Share
from annotate.statistics.low_agreement import DOUBTFUL, beta_binomial
from annotate.statistics.wilson_interval import wilson
from annotate.votes.labels import same_answer

WARN_AFTER = 5
PAUSE_AFTER = 20
ONE_SIDED = 0.005
"""An honest person's votes lean this far to one side so often."""
SIDED_AFTER = 20
AGAINST_MODEL = 0.01
"""Of 60 votes each in planted crews, 2 % of honest people were below: the model is an estimate, too
(`python -m benchmarks clickers_found`)."""
CONSISTENT = 0.6
WARNING = (
    "Some of your recent answers are not what the guidelines ask for. Please read the guidelines "
    "again, and take the time that a pair needs."
)
PAUSED = "Too many of your answers are not what the guidelines ask for. A reviewer will look at it."


def flags(row: Row) -> list[str]:
    """Sentences on what stands out about a person; nothing for about 19 of 20 honest ones."""
    conditions = {
        "agrees too little": row.doubt is not None and row.doubt < DOUBTFUL,
        "against the model": row.member is not None
        and row.member.head_doubt is not None
        and row.member.head_doubt < AGAINST_MODEL,
        "one side": one_sided(row.left),
        "gold pairs wrong": row.member is not None
        and _certainly_below(row.gold, row.member.project.check_threshold, after=WARN_AFTER),
        "inconsistent": _certainly_below(row.retest, CONSISTENT, after=WARN_AFTER),
        "too fast": row.too_fast.n >= SIDED_AFTER
        and (row.too_fast.interval or (0.0, 1.0))[0] > 0.5,
    }
    return [flag for flag, stands in conditions.items() if stands]


def one_sided(left: Share) -> bool:
    """True when the side of the screen decides this person's votes, not the replies."""
    return left.n >= SIDED_AFTER and _leaning(left) < ONE_SIDED


def _leaning(left: Share) -> float:
    """Probability of a share of left picks so far from one half, to either side."""
    scale = min(1.0, 400 / left.n)
    n, hits = round(left.n * scale), round(left.hits * scale)
    law = beta_binomial(n, 0.5)
    return float(min(1.0, 2 * law[: min(hits, n - hits) + 1].sum()))


def _certainly_below(share: Share, threshold: float, *, after: int) -> bool:
    interval = wilson(share.hits, share.n)
    return interval is not None and share.n >= after and interval[1] < threshold


def warned_by(gold: Share, threshold: float) -> bool:
    return gold.n >= WARN_AFTER and gold.hits < gold.n * threshold


def paused_by(gold: Share, threshold: float) -> bool:
    return _certainly_below(gold, threshold, after=PAUSE_AFTER)


def review(vote: Assignment) -> None:
    """After a vote on a gold pair: warn its author, or pause them, where the rules say so.

    An admin who lifts a pause has dealt with what was there: the rules then begin anew, on the
    gold pairs answered since.
    """
    member = _locked(vote)
    if member is None or member.simulated or member.paused_at is not None:
        return
    project, gold = member.project, _gold_answers(member)
    pausing = project.auto_pause and not project.train_on_simulated
    if pausing and paused_by(gold, project.check_threshold):
        _tell(member, PAUSED, paused_at=timezone.now(), paused_because=PAUSED)
    elif member.warned_at is None and warned_by(gold, project.check_threshold):
        _tell(member, WARNING, warned_at=timezone.now())


def resume(member: Membership) -> None:
    """Lift a pause."""
    Membership.objects.filter(pk=member.pk).update(
        paused_at=None, paused_because="", warned_at=None, resumed_at=timezone.now()
    )


def _locked(vote: Assignment) -> Membership | None:
    """The author's membership, locked so that votes from two tabs do not warn twice.

    The vote holds its pair's row and its own by now, so the order is pair, assignment,
    membership, as in annotate.queue.lease. The claim of a next pair begins with the
    membership, but takes pairs and other people's leases by SKIP LOCKED: who holds a membership
    never waits for who waits for it.
    """
    memberships = Membership.objects.select_for_update(no_key=True, of=("self",))
    memberships = memberships.filter(project=vote.pair.project_id, user=vote.annotator_id)
    return memberships.select_related("project").first()


def _gold_answers(member: Membership) -> Share:
    """The hidden gold pairs that the member answered since a pause was lifted."""
    # By pair, not through all of the person's votes: this runs while they wait for the next pair.
    gold = Gold.objects.filter(active=True, qualification=False)
    votes = Assignment.objects.in_project(member.project).filter(
        annotator=member.user_id, state=Assignment.State.VOTED, pair__in=gold.values("pair")
    )
    if member.resumed_at is not None:
        votes = votes.filter(voted_at__gt=member.resumed_at)
    right = same_answer("choice", "pair__gold__expected")
    return Share(**votes.aggregate(hits=Count("pk", filter=right), n=Count("pk")))


def _tell(member: Membership, text: str, **columns: object) -> None:
    Membership.objects.filter(pk=member.pk).update(**columns)
    Message.objects.create(member=member, text=text)
