"""Reliability of each annotator, and the labels that follow once it is known.

One job for a whole project: it reads the standing votes as arrays, estimates
(annotate.statistics.aggregation.preferences), and writes `Label.p_a, p_tie, p_b` and
`Membership.reliability`. Gold pairs and adjudicated pairs are anchors: their right answer is
given. Retests are left out, because a person's second vote on the same texts is no second opinion.
Simulated votes count where the project trains on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db import connection
from django.db.models import Case, F, IntegerField, Max, Q, QuerySet, Value, When
from django.utils import timezone

from annotate.models import Adjudication, Assignment, Gold, Label, Membership, Pair, Project
from annotate.queue import write
from annotate.statistics import aggregation
from annotate.statistics.aggregation import Bools, Consensus, Floats, Ints

CHUNK = 10_000
UNCHANGED = 5e-4
"""Labels whose probabilities moved by less are not written again."""
PATIENCE = 200
"""Between rounds a refresh waits for this part of the votes to be new."""


@dataclass(frozen=True, kw_only=True)
class Votes:
    """A project's votes: positions of pairs and people in `pairs` and `people` (both sorted)."""

    pairs: Ints
    people: Ints
    item: Ints
    worker: Ints
    choice: Ints
    flipped: Bools
    tells: Bools
    """(v,) False where the method chose the pair for more votes: that would bias reliabilities."""


def refresh_labels(project: Project) -> None:
    """Estimate reliabilities and label probabilities from the votes that stand, and store them."""
    began = timezone.now()
    votes = _read(project)
    known = _known(project)
    anchors = np.array([known.get(pair, -1) for pair in votes.pairs.tolist()], dtype=np.int64)
    estimate = aggregation.preferences(
        votes.item,
        votes.worker,
        votes.choice,
        votes.flipped,
        items=len(votes.pairs),
        workers=len(votes.people),
        known=anchors,
        tells=votes.tells,
    )
    _store_reliabilities(project, votes, anchors, estimate, at=began)
    weightless = project.memberships.filter(weight=0).values_list("user_id", flat=True)
    left_out = np.isin(votes.people, list(weightless))[votes.worker]
    posteriors = estimate.posteriors
    if left_out.any():
        posteriors = aggregation.without(
            estimate, left_out, votes.item, votes.worker, votes.choice, votes.flipped, anchors
        )
    _store_labels(project, votes.pairs, posteriors, known)


def refresh_labels_if_due(project: Project) -> bool:
    """Refresh when enough new votes came; on large projects that is rarer than every minute."""
    since = project.memberships.aggregate(at=Max("reliability_at"))["at"]
    if not _due(project, since):
        return False
    refresh_labels(project)
    return True


def _due(project: Project, since: datetime | None) -> bool:
    if since is None:
        return _standing(project).exists()
    if Adjudication.objects.filter(pair__project=project, decided_at__gt=since).exists():
        return True
    # By person, because that is what the index of acts is by.
    people = project.memberships.values("user_id")
    acts = Assignment.objects.filter(annotator__in=people, acted_at__gt=since)
    new = acts.filter(pair__project=project, state=Assignment.State.VOTED).count()
    return new > 0 and new * PATIENCE >= _standing(project).count()


def _standing(project: Project) -> QuerySet[Assignment]:
    """Votes that say something about pairs or people."""
    votes = Assignment.objects.in_project(project).voted()
    votes = votes.filter(Q(surplus=False) | Q(pair__kind=Pair.Kind.GOLD))
    votes = votes.exclude(pair__kind=Pair.Kind.RETEST)
    return votes if project.train_on_simulated else votes.filter(simulated=False)


def _read(project: Project) -> Votes:
    choices = [When(choice=name, then=Value(n)) for name, n in aggregation.PLACE.items()]
    columns = _standing(project).values_list(
        "pair_id",
        "annotator_id",
        Case(*choices, output_field=IntegerField()),
        # A side nobody knows is drawn, or A would seem to be one.
        Case(
            When(left="b", then=Value(1)),
            When(left="", then=F("pair_id") % 2),
            default=Value(0),
            output_field=IntegerField(),
        ),
        "pair__wanted",
        "pair__limit",
        "pair__agree",
    )
    chunks = list(_chunks(columns))
    rows = np.concatenate(chunks) if chunks else np.zeros((0, 7), dtype=np.int64)
    pairs, item = np.unique(rows[:, 0], return_inverse=True)
    people, worker = np.unique(rows[:, 1], return_inverse=True)
    return Votes(
        pairs=pairs,
        people=people,
        item=item,
        worker=worker,
        choice=rows[:, 2],
        flipped=rows[:, 3] == 1,
        # Where one vote is the rule, only pairs of the overlap and gold pairs want more; pairs
        # that a ranking had asked again stay chosen ones when the rule is another.
        tells=(rows[:, 4] > 1)
        | ((project.votes not in Project.ONE_VOTE) & (rows[:, 4:] != Pair.ADAPTIVE).any(axis=1)),
    )


