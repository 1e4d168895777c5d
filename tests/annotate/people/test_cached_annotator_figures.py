"""Annotators' figures: counted fast, kept for large projects, and equal to the obvious count."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta
from statistics import median

import pytest
from django.utils import timezone

from annotate.models import Assignment, Gold, Membership, Pair, Tally
from annotate.people import annotator_figures, cached_annotator_figures
from annotate.people.annotator_figures import Share
from annotate.queue import slots
from tests.conftest import person

URL = "/projects/desk/annotators/"
CLASS = {"a": "a", "b": "b", "tie": "tie", "both_bad": "tie"}


def random_project(project, make_pairs, seed):
    """Thirty pairs of every kind with votes, skips and leases of six people, some simulated."""
    rng = random.Random(seed)
    people = [person(f"p{i}", project=project, role="annotator") for i in range(6)]
    pairs = make_pairs(30)
    for i, pair in enumerate(pairs[20:]):
        kind = "gold" if i < 5 else "retest"
        pair.kind, pair.retest_of = kind, None if i < 5 else pairs[i]
        pair.save()
        if i < 5:
            active, qualification = i != 3, i == 4
            Gold.objects.create(
                pair=pair, expected=rng.choice(list(CLASS)), active=active,
                qualification=qualification,
            )  # fmt: skip
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            pair=pair, annotator=user, seq=seq, left=rng.choice("ab"), stream="random",
            state=rng.choice(["voted", "voted", "voted", "skipped", "released"]),
            choice=rng.choice(list(CLASS)), strength=rng.randint(1, 3),
            surplus=rng.random() < 0.1, simulated=i == 5,
            active_ms=rng.choice([None, 900, rng.randrange(9000)]),
            guideline_version=(known := rng.choice([0, 1, 1])), imported=not known,
            leased_at=now, acted_at=now,
            voted_at=now - timedelta(seconds=rng.randrange(10_000)),
        )
        for pair in pairs
        for seq, (i, user) in enumerate(rng.sample(list(enumerate(people)), 4), start=1)
    )  # fmt: skip
    for pair in pairs:
        slots.recount_first_two(pair.pk)
    return people


def obvious(user):
    """The same figures by loops over one person's rows."""
    own = list(Assignment.objects.filter(annotator=user, simulated=False).select_related("pair"))
    votes = [one for one in own if one.state == "voted"]
    times = [one.active_ms for one in votes if one.active_ms is not None]
    sided = [one for one in votes if one.choice in "ab" and one.guideline_version]
    skipped = sum(one.state == "skipped" for one in own)
    return {
        "votes": len(votes),
        "last_vote": max((one.voted_at for one in votes), default=None),
        "active_ms": sum(times),
        "median_ms": median(times) if times else None,
        "left": Share(sum(one.choice == one.left for one in sided), len(sided)),
        "ties": Share(sum(CLASS[one.choice] == "tie" for one in votes), len(votes)),
        "skips": Share(skipped, len(votes) + skipped),
        "too_fast": Share(sum(ms < annotator_figures.TOO_FAST_MS for ms in times), len(times)),
        "gold": share(
            (one.choice, one.pair.gold.expected)
            for one in votes
            if one.pair.kind == "gold" and one.pair.gold.active and not one.pair.gold.qualification
        ),
        "retest": share(
            (one.choice, first.choice)
            for one in votes
            if one.pair.kind == "retest"
            for first in own
            if first.pair_id == one.pair.retest_of_id and first.state == "voted"
        ),
        "agreement": share(first_votes(user)),
    }


def first_votes(user):
    by_pair = defaultdict(list)
    counted = Assignment.objects.filter(state="voted", surplus=False).order_by("pair", "seq")
    for one in counted.exclude(pair__kind__in=Pair.OUTSIDE_LABELS):
        by_pair[one.pair_id].append(one)
    for votes in by_pair.values():
        both = votes[:2]
        met = len(both) == 2 and user.pk in {one.annotator_id for one in both}
        if met and not any(one.simulated for one in both):
            yield tuple(one.choice for one in both)


def share(answers):
    found = [CLASS[one] == CLASS[other] for one, other in answers]
    return Share(sum(found), len(found))


@pytest.mark.parametrize("seed", range(3))
def test_kept_and_counted_figures_are_what_loops_over_the_votes_give(
    project, make_pairs, monkeypatch, seed
):
    people = random_project(project, make_pairs, seed)
    monkeypatch.setattr(cached_annotator_figures, "LIVE_UP_TO", 10)
    assert cached_annotator_figures.count_annotators_if_due(project)
    kept, counted = cached_annotator_figures.table(project), annotator_figures.rows(project)
    assert kept.rows == counted and kept.counted_at is not None
    found = {row.annotator_id: row for row in counted}
    assert set(found) == {user.pk for user in people[:5]}
    for user in people[:5]:
        expected = obvious(user)
        assert {name: getattr(found[user.pk], name) for name in expected} == expected


def test_a_small_project_is_counted_while_the_page_waits(project, make_pairs):
    random_project(project, make_pairs, 1)
    assert not cached_annotator_figures.count_annotators_if_due(project)
    assert cached_annotator_figures.table(project).counted_at is None


def test_kept_figures_follow_new_votes_and_the_hour(project, make_pairs, ann, monkeypatch):
    random_project(project, make_pairs, 1)
    monkeypatch.setattr(cached_annotator_figures, "LIVE_UP_TO", 10)
    assert cached_annotator_figures.count_annotators_if_due(project)
    assert not cached_annotator_figures.count_annotators_if_due(project)
    now = timezone.now()
    Assignment.objects.create(
        pair=make_pairs(1)[0], annotator=ann, state="voted", choice="a", left="a", seq=1,
        stream="random", leased_at=now, voted_at=now, acted_at=now,
    )  # fmt: skip
    assert cached_annotator_figures.count_annotators_if_due(project)
    assert ann.pk in {row.annotator_id for row in cached_annotator_figures.table(project).rows}
    # A vote that was changed or taken back is no new act.
    Assignment.objects.filter(annotator=ann).delete()
    assert not cached_annotator_figures.count_annotators_if_due(project)
    Tally.objects.update(counted_at=now - timedelta(minutes=61))
    assert cached_annotator_figures.count_annotators_if_due(project)
    assert ann.pk not in {row.annotator_id for row in cached_annotator_figures.table(project).rows}


def test_figures_that_another_release_kept_are_counted_anew(
    client_for, project, make_pairs, olga, monkeypatch
):
    random_project(project, make_pairs, 1)
    monkeypatch.setattr(cached_annotator_figures, "LIVE_UP_TO", 10)
    cached_annotator_figures.count_annotators_if_due(project)
    kept = Tally.objects.get()
    for one in kept.figures:
        one["formerly"] = one.pop("ties")
    kept.save()
    assert "Counted <time" not in client_for(olga).get(URL).text
    assert cached_annotator_figures.count_annotators_if_due(project)
    assert "Counted <time" in client_for(olga).get(URL).text


def test_what_admins_change_shows_at_once_beside_kept_figures(
    client_for, project, make_pairs, olga, monkeypatch
):
    random_project(project, make_pairs, 1)
    monkeypatch.setattr(cached_annotator_figures, "LIVE_UP_TO", 10)
    cached_annotator_figures.count_annotators_if_due(project)
    Membership.objects.filter(user__username="p1").update(paused_at=timezone.now())
    page = client_for(olga).get(URL).text
    assert "paused</span>" in page and "Counted <time" in page
