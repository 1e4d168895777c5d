"""How many votes a pair gets: two and a third, one and a second look, or until it is certain."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import log

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from annotate import exchange, queue
from annotate.models import Assignment, Label, Membership, Pair, Project
from annotate.quality import agreement_counts
from annotate.statistics.label_certainty import posterior
from tests.conftest import examples, make_pair, person

MakePairs = Callable[..., list[Pair]]
CLASS = {"a": "a", "b": "b", "tie": "tie", "both_bad": "tie"}
CHOICES = st.sampled_from(list(CLASS))
SURE = log(9) + 0.01
numbers = itertools.count()
QUICK = settings(
    max_examples=examples(60), deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def crew(project: Project, size: int) -> list[User]:
    return [person(f"{project.slug}-{i}", project=project, role="annotator") for i in range(size)]


def fresh(size: int, **columns: object) -> tuple[Project, list[User], Pair]:
    project = Project.objects.create(slug=f"overlap-{next(numbers)}", name="Overlap", **columns)
    return project, crew(project, size), make_pair(project, 0)


def cast(project: Project, user: User, choice: str) -> bool:
    """Vote on whatever is offered; False when nothing is."""
    lease = queue.next_pair(project, user)
    if lease is not None:
        queue.vote(user, lease.token, choice=choice)
    return lease is not None


def outcome(pair: Pair) -> tuple[str, str]:
    found = Pair.objects.select_related("label").get(pk=pair.pk)
    return found.state, found.label.outcome if hasattr(found, "label") else ""


def majority(choices: list[str]) -> tuple[str, str]:
    """Of three votes, as a newspaper would count them."""
    ranked = Counter(CLASS[choice] for choice in choices).most_common()
    return ("resolved", ranked[0][0]) if ranked[0][1] > 1 else ("adjudicate", "split")


@given(
    st.lists(CHOICES, min_size=3, max_size=3),
    st.permutations(range(3)),
    st.lists(st.tuples(st.booleans(), CHOICES), min_size=3, max_size=3),
)
@QUICK
@pytest.mark.django_db
def test_two_and_one_gives_the_label_of_all_three_on_every_stream_of_votes(choices, order, undos):
    """With first thoughts that are taken back, and whoever comes first."""
    project, people, pair = fresh(3)
    for who, (undone, thought) in zip(order, undos, strict=True):
        if undone and cast(project, people[who], thought):
            queue.undo(people[who], project)
        cast(project, people[who], choices[who])
    assert outcome(pair) == majority(choices)
    pair.refresh_from_db()
    early = choices[order[0]], choices[order[1]]
    assert pair.votes == (2 if CLASS[early[0]] == CLASS[early[1]] else 3)


@pytest.mark.once
@pytest.mark.django_db
def test_at_an_agreement_of_72_6_percent_a_pair_takes_2_27_votes():
    """Two people with chance p of the better side agree with p² + (1 - p)²; here p = 0.836."""
    pairs, rng = 300, random.Random(7)
    project = Project.objects.create(slug="many", name="Many")
    people = crew(project, 6)
    for i in range(pairs):
        make_pair(project, i)
    busy = True
    while busy:
        busy = False
        for user in people:
            busy |= cast(project, user, "a" if rng.random() < 0.836 else "b")
    done = Pair.objects.filter(project=project, state="resolved")
    assert done.count() == pairs
    # A pair takes 2 or 3 votes: the standard error of the mean is 0.026.
    assert sum(pair.votes for pair in done) / pairs == pytest.approx(2.27, abs=3 * 0.026)


def single(project: Project) -> Project:
    project.votes, project.overlap_share = Project.Votes.SINGLE, 0.0
    project.save()
    return project


@pytest.mark.parametrize(
    ("margin", "votes", "state"),
    [
        (None, "b", ("resolved", "b")),
        (SURE, "a", ("resolved", "a")),
        (SURE, ["tie"], ("resolved", "tie")),
        (log(9) - 0.01, "b", ("resolved", "b")),
        (SURE, "b", ("open", "")),
        (-SURE, "a", ("open", "")),
        (SURE, "bb", ("resolved", "b")),
        (SURE, "ba", ("open", "")),
        (SURE, "bab", ("resolved", "b")),
        (SURE, "baa", ("resolved", "a")),
        (-SURE, ["a", "b", "tie"], ("adjudicate", "split")),
    ],
)
def test_a_single_vote_against_a_sure_model_asks_on_as_two_and_one(
    project: Project,
    ann: User,
    ben: User,
    cleo: User,
    make_pairs: MakePairs,
    margin: float | None,
    votes: str | list[str],
    state: tuple[str, str],
) -> None:
    (pair,) = make_pairs(1, project=single(project), margin=margin)
    for user, choice in zip((ann, ben, cleo), votes, strict=False):
        assert cast(project, user, choice)
    assert outcome(pair) == state
    pair.refresh_from_db()
    assert pair.open_slots == (1 if state[0] == "open" else 0)


def test_taking_the_contradiction_back_withdraws_the_further_vote(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=single(project), margin=SURE)
    cast(project, ann, "b")
    taken_back = queue.undo(ann, project)
    assert taken_back is not None
    queue.vote(ann, taken_back.token, choice="a")
    assert outcome(pair) == ("resolved", "a")
    assert queue.next_pair(project, ben) is None


def test_votes_asked_because_of_a_contradiction_are_outside_agreement(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1, project=single(project), margin=SURE)
    cast(project, ann, "b")
    cast(project, ben, "a")
    assert agreement_counts.measure(project).agreement.pairs == 0
    queue.revise(ben, Assignment.objects.get(annotator=ben).token, side="tie")
    assert agreement_counts.measure(project).agreement.pairs == 0


@pytest.mark.parametrize(("overlap", "measured"), [(0.0, 0), (1.0, 1)])
def test_votes_asked_because_a_label_was_uncertain_are_outside_agreement(
    project: Project,
    ann: User,
    ben: User,
    cleo: User,
    make_pairs: MakePairs,
    overlap: float,
    measured: int,
) -> None:
    """Of pairs that stop early those alone count which got a second vote in any case."""
    project.stop_when_certain, project.overlap_share = 0.9, overlap
    project.save()
    (pair,) = make_pairs(1)
    # Only of the third vote, which is outside agreement, it is told that nobody cast it.
    for user, choice, simulated in ((ann, "a", False), (ben, "b", False), (cleo, "a", True)):
        lease = queue.next_pair(project, user)
        assert lease is not None
        queue.vote(user, lease.token, choice=choice, simulated=simulated)
    pair.refresh_from_db()
    assert (pair.votes, pair.firsts_simulated) == (3, False)
    assert agreement_counts.measure(project).agreement.pairs == measured
    queue.revise(ben, Assignment.objects.get(annotator=ben).token, side="tie")
    assert agreement_counts.measure(project).agreement.pairs == measured


def believed(votes: list[tuple[str, float | None]]) -> dict[str, float]:
    """The probability of each class; `tests/annotate/statistics/test_label_certainty.py` has what
    it should be."""
    return dict(zip(("a", "tie", "b"), posterior(votes, 1 / 3), strict=True))


def expected(
    votes: list[tuple[str, float | None]], threshold: float, *, limit: int, agree: int
) -> str:
    """What a pair should be after these votes."""
    counts = Counter(CLASS[choice] for choice, _ in votes).most_common()
    if not counts:
        return "open"
    leads = len(counts) == 1 or counts[0][1] > counts[1][1]
    sure = believed(votes)[counts[0][0]]
    # Votes of .7, .75 and .75 make a label probable by .8 to the last digit but one: on the
    # threshold itself rounding decides.
    assume(abs(sure - threshold) > 1e-9)
    if leads and sure >= threshold:
        return "resolved"
    if len(votes) < limit:
        return "open"
    return "resolved" if counts[0][1] >= agree else "adjudicate"


@given(
    threshold=st.sampled_from([0.6, 0.8, 0.9, 0.95, 0.99]),
    preset=st.sampled_from(["consensus", "evaluation", "single"]),
    crew_of=st.lists(
        st.sampled_from([None, 0.4, 0.55, 0.7, 0.85, 0.93, 0.97]), min_size=6, max_size=6
    ),
    choices=st.lists(st.tuples(CHOICES, st.booleans()), min_size=6, max_size=6),
)
@QUICK
@pytest.mark.django_db
def test_a_pair_is_done_exactly_when_its_label_is_certain_or_its_votes_are_at_their_most(
    threshold, preset, crew_of, choices
):
    project, people, pair = fresh(6, stop_when_certain=threshold, votes=preset, overlap_share=0.0)
    limit, agree = {"consensus": (3, 2), "evaluation": (5, 3), "single": (1, 1)}[preset]
    votes: list[tuple[str, float | None]] = []
    for user, reliability, (choice, undone) in zip(people, crew_of, choices, strict=True):
        Membership.objects.filter(user=user).update(reliability=reliability)
        state = expected(votes, threshold, limit=limit, agree=agree)
        assert cast(project, user, choice) == (state == "open")
        if state != "open":
            break
        if undone:
            queue.undo(user, project)
            assert outcome(pair)[0] == "open"
            cast(project, user, choice)
        votes.append((choice, reliability))
    stored = Pair.objects.get(pk=pair.pk)
    assert stored.state == expected(votes, threshold, limit=limit, agree=agree)
    assert 1 <= stored.votes == len(votes) <= limit
    assert stored.asked == stored.votes + stored.open_slots


def test_one_reliable_vote_is_enough_and_places_others_hold_stay_theirs(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)  # two places, from before the project stopped early
    Project.objects.update(stop_when_certain=0.9)
    Membership.objects.filter(user=ann).update(reliability=0.95)
    mine, theirs = queue.next_pair(project, ann), queue.next_pair(project, ben)
    assert mine is not None and theirs is not None
    queue.vote(ann, mine.token, choice="a")
    assert outcome(pair) == ("resolved", "a")
    # Somebody who was asked already disagrees: then the label is no longer certain.
    assert queue.vote(ben, theirs.token, choice="b").status == "stored"
    assert outcome(pair) == ("open", "")
    assert cast(project, cleo, "a")
    assert outcome(pair) == ("resolved", "a")


def test_a_lease_that_ends_does_not_reopen_what_was_certain(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    Project.objects.update(stop_when_certain=0.9)
    Membership.objects.filter(user=ann).update(reliability=0.95)
    mine, theirs = queue.next_pair(project, ann), queue.next_pair(project, ben)
    assert mine is not None and theirs is not None
    queue.vote(ann, mine.token, choice="a")
    Membership.objects.filter(user=ann).update(reliability=0.5)
    queue.skip(ben, theirs.token)
    assert outcome(pair) == ("resolved", "a")


def test_without_a_threshold_no_vote_is_read_to_settle_a_pair(
    project: Project,
    ann: User,
    make_pairs: MakePairs,
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    make_pairs(1)
    lease = queue.next_pair(project, ann)
    assert lease is not None
    with django_assert_max_num_queries(3) as seen:  # type: ignore[attr-defined]
        queue.vote(ann, lease.token, choice="a")
    assert not any("reliability" in query["sql"] for query in seen.captured_queries)


def test_where_pairs_stop_early_a_sample_still_gets_two_votes(project: Project) -> None:
    project.stop_when_certain, project.overlap_share = 0.9, 0.2
    quotas = [Pair.quota(project, "normal", key=f"k{i}") for i in range(1000)]
    kinds = Counter((quota["kind"], quota["wanted"], quota["limit"]) for quota in quotas)
    assert set(kinds) == {("overlap", 2, 3), ("normal", 1, 3)}
    assert 160 <= kinds["overlap", 2, 3] <= 240
    assert Pair.quota(project, "evaluation", key="k")["wanted"] == 1


def test_evaluation_pairs_never_stop_early(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, kind="evaluation")
    # As former versions asked of each.
    Pair.objects.update(wanted=3, open_slots=3, asked=3, limit=5, agree=3)
    Project.objects.update(stop_when_certain=0.6)
    Membership.objects.update(reliability=0.99)
    cast(project, ann, "a")
    assert outcome(pair) == ("open", "")


def test_pairs_of_an_old_policy_leave_the_queue_and_started_ones_are_finished(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    old = make_pairs(3, source="round-1", stream="active")
    cast(project, ann, "a")
    (started,) = Pair.objects.filter(project=project, n_a=1)
    make_pairs(1, source="round-2", stream="active")
    assert exchange.retire_untouched(project, before_source="round-2") == 2
    states = Counter(
        Pair.objects.filter(pk__in=[p.pk for p in old]).values_list("state", flat=True)
    )
    assert states == {"retired": 2, "open": 1}
    offered = set()
    while (lease := queue.next_pair(project, ben)) is not None:
        offered.add(lease.pair_id)
        queue.vote(ben, lease.token, choice="a")
    assert started.pk in offered and len(offered) == 2
    assert outcome(started) == ("resolved", "a")


def _fate(project: Project, choices: list[str], *, late: bool, **columns: object) -> list[object]:
    """What people's votes made of a pair, and of its label; late ones come after their leases
    ended, one by one, while their places are still free."""
    pair, begun = make_pair(project, 0, **columns), datetime(2026, 5, 4, 9, tzinfo=UTC)
    for number, choice in enumerate(choices):
        name = f"{project.slug}-{number}"
        user, leased = person(name, project=project, role="annotator"), begun + number * HOUR
        lease = queue.next_pair(project, user, now=leased, rng=random.Random(number))
        if lease is None:
            continue
        if late:
            assert queue.release_expired(project, now=leased + HOUR / 2) == 1
        queue.vote(
            user,
            lease.token,
            choice=choice,
            strength=number % 4,
            now=leased + HOUR / 2,
            simulated=number == 1,
        )
    pair.refresh_from_db()
    told = {name: getattr(pair, name) for name in FATE}
    seen = [named.username.rpartition("-")[2] for named in (pair.first_by, pair.second_by) if named]
    label = Label.objects.filter(pair=pair).values("outcome", "margin", "n_votes", "vote_fraction")
    votes = pair.assignments.order_by("seq").values_list("state", "choice", "strength", "surplus")
    return [told, seen, list(label), list(votes)]


HOUR = timedelta(hours=1)
FATE = (
    *("state", "cast", "asked", "open_slots", "left_balance", "resolved_at", "last_vote_at"),
    *("n_a", "n_b", "n_tie", "first", "second", "second_at", "firsts_simulated", "fell"),
)


@pytest.mark.django_db
@QUICK
@given(
    choices=st.lists(CHOICES, min_size=1, max_size=5),
    quota=st.sampled_from([(2, 3, 2), (1, 1, 1), (1, 3, 1), (1, 3, 2), (3, 5, 3), (1, 2, 0)]),
    margin=st.sampled_from([None, 4.0, -4.0, 0.5]),
    kind=st.sampled_from(["normal", "overlap", "evaluation"]),
)
def test_a_vote_in_time_has_the_consequences_of_one_that_takes_its_place_again(
    choices: list[str], quota: tuple[int, int, int], margin: float | None, kind: str
) -> None:
    wanted, limit, agree = quota
    columns = {"wanted": wanted, "limit": limit, "agree": agree, "margin": margin, "kind": kind}
    columns |= {"asked": wanted, "open_slots": wanted}
    if kind == "evaluation":
        columns["arms"] = "evaluation"
    fates = [
        _fate(
            Project.objects.create(slug=f"fate-{next(numbers)}", name="Fate"),
            choices,
            late=late,
            **columns,
        )
        for late in (False, True)
    ]
    assert fates[0] == fates[1]