def _chunks(columns: QuerySet[Assignment, tuple[int, ...]]) -> Iterator[Ints]:
    """Arrays of rows, so that a million votes are never a million tuples."""
    chunk: list[tuple[int, ...]] = []
    for row in columns.iterator(chunk_size=CHUNK):
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield np.array(chunk, dtype=np.int64)
            chunk = []
    if chunk:
        yield np.array(chunk, dtype=np.int64)


def _known(project: Project) -> dict[int, int]:
    """The class of the pairs whose right answer is given."""
    gold = Gold.objects.filter(pair__project=project, active=True)
    decided = Adjudication.objects.filter(pair__project=project)
    rows = [*gold.values_list("pair", "expected"), *decided.values_list("pair", "choice")]
    return {pair: aggregation.PLACE[choice] for pair, choice in rows}


def _store_reliabilities(
    project: Project, votes: Votes, anchors: Ints, estimate: Consensus, *, at: datetime
) -> None:
    """Of everybody with a vote that can be compared; of the others nothing is known."""
    compared = aggregation.comparable(votes.item, anchors) & votes.tells
    told = np.bincount(votes.worker[compared], minlength=len(votes.people)) > 0
    place = {person: n for n, person in enumerate(votes.people.tolist())}
    prior = estimate.prior.round(6).tolist()
    members = list(project.memberships.only("user_id", "reliability"))
    for member in members:
        n = place.get(member.user_id)
        known = n is not None and bool(told[n])
        member.reliability = float(estimate.reliability[n]) if known else None
        member.estimate = (
            None
            if n is None
            else {"prior": prior, "confusion": estimate.confusion[n].round(6).tolist()}
        )
        member.reliability_at = at
    columns = ["reliability", "reliability_at", "estimate"]
    Membership.objects.bulk_update(members, columns, batch_size=200)


def _store_labels(project: Project, pairs: Ints, posteriors: Floats, known: dict[int, int]) -> None:
    """Write the probabilities that changed, in transactions too short to be waited for."""
    columns = ("pk", "pair_id", "p_a", "p_tie", "p_b")
    stored = Label.objects.filter(pair__project=project).values_list(*columns)
    rows = np.array(list(stored.iterator(chunk_size=CHUNK)), dtype=np.float64).reshape(-1, 5)
    of = rows[:, 1].astype(np.int64)
    wanted = np.full((len(rows), 3), np.nan)
    if len(pairs):
        place = np.searchsorted(pairs, of).clip(max=len(pairs) - 1)
        wanted = np.where((pairs[place] == of)[:, None], posteriors[place], np.nan)
    given = np.array([known.get(pair, -1) for pair in of.tolist()], dtype=np.int64)
    wanted = np.where((given >= 0)[:, None], np.eye(3)[given], wanted)
    changed = ~np.isclose(rows[:, 2:], wanted, rtol=0, atol=UNCHANGED, equal_nan=True).all(axis=1)
    order = np.flatnonzero(changed)[np.argsort(rows[changed, 0])]
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        _write_labels(rows[part, 0].astype(np.int64), wanted[part])


def _write_labels(labels: Ints, probabilities: Floats) -> None:
    values = [
        [None if math.isnan(value) else value for value in column]
        for column in probabilities.T.tolist()
    ]
    with write(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "UPDATE annotate_label SET p_a = new.a, p_tie = new.tie, p_b = new.b FROM "
                "unnest(%s::bigint[], %s::float8[], %s::float8[], %s::float8[]) "
                "AS new (id, a, tie, b) WHERE annotate_label.id = new.id",
                [labels.tolist(), *values],
            )
        else:
            cursor.executemany(
                "UPDATE annotate_label SET p_a = %s, p_tie = %s, p_b = %s WHERE id = %s",
                list(zip(*values, labels.tolist(), strict=True)),
            )
