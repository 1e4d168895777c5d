"""Adjudication: which pairs a reviewer should look at, and the decisions made on them.

A decision is the pair's label from then on. Votes stay as they were cast: agreement and the
annotators' figures are measured on them.
"""

from __future__ import annotations

from collections import Counter
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import ExpressionWrapper, F, FloatField, Q, QuerySet
from django.db.models.functions import Abs
from django.utils import timezone

from annotate import queue
from annotate.models import Adjudication, Flag, Label, Pair, Project
from annotate.models.assignment import Choice
from annotate.queue import resolution, skip_reasons_and_flags, slots
from annotate.queue.slots import SURE
from annotate.queue.vote_errors import QueueError
from annotate.votes import labels, objections_to_pairs
from annotate.webhooks import outbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Category = Adjudication.Category


class Undecidable(QueueError):
    """The pair cannot have a label; the message says why."""


class Answer(NamedTuple):
    """One key of the reviewer's scale, about the completions. Every project has all eight."""

    key: str
    choice: str
    strength: int
    side: str
    how: str
    rest: str = ""
    before: str = ""

    @property
    def caption(self) -> str:
        if not self.side:
            return str(Choice(self.choice).label)
        return " ".join(part for part in (self.side, self.how, self.rest) if part)


ANSWERS = {
    answer.key: answer
    for answer in (
        Answer("1", "a", 3, "A", "much", "better"),
        Answer("2", "a", 2, "A", "better"),
        Answer("3", "a", 1, "A", "slightly", "better"),
        Answer("4", "tie", 0, "", "same", before="About the"),
        Answer("5", "b", 1, "B", "slightly", "better"),
        Answer("6", "b", 2, "B", "better"),
        Answer("7", "b", 3, "B", "much", "better"),
        Answer("8", "both_bad", 0, "", "Both bad"),
    )
}
LETTERS = {
    Category.AMBIGUOUS: "a",
    Category.GUIDELINE_GAP: "g",
    Category.ANNOTATOR_ERROR: "e",
    Category.MODEL_ERROR: "m",
    Category.BOTH_BAD: "b",
}
"""Keys that say what made a pair hard, before the one that decides."""


class Waiting(NamedTuple):
    """A pair that waits for a reviewer."""

    pair: int
    why: str
    """split, conflict or flag."""


def first_waiting(project: Project, most: int) -> list[Waiting]:
    """The first pairs that wait for a reviewer, at most so many.

    Votes without a majority, lowest agreement first; then labels against a confident reward
    model, most confident first; then pairs with flags nobody has looked at.
    """
    first: list[Waiting] = []
    for why, pairs in _queues(project).items():
        if room := most - len(first):  # the later queues are looked up only where they are seen
            first += [Waiting(pk, why) for pk in pairs.values_list("pk", flat=True)[:room]]
    return first


def waiting(project: Project, *, most: int | None = None) -> Counter[str]:
    """Number of pairs that wait for a reviewer, by why; their total is what other pages name.

    Args:
        most: of each kind, beyond which they are not counted.
    """
    queues = _queues(project).items()
    return Counter({why: pairs.order_by()[:most].count() for why, pairs in queues})


def _queues(project: Project) -> dict[str, QuerySet[Pair]]:
    """Pairs that wait, by why, in the order in which reviewers see them; each in one of these."""
    undecided = project.pairs.filter(adjudication=None).exclude(kind__in=Pair.OUTSIDE_LABELS)
    votes = F("n_a") + F("n_b") + F("n_tie")
    squares = F("n_a") * F("n_a") + F("n_b") * F("n_b") + F("n_tie") * F("n_tie")
    agreement = ExpressionWrapper(squares * 1.0 / (votes * votes), output_field=FloatField())
    split = undecided.filter(state=Pair.State.ADJUDICATE)
    conflict = _against_model(undecided)
    # As a list of keys: asked of every pair, whether it has one, this takes seconds.
    open_flags = Flag.objects.filter(pair__project=project, settled_at=None).values("pair")
    flagged = project.pairs.filter(pk__in=open_flags)
    others = flagged.exclude(pk__in=split.filter(pk__in=open_flags).values("pk"))
    others = others.exclude(pk__in=conflict.filter(pk__in=open_flags).values("pk"))
    return {
        "split": split.order_by(agreement, "pk"),
        "conflict": conflict.order_by(Abs("margin").desc(), "pk"),
        "flag": others.order_by("pk"),
    }


