"""Adjudication: which pairs a reviewer should look at, and the decisions made on them.

A decision is the pair's label from then on. Votes stay as they were cast: agreement and the
annotators' figures are measured on them.
"""

from __future__ import annotations

from collections import Counter
from math import exp
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from django.db.models import (
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FloatField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Abs
from django.utils import timezone

from annotate import queue
from annotate.models import Adjudication, Flag, Label, Pair, Project
from annotate.models.assignment import Choice
from annotate.queue import objection, resolution, slots
from annotate.queue.slots import SURE
from annotate.queue.vote_errors import QueueError
from annotate.votes import flags, labels
from annotate.webhooks import outbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_stubs_ext import WithAnnotations

    class Waiting(TypedDict):
        why: str
        place: int
        agreement: float
        sureness: float

    WaitingPair = WithAnnotations[Pair, Waiting]

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


def queue_for(project: Project) -> QuerySet[WaitingPair]:
    """Pairs that wait for a reviewer, each annotated with `why`.

    Votes without a majority, lowest agreement first; then labels against a confident reward
    model, most confident first; then pairs with flags nobody has looked at.
    """
    votes = F("n_a") + F("n_b") + F("n_tie")
    squares = F("n_a") * F("n_a") + F("n_b") * F("n_b") + F("n_tie") * F("n_tie")
    share = ExpressionWrapper(squares * 1.0 / (votes * votes), output_field=FloatField())
    flagged = Flag.objects.filter(pair=OuterRef("pk"), settled_at=None)
    undecided = Q(adjudication=None) & ~Q(kind__in=Pair.OUTSIDE_LABELS)
    split = undecided & Q(state=Pair.State.ADJUDICATE)
    conflict = undecided & Q(state=Pair.State.RESOLVED) & against_model()
    pairs: QuerySet[Pair] = project.pairs.all()
    return (
        pairs.filter(split | conflict | Exists(flagged))
        .annotate(
            why=Case(
                When(split, then=Value("split")),
                When(conflict, then=Value("conflict")),
                default=Value("flag"),
            ),
            place=Case(When(split, then=Value(0)), When(conflict, then=Value(1)), default=Value(2)),
            agreement=Case(When(split, then=share), default=Value(1.0)),
            sureness=Case(When(conflict, then=Abs("margin")), default=Value(0.0)),
        )
        .order_by("place", "agreement", "-sureness", "id")
    )


def waiting(project: Project) -> Counter[str]:
    """Number of pairs that wait for a reviewer, by why; their total is what other pages name."""
    counts = queue_for(project).order_by().values_list("why").annotate(n=Count("pk"))
    return Counter(dict.fromkeys(("split", "conflict", "flag"), 0) | dict(counts))


def against_model() -> Q:
    """Pairs whose label is the opposite of what the reward model was sure of."""
    return Q(label__outcome="a", margin__lt=-SURE) | Q(label__outcome="b", margin__gt=SURE)


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
        if flags.enough_objections(pair.pk):
            objection.retire(pair.pk)
    return True


def settle_flags(pair: Pair) -> int:
    """Note that a reviewer looked at the pair's flags; how many there were."""
    return pair.flags.filter(settled_at=None).update(settled_at=timezone.now())
