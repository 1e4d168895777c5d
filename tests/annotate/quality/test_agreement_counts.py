from __future__ import annotations

import random

import pytest
from django.utils import timezone

from annotate import queue
from annotate.models import Assignment, Completion, Pair, Prompt
from annotate.models.content import text_sha256
from annotate.quality import agreement_counts
from annotate.queue import slots


@pytest.fixture
def many_pairs(project):
    """many_pairs(n, per_prompt): pairs in bulk."""

    def make(n: int, *, per_prompt: int = 1, **columns: object) -> None:
        prompts = Prompt.objects.bulk_create(
            Prompt(project=project, messages=[], sha256=f"{i:064d}")
            for i in range(-(-n // per_prompt))
        )
        sides = Completion.objects.bulk_create(
            Completion(prompt=prompts[0], text=t, sha256=text_sha256(t), source="x") for t in "ab"
        )
        Pair.objects.bulk_create(
            Pair(
                project=project,
                prompt=prompts[i // per_prompt],
                completion_a=sides[0],
                completion_b=sides[1],
                key=f"many-{i}",
                **Pair.quota(project, "normal", key=f"many-{i}") | {"stream": "random"} | columns,
            )
            for i in range(n)
        )

    return make


def vote_all(project, people, *, decide, rng, **how):
    """Everybody votes on whatever the queue gives them until it gives nothing."""
    waiting = True
    while waiting:
        waiting = False
        for user in people:
            lease = queue.next_pair(project, user, rng=rng)
            if lease is not None:
                queue.vote(user, lease.token, choice=decide(lease.pair_id), **how)
                waiting = True


@pytest.mark.once
def test_planted_agreement_comes_back_although_a_third_vote_follows_every_disagreement(
    project, many_pairs, ann, ben, cleo
):
    many_pairs(303)
    rng = random.Random(5)
    pairs = list(project.pairs.values_list("pk", flat=True))
    agreeing = set(rng.sample(pairs, 220))  # 72.6 %
    votes: dict[int, list[str]] = {pk: [] for pk in pairs}

    def decide(pair_id: int) -> str:
        before = votes[pair_id]
        same = before and pair_id in agreeing
        choice = before[0] if same else rng.choice(sorted({"a", "b"} - set(before[:1])))
        before.append(choice if len(before) < 2 else rng.choice("ab"))
        return before[-1]

    vote_all(project, (ann, ben, cleo), decide=decide, rng=rng)
    summary = agreement_counts.summary(project)
    first_two, everything = (
        agreement_counts.measure(project, every=every) for every in (False, True)
    )
    assert (summary.open, summary.resolved, summary.votes) == (0, 303, 2 * 303 + 83)
    assert summary.votes_per_pair == pytest.approx(2.27, abs=0.005)
    assert first_two.agreement.pairs == 303 and first_two.agreement.votes == 606
    assert first_two.agreement.values["raw"] == pytest.approx(0.726, abs=0.0005)
    low, high = first_two.agreement.intervals["raw"]
    assert low < 0.726 < high
    assert everything.agreement.values["raw"] == pytest.approx((220 + 83 / 3) / 303)


def bulk_votes(project, user, *, seq, choose):
    """Votes of one person on every pair, without walking through the queue."""
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            pair=pair,
            annotator=user,
            state="voted",
            left="a",
            stream="random",
            leased_at=now,
            voted_at=now,
            choice=choose(i),
            strength=2,
            seq=seq,
        )
        for i, pair in enumerate(project.pairs.order_by("pk"))
    )
    for pk in project.pairs.values_list("pk", flat=True):
        slots.recount_first_two(pk)


def cast(project, pairs, *ballots):
    """Ballots (user, choice) on every pair in turn, whatever the queue would have offered."""
    for pair in pairs:
        Pair.objects.filter(pk=pair.pk).update(shuffle=-pair.pk)
        for user, choice in ballots:
            lease = queue.next_pair(project, user)
            assert lease.pair_id == pair.pk
            queue.vote(user, lease.token, choice=choice)


def counts(project, *, every=False, include_simulated=False):
    """Votes for A, tie and B of the pairs that count, from what is measured on them."""
    found = agreement_counts.measure(
        project, every=every, include_simulated=include_simulated
    ).agreement
    if every:
        return found.pairs, found.votes
    (numbers,) = agreement_counts.rows(agreement_counts.TOTALS, project, "all", include_simulated)
    return [
        list(answers)
        for answers, n in zip(agreement_counts.FALLS * 3, numbers, strict=True)
        for _ in range(n)
    ]


def test_only_the_first_two_votes_of_a_pair_count(project, make_pairs, ann, ben, cleo):
    cast(project, make_pairs(1), (ann, "a"), (ben, "b"), (cleo, "b"))
    assert counts(project) == [[1, 0, 1]]
    assert counts(project, every=True) == (1, 3)


def test_both_bad_counts_as_a_tie_and_a_single_vote_as_nothing(project, make_pairs, ann, ben):
    cast(project, make_pairs(1), (ann, "tie"), (ben, "both_bad"))
    cast(project, make_pairs(1), (ann, "a"))
    assert counts(project) == [[0, 2, 0]]


def test_surplus_gold_and_retest_votes_are_left_out(project, make_pairs, ann, ben):
    pairs = make_pairs(3)
    cast(project, pairs, (ann, "a"), (ben, "a"))
    Assignment.objects.filter(pair=pairs[0], annotator=ben).update(surplus=True)
    slots.recount_first_two(pairs[0].pk)
    Pair.objects.filter(pk=pairs[1].pk).update(kind="gold")
    Pair.objects.filter(pk=pairs[2].pk).update(kind="retest")
    assert counts(project) == []
    assert agreement_counts.summary(project).resolved == 1


def test_a_vote_that_was_taken_back_makes_room_for_the_next(project, make_pairs, ann, ben, cleo):
    cast(project, make_pairs(1), (ann, "a"), (ben, "b"))
    queue.undo(ann, project)
    queue.skip(ann, queue.next_pair(project, ann).token)
    cast(project, project.pairs.all(), (cleo, "b"))
    assert counts(project) == [[0, 0, 2]]


def test_simulated_votes_count_only_when_asked(project, make_pairs, ann, ben, cleo):
    pairs = make_pairs(2)
    cast(project, pairs, (ann, "a"), (ben, "b"), (cleo, "b"))
    Assignment.objects.filter(annotator=ben).update(simulated=True)
    for pair in pairs:
        slots.recount_first_two(pair.pk)
    assert counts(project) == []
    assert counts(project, include_simulated=True) == [[1, 0, 1]] * 2
    assert counts(project, every=True) == (2, 4)


def test_the_random_stream_is_the_default_once_it_holds_200_pairs(project, many_pairs, ann, ben):
    many_pairs(201)
    Pair.objects.filter(key="many-200").update(stream="active")
    bulk_votes(project, ann, seq=1, choose=lambda _: "a")
    bulk_votes(project, ben, seq=2, choose=lambda i: "a" if i % 4 else "b")
    found = agreement_counts.measure(project)
    assert (found.stream, found.agreement.pairs) == ("random", 200)
    assert agreement_counts.measure(project, stream="all").agreement.pairs == 201
    Pair.objects.filter(key="many-0").update(stream="active")
    assert agreement_counts.measure(project).stream == "all"
    assert agreement_counts.measure(project, stream="random").stream == "random"


def test_the_streams_are_measured_apart_and_together(project, many_pairs, ann, ben):
    many_pairs(30, per_prompt=3)
    Pair.objects.filter(key__in=[f"many-{i}" for i in range(10)]).update(stream="active")
    bulk_votes(project, ann, seq=1, choose=lambda _: "a")
    bulk_votes(project, ben, seq=2, choose=lambda i: "a" if i >= 5 else "b")
    found = agreement_counts.by_stream(project)
    assert [(name, one.pairs, one.values["raw"]) for name, one in found.items()] == [
        ("random", 20, 1.0),
        ("active", 10, 0.5),
        ("all", 30, pytest.approx(25 / 30)),
    ]


def test_a_large_project_gets_its_intervals_from_a_part_of_its_prompts(
    project, many_pairs, ann, ben, monkeypatch
):
    many_pairs(400)
    bulk_votes(project, ann, seq=1, choose=lambda i: "ab"[i % 2])
    bulk_votes(project, ben, seq=2, choose=lambda i: "ab"[i % 2] if i % 3 else "tie")
    whole = agreement_counts.by_stream(project)["all"]
    monkeypatch.setattr(agreement_counts, "SAMPLE", 150)
    part = agreement_counts.by_stream(project)["all"]
    assert part.values == pytest.approx(whole.values)
    assert part.intervals != whole.intervals
    assert part.intervals["raw"] == pytest.approx(whole.intervals["raw"], abs=0.025)


def test_another_projects_votes_do_not_count(project, make_pairs, ann, ben):
    cast(project, make_pairs(1), (ann, "a"), (ben, "a"))
    other = type(project).objects.create(slug="other", name="Other")
    assert counts(other) == []


def test_the_hardest_pairs_come_first_and_unanimous_ones_never(project, make_pairs, ann, ben, cleo):
    easy, split, two_one, one_vote = make_pairs(4)
    cast(project, [easy], (ann, "a"), (ben, "a"))
    cast(project, [split], (ann, "a"), (ben, "b"), (cleo, "tie"))
    cast(project, [two_one], (ann, "a"), (ben, "b"), (cleo, "a"))
    cast(project, [one_vote], (ann, "a"))
    assert list(agreement_counts.hardest(project)) == [split, two_one]
    Pair.objects.filter(pk=two_one.pk).update(stream="active")
    assert list(agreement_counts.hardest(project, stream="active")) == [two_one]


def test_a_project_without_votes_has_a_summary_and_no_votes_per_pair(project):
    found = agreement_counts.summary(project)
    assert (found.open, found.votes, found.votes_per_pair) == (0, 0, None)


def test_pairs_of_one_prompt_are_resampled_together(project, many_pairs, ann, ben):
    many_pairs(60, per_prompt=10)
    bulk_votes(project, ann, seq=1, choose=lambda _: "a")
    bulk_votes(project, ben, seq=2, choose=lambda i: "ab"[i // 10 % 2])
    by_prompt = agreement_counts.measure(project).agreement.intervals["raw"]
    assert by_prompt[1] - by_prompt[0] > 0.5
