from __future__ import annotations

import itertools
import threading
from uuid import uuid4

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
    quick_order.forget(project.pk, ended=True)
    assert late[0] in shortlist.rows and late[2] in (0.0, 1.0)


def test_another_worker_s_ranking_makes_the_shortlist_stale(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    before = priorities(pairs)
    Plan.objects.update(ranking=uuid4())
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


def mean(project: Project) -> list[float]:
    return list(quick_order._kept[project.pk].head.mean)


def test_a_vote_that_the_ranking_counted_does_not_move_its_head_again(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    _, watch = followed
    vote(project, ann)
    Plan.objects.update(reranked_run=None)
    assert refresh_priorities(project.pk) > 0
    before = mean(project)
    assert quick_order.catch_up(watch) == 0 and mean(project) == before


def test_a_vote_that_is_taken_back_and_cast_anew_moves_the_head_once(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    _, watch = followed
    pair = vote(project, ann)
    assert quick_order.catch_up(watch) > 0
    before = mean(project)
    again = queue.undo(ann, Project.objects.get(pk=project.pk))
    assert again is not None and again.pair_id == pair.pk
    quick_order.catch_up(watch)
    queue.vote_side(ann, again.token, "left")
    assert quick_order.catch_up(watch) == 0 and mean(project) == before


def test_of_two_workers_that_rank_by_the_same_votes_the_later_one_follows(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    first = quick_order._kept[project.pk]
    # A worker that was restarted knows no ranking, and ranks by the votes that the other did.
    quick_order.forget(project.pk)
    assert refresh_priorities(project.pk) == len(pairs)
    assert quick_order._kept[project.pk].votes == first.votes
    quick_order._kept[project.pk] = first
    vote(project, ann)
    assert quick_order.catch_up(watch) == 0
    assert project.pk not in quick_order._kept, "its memory is free"


@pytest.mark.parametrize("end", ["archived", "deleted", "ranked elsewhere"])
def test_the_pool_of_a_project_that_nobody_follows_here_is_let_go(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], run: Run, end: str
) -> None:
    quick_order.let_go()
    assert project.pk in quick_order._kept
    if end == "archived":
        Project.objects.filter(pk=project.pk).update(archived=True)
    elif end == "deleted":
        Plan.objects.filter(project=project).delete()
    else:
        Plan.objects.update(ranking=uuid4())
    quick_order.let_go()
    assert project.pk not in quick_order._kept
    # Who ranked elsewhere follows; of two that rank because the other did there is no end.
    assert quick_order.follows(run) is (end != "archived")


def test_what_could_not_be_written_is_no_priority_that_the_pairs_have(
    project: Project, followed: tuple[list[Pair], exchange.VoteWatch], ann: User
) -> None:
    pairs, watch = followed
    taken = Pair.objects.order_by("-priority").filter(pk__in=[pair.pk for pair in pairs])[25]
    Pair.objects.filter(pk=taken.pk).update(state="adjudicate", open_slots=0)
    for _ in range(3):
        vote(project, ann)
        assert quick_order.catch_up(watch) > 0
    kept = quick_order._kept[project.pk].priorities
    left = Pair.objects.filter(key__in=list(kept), state="open")
    assert kept[taken.key] == Pair.objects.get(pk=taken.pk).priority
    assert {pair.key: kept[pair.key] for pair in left} == {pair.key: pair.priority for pair in left}


class Waits(threading.Event):
    """Ends after `most` waits, which take no time and are kept."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.waited = most, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        return len(self.waited) > self.most


def test_an_error_that_stays_is_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    """Without a database here each look at it fails."""
    stopping = Waits(8)
    quick_order.follow(stopping)
    assert len(caplog.records) == 8
    assert stopping.waited[:3] == [quick_order.EVERY, 2 * quick_order.EVERY, 4 * quick_order.EVERY]
    assert stopping.waited[-1] == quick_order.PATIENCE
    assert all(one <= other for one, other in itertools.pairwise(stopping.waited))
