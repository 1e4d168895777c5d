"""Checks on annotators: gold pairs, whose right answer is known, hidden among the others.

A gold pair is a row of its own with the texts of another pair. Votes on it measure the person and
nothing else: no label, no agreement, no row to train on.
"""

from __future__ import annotations

from django.db.models import CharField, Count, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat

from annotate.models import Assignment, Gold, Pair, Project
from annotate.models.assignment import Choice
from annotate.queue import slots
from annotate.queue.transactions import write
from annotate.votes.labels import same_answer

NEVER_GOLD = (*Pair.OUTSIDE_LABELS, Pair.Kind.EVALUATION)
"""Evaluation pairs decide about a policy, so nobody may withdraw one."""
COPIED = ("prompt_id", "completion_a_id", "completion_b_id", "policy_a", "policy_b")


class NoGold(ValueError):
    """This pair cannot become a gold pair. The message is shown to reviewers."""


def make_gold(
    pair: Pair, expected: str, explanation: str = "", qualification: bool = False
) -> Gold:
    """A gold pair with the texts of `pair`; made again, it gets the new answer.

    Whoever had `pair` is not offered the gold one, and if `pair` is still open, nobody new is
    asked about it: the same texts twice would tell. Raises NoGold.
    """
    if expected not in Choice.values:
        raise NoGold("Say what the right answer is.")
    if pair.kind in NEVER_GOLD:
        raise NoGold("Only pairs that are labelled can become gold pairs.")
    if pair.of_one_text:
        raise NoGold("Both replies of this pair are the same text.")
    with write():
        # The older pair first: rows are locked in the order of their ids.
        slots.retire(pair.pk)
        gold_pair = _gold_pair(pair)
        gold, _ = Gold.objects.update_or_create(
            pair=gold_pair,
            defaults={
                "expected": expected,
                "explanation": explanation,
                "qualification": qualification,
                "active": True,
            },
        )
        offer(gold)
    return gold


def switch(gold: Gold, *, on: bool) -> None:
    """Use a gold pair again, or no longer; one that is off does not count for anybody."""
    with write():
        gold.active = on
        gold.save(update_fields=["active"])
        offer(gold)


def offer(gold: Gold) -> None:
    """Open the pair's slots exactly if it is to be asked among the others."""
    if gold.active and not gold.qualification:
        slots.reopen(gold.pair_id)
    else:
        slots.retire(gold.pair_id)


def gold_pairs(project: Project) -> QuerySet[Gold]:
    """The project's gold pairs, newest first, with `n` people who answered and `n_right`."""
    answers = Q(pair__assignments__state=Assignment.State.VOTED, pair__assignments__surplus=False)
    answers &= Q(pair__assignments__simulated=False)
    right = same_answer("pair__assignments__choice", "expected")
    golds = Gold.objects.filter(pair__project=project).order_by("-pk")
    return golds.select_related(
        "pair", "pair__prompt", "pair__completion_a", "pair__completion_b"
    ).annotate(
        n=Count("pair__assignments", filter=answers),
        n_right=Count("pair__assignments", filter=answers & right),
    )


def candidates(project: Project) -> QuerySet[Pair]:
    """Pairs on which at least two people agreed and nobody disagreed, and that are no gold pair
    yet; newest first."""
    unanimous = Q(n_a__gte=2, n_b=0, n_tie=0) | Q(n_b__gte=2, n_a=0, n_tie=0)
    unanimous |= Q(n_tie__gte=2, n_a=0, n_b=0)
    resolved = project.pairs.filter(unanimous, state=Pair.State.RESOLVED)
    key = Concat(Value("gold:"), Cast(OuterRef("pk"), CharField()))
    taken = Pair.objects.filter(project=project, key=key)
    resolved = resolved.exclude(kind__in=NEVER_GOLD).filter(~Exists(taken))
    return resolved.select_related("prompt", "completion_a", "completion_b").order_by("-pk")


def _gold_pair(pair: Pair) -> Pair:
    key = f"gold:{pair.pk}"
    quota = Pair.quota(pair.project, Pair.Kind.GOLD, key=key)
    copied = {name: getattr(pair, name) for name in COPIED}
    return Pair.objects.get_or_create(
        project=pair.project,
        key=key,
        defaults={**copied, **quota, "stream": Pair.Stream.CHECK, "source": "gold"},
    )[0]
