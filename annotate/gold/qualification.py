"""The qualification: gold pairs asked one by one with feedback, before somebody may vote.

Answers are rows of their own and never votes: no label, no agreement and no export knows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Q, QuerySet
from django.utils import timezone

from annotate.models import Gold, Membership, Project, QualificationAnswer
from annotate.models.content import share_of
from annotate.queue.vote import completion
from annotate.votes.labels import CLASS


@dataclass(frozen=True, kw_only=True)
class Result:
    """Answers of one attempt: given, right and asked for."""

    attempt: int
    right: int
    answered: int
    asked: int
    """Questions there are just now."""
    last: datetime | None

    @property
    def finished(self) -> bool:
        return 0 < self.asked <= self.answered


def questions(project: Project) -> QuerySet[Gold]:
    """The gold pairs that the qualification asks, in their order."""
    gold = Gold.objects.filter(pair__project=project, qualification=True, active=True)
    texts = ("pair__prompt", "pair__completion_a", "pair__completion_b")
    return gold.select_related("pair", *texts).order_by("pk")


def following(member: Membership) -> Gold | None:
    """The first question that the open attempt has not answered."""
    return questions(member.project).exclude(answers__in=_answers(member)).first()


def left_side(member: Membership, gold: Gold) -> str:
    """The completion on the left: drawn per attempt, and the same on every look."""
    drawn = share_of(f"qualification:{member.pk}:{member.qualification_attempt}:{gold.pk}")
    return "a" if drawn < 0.5 else "b"


def answer_to(member: Membership, gold: Gold) -> QualificationAnswer | None:
    """The open attempt's answer to this question."""
    return _answers(member).filter(gold=gold).first()


def answer(member: Membership, gold: Gold, side: str) -> QualificationAnswer:
    """Store the answer (left, right, tie or both_bad); the first one stands. The last answer of an
    attempt decides whether the member has passed."""
    left = left_side(member, gold)
    choice = completion(side, left)
    given, _ = QualificationAnswer.objects.get_or_create(
        member=member,
        gold=gold,
        attempt=member.qualification_attempt,
        defaults={"left": left, "choice": choice, "correct": right(choice, gold)},
    )
    qualify_if_passed(member)
    return given


def qualify_if_passed(member: Membership) -> None:
    """Let the member vote if the open attempt is finished and enough: by its last answer, or
    because what was left of it is asked no more."""
    if member.qualified_at is None and passes(result(member), member.project):
        qualify(member)


def right(choice: str, gold: Gold) -> bool:
    """By class, as agreement has it: a tie and "both bad" are the same answer."""
    return CLASS[choice] == CLASS[gold.expected]


def passes(outcome: Result, project: Project) -> bool:
    """True when a finished attempt reached the project's share, compared as whole answers."""
    needed = project.qualification_share * outcome.answered
    return outcome.finished and outcome.right >= needed - 1e-9


def qualify(member: Membership) -> None:
    """Let the member vote; who may already keeps their date."""
    now = timezone.now()
    if Membership.objects.filter(pk=member.pk, qualified_at=None).update(qualified_at=now):
        member.qualified_at = now


def may_try_again(member: Membership) -> bool:
    """True when another attempt can be allowed: the open one is finished and was not enough."""
    return member.qualified_at is None and result(member).finished


def allow_another(member: Membership) -> None:
    """Open another attempt; nothing while one is open. Two clicks are one attempt."""
    if may_try_again(member):
        unchanged = Membership.objects.filter(
            pk=member.pk, qualification_attempt=member.qualification_attempt
        )
        unchanged.update(qualification_attempt=F("qualification_attempt") + 1)


def result(member: Membership) -> Result:
    """The open attempt's."""
    asked = questions(member.project).count()
    attempt = member.qualification_attempt
    untouched = Result(attempt=attempt, right=0, answered=0, asked=asked, last=None)
    return next((one for one in results(member) if one.attempt == attempt), untouched)


def results(member: Membership) -> list[Result]:
    """Of every attempt with an answer, the first attempt first. Questions that are no longer asked
    count for nobody."""
    asked = questions(member.project)
    rows = (
        QualificationAnswer.objects.filter(member=member, gold__in=asked)
        .order_by("attempt")
        .values("attempt")
        .annotate(
            right=Count("pk", filter=Q(correct=True)), answered=Count("pk"), last=Max("answered_at")
        )
    )
    n_asked = asked.count()
    return [Result(**row, asked=n_asked) for row in rows]


def _answers(member: Membership) -> QuerySet[QualificationAnswer]:
    return QualificationAnswer.objects.filter(member=member, attempt=member.qualification_attempt)
