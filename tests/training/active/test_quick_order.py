from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from annotate import exchange, queue
from annotate.models import Assignment, Pair, Project
from tests.training.active.test_rerank import N, priorities, scored
from tests.training.conftest import vote_on
from training.active import quick_order
from training.active.rerank import refresh_priorities
from training.models import Plan, Run

__all__ = ["scored"]


@pytest.fixture
def followed(
    project: Project, scored: list[Pair], run: Run, ann: User
) -> tuple[list[Pair], exchange.VoteWatch]:
    """Ranked pairs whose single votes are followed; everything is leased by the active arm."""
    Project.objects.filter(pk=project.pk).update(random_share=0.0)
    vote_on(scored[50:], ann)
    assert refresh_priorities(project.pk) == N - 10
    return scored[:50], exchange.VoteWatch()


def vote(project: Project, person: User, side: str = "left") -> Pair:
    lease = queue.next_pair(Project.objects.get(pk=project.pk), person)
    assert lease is not None and lease.stream == "active"
    queue.vote_side(person, lease.token, side)  # type: ignore[arg-type]
    return lease.pair


def in_order(pairs: list[Pair]) -> list[int]:
    open_pairs = Pair.objects.filter(pk__in=[pair.pk for pair in pairs])
    return list(open_pairs.order_by("-priority", "pk").values_list("pk", flat=True))


def test_one_vote_orders_the_queue_anew_without_a_ranking_of_all_pairs(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    before = in_order(pairs)
    assert quick_order.catch_up(watch) == 0, "nobody voted"
    vote(project, ann)
    assert quick_order.catch_up(watch) > 0
    assert in_order(pairs) != before
    assert refresh_priorities(project.pk) == 0, "one vote is no reason to rank everything"
    assert quick_order.catch_up(watch) == 0, "the vote counts once"


def test_no_more_is_written_than_changes_its_place(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    before = dict(zip(pairs, priorities(pairs), strict=True))
    vote(project, ann)
    written = quick_order.catch_up(watch)
    after = dict(zip(pairs, priorities(pairs), strict=True))
    assert sum(before[pair] != after[pair] for pair in pairs) == written < len(pairs)


def test_a_pair_on_a_screen_is_left_alone_and_counts_as_asked(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User, ben: User
) -> None:
    _, watch = followed
    lease = queue.next_pair(Project.objects.get(pk=project.pk), ben)
    assert lease is not None
    vote(project, ann)
    quick_order.catch_up(watch)
    assert Pair.objects.get(pk=lease.pair_id).priority == lease.pair.priority


def test_votes_that_came_while_all_pairs_were_ranked_are_not_lost(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    _, watch = followed
    shortlist = quick_order._kept[project.pk]
    quick_order.begin(project.pk)
    vote(project, ann)
    quick_order.catch_up(watch)
    [late] = quick_order._seen[project.pk]
    assert late[0] in shortlist.rows and late[2] in (0.0, 1.0)


def test_another_worker_s_ranking_makes_the_shortlist_stale(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    before = priorities(pairs)
    Plan.objects.update(reranked_votes=10_000)
    vote(project, ann)
    assert quick_order.catch_up(watch) == 0 and priorities(pairs) == before


def test_a_simulated_vote_moves_nothing_where_it_does_not_train(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    _, watch = followed
    vote(project, ann)
    Assignment.objects.filter(state="voted").update(simulated=True)
    assert quick_order.catch_up(watch) == 0


def test_the_project_s_rule_ranks_between_rounds_and_is_stored_with_the_lease(
    project: Project, scored: list[Pair], run: Run, ann: User
) -> None:
    Project.objects.filter(pk=project.pk).update(random_share=0.0, acquisition="bald")
    refresh_priorities(project.pk)
    lease = queue.next_pair(Project.objects.get(pk=project.pk), ann)
    assert lease is not None
    assert (lease.stream, lease.acquisition) == ("active", "bald")
