from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection

from annotate import exchange, queue
from annotate.models import Assignment, Label, Pair, Project, VoteRevision
from tests.annotate.queue.test_queue import lease

MakePairs = Callable[..., list[Pair]]


def vote(project: Project, user: User, choice: str) -> Assignment:
    return queue.vote(user, lease(project, user).token, choice=choice).assignment


def test_undo_gives_the_pair_back_to_be_voted_on_again(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    cast = vote(project, ann, "a")
    back = queue.undo(ann, project)
    assert back is not None and (back.token, back.state) == (cast.token, "reserved")
    pair.refresh_from_db()
    assert (pair.n_a, pair.open_slots, pair.asked) == (0, 1, 2)
    assert lease(project, ann).token == cast.token
    assert queue.vote(ann, cast.token, choice="b").status == "stored"
    pair.refresh_from_db()
    assert (pair.n_a, pair.n_b) == (0, 1)


def test_undo_without_anything_to_undo_is_nothing(project: Project, ann: User) -> None:
    assert queue.undo(ann, project) is None


def test_undo_takes_the_latest_act_back_first(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    first = vote(project, ann, "a")
    second = lease(project, ann)
    queue.skip(ann, second.token)
    third = vote(project, ann, "b")
    taken = [queue.undo(ann, project) for _ in range(3)]
    assert [one.token for one in taken if one] == [third.token, second.token, first.token]


def test_undo_leaves_at_most_two_leases(project: Project, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(6)
    vote(project, ann, "a")
    vote(project, ann, "a")
    shown = lease(project, ann)
    prefetched = lease(project, ann, after=shown.token)
    queue.undo(ann, project)
    live = set(Assignment.objects.leased().values_list("token", flat=True))
    assert len(live) == 2 and shown.token in live and prefetched.token not in live
    queue.undo(ann, project)
    assert Assignment.objects.leased().count() == 2


def test_undo_reopens_a_resolved_pair_and_removes_its_label(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "a")
    queue.undo(ann, project)
    pair.refresh_from_db()
    assert (pair.state, pair.resolved_at, pair.asked, pair.open_slots) == ("open", None, 2, 0)
    assert not Label.objects.exists()
    vote(project, ann, "a")
    pair.refresh_from_db()
    assert pair.state == "resolved" and pair.label.n_votes == 2


def test_undo_withdraws_a_third_place_that_is_still_free(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "b")
    queue.undo(ben, project)
    pair.refresh_from_db()
    assert (pair.asked, pair.open_slots) == (2, 0)
    assert queue.next_pair(project, cleo) is None


def test_undo_leaves_a_third_place_that_somebody_took(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "b")
    third = lease(project, cleo)
    queue.undo(ben, project)
    vote(project, ben, "a")
    pair.refresh_from_db()
    assert (pair.state, pair.asked, pair.label.n_votes) == ("resolved", 3, 2)
    assert queue.vote(cleo, third.token, choice="b").status == "stored"
    pair.refresh_from_db()
    assert (pair.state, pair.votes, pair.label.n_votes) == ("resolved", 3, 3)


def test_undoing_the_odd_vote_out_resolves_by_the_two_that_stand(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    for user, choice in ((ann, "a"), (ben, "b"), (cleo, "a")):
        vote(project, user, choice)
    queue.undo(ben, project)
    pair.refresh_from_db()
    assert (pair.state, pair.votes) == ("resolved", 2)
    assert (pair.label.n_votes, pair.label.vote_fraction) == (2, 1.0)


def test_undo_of_a_skip_takes_a_place_again(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.skip(ann, token)
    back = queue.undo(ann, project)
    pair.refresh_from_db()
    assert back is not None and back.token == token and pair.open_slots == 1
    assert queue.vote(ann, token, choice="a").status == "stored"


def test_undo_of_a_skip_on_a_full_pair_holds_no_place(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.skip(ann, token)
    vote(project, ben, "a")
    vote(project, cleo, "a")
    assert queue.undo(ann, project) is not None
    assert queue.vote(ann, token, choice="b").status == "surplus"
    pair.refresh_from_db()
    assert (pair.votes, pair.state, pair.label.n_votes) == (2, "resolved", 2)


def test_undo_by_token_takes_only_the_last_act_back_and_may_be_repeated(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    first, second = vote(project, ann, "a"), vote(project, ann, "a")
    with pytest.raises(queue.Gone):
        queue.undo_token(ann, first.token)
    with pytest.raises(queue.UnknownAssignment):
        queue.undo_token(ben, second.token)
    assert queue.undo_token(ann, second.token).state == "reserved"
    assert queue.undo_token(ann, second.token).state == "reserved"
    first.refresh_from_db()
    assert first.state == "voted"


def test_a_frozen_vote_is_kept_as_a_revision(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    cast = vote(project, ann, "a")
    version = exchange.freeze(project)
    queue.undo(ann, project)
    kept = VoteRevision.objects.get()
    assert (kept.choice, kept.revision, kept.seq) == ("a", 1, 1)
    assert (kept.frozen_from, kept.frozen_until) == (version.number, version.number)
    queue.vote(ann, cast.token, choice="b")
    cast.refresh_from_db()
    assert (cast.revision, cast.frozen_from, cast.seq) == (2, None, 2)
    rows = list(exchange.preferences(project, version.number, include_simulated=False))
    assert [one["choice"] for one in rows[0]["votes"]] == ["a"]
    newer = exchange.freeze(project)
    rows = list(exchange.preferences(project, newer, include_simulated=False))
    assert [one["choice"] for one in rows[0]["votes"]] == ["b"]


def test_a_vote_that_was_never_frozen_leaves_no_revision(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    vote(project, ann, "a")
    queue.undo(ann, project)
    assert not VoteRevision.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_freezing_and_undoing_at_once_keeps_every_version_exact(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(8)
    for _ in range(8):
        vote(project, ann, "a")
    sizes = {}

    def freeze_often() -> None:
        for _ in range(4):
            version = exchange.freeze(project)
            sizes[version.number] = version.n_votes
        connection.close()

    def undo_often() -> None:
        for _ in range(4):
            queue.undo(ann, project)
        connection.close()

    threads = [threading.Thread(target=work) for work in (freeze_often, undo_often)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, size in sizes.items():
        rows = exchange.preferences(project, number, include_simulated=True)
        assert sum(len(row["votes"]) for row in rows) == size