def _against_model(pairs: QuerySet[Pair]) -> QuerySet[Pair]:
    """Pairs whose label is the opposite of what the reward model was sure of."""
    opposite = Q(label__outcome="a", margin__lt=0) | Q(label__outcome="b", margin__gt=0)
    # Few pairs are sure, and the index pair_by_sureness has those first.
    sure = pairs.alias(sureness=Abs("margin")).filter(margin__isnull=False, sureness__gt=SURE)
    return sure.filter(opposite, state=Pair.State.RESOLVED)


def model_says(pair: Pair) -> tuple[str, float] | None:
    """The reward model's side of the pair and how probable it thinks it; None if not sure."""
    if pair.margin is None or abs(pair.margin) <= SURE:
        return None
    return ("a" if pair.margin > 0 else "b"), 1 / (1 + exp(-abs(pair.margin)))


def decide(
    reviewer: User,
    pair: Pair,
    *,
    choice: str,
    strength: int = 0,
    category: str = "",
    rationale: str = "",
) -> Adjudication:
    """Make the reviewer's answer the pair's label; deciding again changes it.

    Without a category, the one that the decision suggests. Raises Undecidable.
    """
    strength = strength if choice in ("a", "b") else 0
    with queue.write():
        slots.lock([pair.pk])
        pair.refresh_from_db()
        if problem := undecidable(pair):
            raise Undecidable(problem)
        if pair.state != Pair.State.RESOLVED:
            outbox.tell_resolved([pair.pk])
        category = category or suggested(pair, choice)
        flagged = _settles(pair)
        decision, _ = Adjudication.objects.update_or_create(
            pair=pair,
            defaults={
                "reviewer": reviewer,
                "choice": choice,
                "strength": strength,
                "category": category,
                "rationale": rationale,
            },
        )
        Pair.objects.filter(pk=pair.pk).update(
            state=Pair.State.RESOLVED,
            asked=F("asked") - F("open_slots"),
            open_slots=0,
            resolved_at=timezone.now(),
        )
        labels.decide(pair, choice, strength)
        pair.flags.filter(pk__in=flagged).update(settled_at=decision.decided_at)
    return decision


def _settles(pair: Pair) -> list[int]:
    """Flags that a decision settles now: the open ones and those of the decision it replaces."""
    before = Adjudication.objects.filter(pair=pair).values("decided_at")
    flagged = pair.flags.filter(Q(settled_at=None) | Q(settled_at__in=before))
    return list(flagged.values_list("pk", flat=True))


def undecidable(pair: Pair) -> str:
    """Why no reviewer can give this pair a label; empty when one can."""
    if pair.kind in Pair.OUTSIDE_LABELS:
        return "This pair checks annotators; it has no label."
    if pair.state == Pair.State.RETIRED:
        return "This pair is retired: it has no label."
    return ""


def suggested(pair: Pair, choice: str) -> str:
    """The category a decision speaks for, when its author names none."""
    if choice == "both_bad":
        return Category.BOTH_BAD
    model = model_says(pair)
    majority = labels.majority({"a": pair.n_a, "tie": pair.n_tie, "b": pair.n_b})
    if model is None or majority in ("split", model[0]):
        return Category.AMBIGUOUS
    if choice == majority:
        return Category.MODEL_ERROR
    return Category.ANNOTATOR_ERROR if choice == model[0] else Category.AMBIGUOUS


def take_back(pair: Pair) -> bool:
    """Undo the decision: the votes speak again, and so do the people who objected to the pair.

    False when there was no decision.
    """
    with queue.write():
        slots.lock([pair.pk])
        decision = Adjudication.objects.filter(pair=pair).first()
        if decision is None:
            return False
        # What the decision settled, and nothing that was settled before.
        pair.flags.filter(settled_at=decision.decided_at).update(settled_at=None)
        decision.delete()
        Label.objects.filter(pair=pair).delete()
        counts = slots.update(pair.pk, "state = 'open', resolved_at = NULL")
        assert counts, "pairs are never deleted"
        resolution.resolve(counts, voted=True)
        if objections_to_pairs.enough_objections(pair.pk):
            skip_reasons_and_flags.retire(pair.pk)
    return True


def settle_flags(pair: Pair) -> int:
    """Note that a reviewer looked at the pair's flags; how many there were."""
    return pair.flags.filter(settled_at=None).update(settled_at=timezone.now())
