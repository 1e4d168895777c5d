"""The first two votes on a pair's row, whatever happened to its votes."""

from __future__ import annotations

import importlib
import itertools

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import queue
from annotate.models import Assignment, Pair, Project
from annotate.models.pair import FALLS
from annotate.queue import slots
from tests.conftest import examples, make_pair, person

COLUMNS = (
    "first",
    "second",
    "first_by_id",
    "second_by_id",
    "firsts_simulated",
    "second_at",
    "last_vote_at",
    "fell",
)
EMPTY = ("", "", None, None, False, None, None, None)
numbers = itertools.count()

acts = st.tuples(
    st.sampled_from(["vote", "vote", "vote", "late", "undo", "skip", "revise"]),
    st.integers(0, 3),
    st.sampled_from(["a", "b", "tie", "both_bad"]),
    st.booleans(),
)


def counted(pair: Pair) -> tuple[object, ...]:
    """The columns, from the votes that stand."""
    votes = list(Assignment.objects.filter(pair=pair).standing().order_by("seq"))
    found: list[object] = [*EMPTY]
    for i, vote in enumerate(votes[:2]):
        found[i] = "tie" if vote.choice == "both_bad" else vote.choice
        found[2 + i] = vote.annotator_id
        found[4] = found[4] or vote.simulated
        found[6] = vote.voted_at
    if len(votes) > 1:
        found[5:7] = votes[1].voted_at, max(vote.voted_at for vote in votes)
        answers = tuple(found[:2].count(c) for c in ("a", "tie", "b"))
        found[7] = FALLS.index(answers)
    return tuple(found)


def stored(pair: Pair) -> tuple[object, ...]:
    return Pair.objects.values_list(*COLUMNS).get(pk=pair.pk)


@given(st.lists(acts, max_size=14))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.django_db
def test_after_any_acts_of_several_people_the_columns_equal_a_recount(history):
    n = next(numbers)
    project = Project.objects.create(slug=f"firsts-{n}", name="Firsts")
    people = [person(f"f{n}-{i}", project=project, role="annotator") for i in range(4)]
    pair = make_pair(project, 0)
    for act, who, choice, simulated in history:
        user = people[who]
        if act == "undo":
            queue.undo(user, project)
        if act == "revise":
            for own in Assignment.objects.filter(annotator=user, state="voted"):
                queue.revise(user, own.token, side=choice)
        lease = queue.next_pair(project, user) if act not in ("undo", "revise") else None
        if lease is not None and act == "skip":
            queue.skip(user, lease.token)
        elif lease is not None:
            if act == "late":  # others fill the pair meanwhile, so the vote may be surplus
                Assignment.objects.filter(pk=lease.pk).update(expires_at=lease.leased_at)
                queue.release_expired(project)
                other = queue.next_pair(project, people[(who + 1) % 4])
                if other is not None:
                    queue.vote(people[(who + 1) % 4], other.token, choice="b")
            queue.vote(user, lease.token, choice=choice, simulated=simulated)
        assert stored(pair) == counted(pair)
        slots.recount_first_two(pair.pk)
        assert stored(pair) == counted(pair)


def test_taking_the_first_vote_back_moves_the_later_ones_up(project, make_pairs, ann, ben, cleo):
    (pair,) = make_pairs(1)
    for user, choice in ((ann, "a"), (ben, "both_bad"), (cleo, "b")):
        queue.vote(user, queue.next_pair(project, user).token, choice=choice)
    assert stored(pair)[:5] == ("a", "tie", ann.pk, ben.pk, False)
    queue.undo(ann, project)
    assert stored(pair)[:5] == ("tie", "b", ben.pk, cleo.pk, False)
    times = Assignment.objects.filter(pair=pair).values_list("voted_at", flat=True)
    assert stored(pair)[5:] == (times.get(annotator=cleo), times.get(annotator=cleo), 4)


def test_a_vote_counts_itself_in_the_one_update_of_its_pair(
    project, make_pairs, ann, django_assert_max_num_queries
):
    make_pairs(1)
    lease = queue.next_pair(project, ann)
    with django_assert_max_num_queries(3) as seen:
        queue.vote(ann, lease.token, choice="a")
    updates = [q["sql"] for q in seen.captured_queries if "UPDATE annotate_pair" in q["sql"]]
    assert len(updates) == 1 and '"first"' in updates[0]


def test_the_migration_fills_in_what_was_voted_before(project, make_pairs, ann, ben, cleo):
    pairs = make_pairs(2)
    for user, choice in ((ann, "a"), (ben, "tie"), (cleo, "b")):
        for _ in pairs:
            lease = queue.next_pair(project, user)
            queue.vote(user, lease.token, choice=choice, simulated=user == cleo)
    pairs += make_pairs(1)
    Assignment.objects.filter(pair=pairs[1], annotator=ann).update(surplus=True)
    slots.recount_first_two(pairs[1].pk)
    times = [stored(pair)[5:7] for pair in pairs]
    Pair.objects.update(**dict(zip(COLUMNS[:7], EMPTY, strict=False)))
    for name in ("0003_agreement", "0007_quality_columns"):
        migration = importlib.import_module(f"annotate.migrations.{name}")
        with connection.cursor() as cursor:
            cursor.execute(migration.BACKFILL)
    assert stored(pairs[0]) == ("a", "tie", ann.pk, ben.pk, False, *times[0], 3)
    assert stored(pairs[1]) == ("tie", "b", ben.pk, cleo.pk, True, *times[1], 4)
    assert stored(pairs[2]) == EMPTY
    assert None not in times[0] + times[1]
