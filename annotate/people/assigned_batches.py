"""Batches of pairs: made of a selection, given to people, and how far each has come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet

from annotate.models import Assignment, Batch, Membership, Pair, Project

DONE = (Assignment.State.VOTED, Assignment.State.SKIPPED)


class NameTaken(ValueError):
    """Another batch of the project has this name."""


@dataclass(frozen=True)
class Share:
    """One person's part in a batch."""

    member: Membership
    given: bool
    """The batch is theirs just now; who voted in it before is still told of."""
    votes: int
    left: int
    """Pairs of it that want votes and that this person has neither judged nor skipped."""


def make(project: Project, name: str, pairs: QuerySet[Pair], *, most: int, by: User) -> Batch:
    """A batch of at most `most` of the pairs, in the project's random order.

    Pairs of another batch stay there, and what wants no votes is left out.

    Raises:
        NameTaken
        ValueError: no pair is left.
    """
    # Two select statements: a search may join and compare in ways that no UPDATE can.
    free = Pair.objects.filter(pk__in=pairs.order_by().values("pk")).for_a_batch()
    chosen = list(free.order_by("shuffle", "pk").values_list("pk", flat=True)[:most])
    with transaction.atomic():
        # In the order in which everybody locks them.
        rows = Pair.objects.filter(pk__in=chosen).for_a_batch().order_by("pk")
        still_free = list(rows.select_for_update(no_key=True).values_list("pk", flat=True))
        if not still_free:
            raise ValueError("None of these pairs wants votes and is in no batch yet.")
        batch = Batch(project=project, name=name, created_by=by)
        _save(batch)
        Pair.objects.filter(pk__in=still_free).update(batch=batch)
    return batch


def rename(batch: Batch, name: str) -> None:
    """Give the batch another name. Raises NameTaken."""
    if name != batch.name:
        batch.name = name
        _save(batch)


def _save(batch: Batch) -> None:
    try:
        with transaction.atomic():
            batch.save()
    except IntegrityError as error:  # batch_name_once
        raise NameTaken("A batch has this name already.") from error


def may_be_given(project: Project) -> QuerySet[Membership]:
    """The members who could have a batch."""
    return project.memberships.filter(simulated=False, active=True)


@transaction.atomic
def give(batch: Batch, people: Collection[int], *, only: Collection[int]) -> None:
    """Give the batch to these members of the project, and to nobody else.

    `only` are those of the project's members who are offered no pairs but their batches'.
    """
    members = may_be_given(batch.project)
    batch.people.set(members.filter(pk__in=people))
    members.filter(pk__in=only).update(batches_only=True)
    members.exclude(pk__in=only).update(batches_only=False)


@transaction.atomic
def take_apart(batch: Batch) -> None:
    """Make ordinary pairs of the batch's. Who has no other batch is offered all pairs again."""
    project = batch.project
    batch.delete()
    members = project.memberships.filter(batches_only=True, batches=None)
    members.update(batches_only=False)


def shares(batch: Batch) -> list[Share]:
    """Everybody who could be given the batch, or voted in it, by name."""
    given = set(batch.people.values_list("pk", flat=True))
    acts = Assignment.objects.filter(pair__batch=batch).order_by().values_list("annotator")
    votes = dict(acts.filter(state="voted").annotate(n=Count("pk")))
    open_pairs = batch.pairs.filter(state=Pair.State.OPEN)
    judged = dict(acts.filter(pair__in=open_pairs, state__in=DONE).annotate(n=Count("pk")))
    n_open = open_pairs.count()
    people = batch.project.memberships.filter(simulated=False).select_related("user")
    return [
        Share(one, one.pk in given, votes.get(one.user_id, 0), n_open - judged.get(one.user_id, 0))
        for one in people.order_by("user__username")
        if one.active or one.pk in given or one.user_id in votes
    ]


def of_person(project: Project, user: User) -> list[tuple[Batch, Share]]:
    """The person's batches, with their own part in each."""
    member = project.memberships.filter(user=user).first()
    if member is None:
        return []
    own = Assignment.objects.filter(annotator=user)
    return [(batch, _share(batch, member, own)) for batch in member.batches.order_by("pk")]


def _share(batch: Batch, member: Membership, own: QuerySet[Assignment]) -> Share:
    open_pairs = batch.pairs.filter(state=Pair.State.OPEN)
    judged = own.filter(pair__in=open_pairs, state__in=DONE).count()
    votes = own.filter(pair__batch=batch, state="voted").count()
    return Share(member, True, votes, open_pairs.count() - judged)
