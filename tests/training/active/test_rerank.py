from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from numpy.typing import NDArray

from annotate import exchange, queue
from annotate.models import Membership, Pair, Project
from annotate.people.annotator_figures import rows
from annotate.people.warnings_and_pauses import flags
from tests.training.conftest import vote_on
from training.active import quick_order
from training.active.learnt_head import Features, Learnt, learn
from training.active.priority_order import LEVELS, changed, in_order
from training.active.rerank import VOTES_BETWEEN, behind, rank, refresh_priorities
from training.models import Plan, Run, StageResult
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig
from training.runs import run_inputs

N, D = 60, 4


@pytest.fixture
def scored(run: Run, make_pairs: Callable[..., list[Pair]]) -> list[Pair]:
    """Open pairs of which the latest round left features; the first four are near-duplicates."""
    pairs = make_pairs(N)
    folder = run.directory / "propose"
    folder.mkdir(parents=True)
    run_inputs.prepare(run)
    x = np.random.default_rng(0).normal(size=(N, D))
    x[:4] *= 1e-3
    voted = list(run.project.pairs.filter(state="resolved").values_list("key", flat=True))
    np.save(folder / "features.npy", x.astype(np.float16))
    np.save(folder / "labelled.npy", np.ones((len(voted), D), dtype=np.float16))
    keys = "".join(json.dumps({"key": pair.key}) + "\n" for pair in pairs)
    (folder / "pool.jsonl").write_text(keys)
    (folder / "labelled.jsonl").write_text(
        "".join(json.dumps({"pair_id": key}) + "\n" for key in voted)
    )
    StageResult.objects.create(run=run, stage="propose")
    return pairs


def priorities(pairs: list[Pair]) -> list[float]:
    found = Pair.objects.in_bulk([pair.pk for pair in pairs])
    return [found[pair.pk].priority for pair in pairs]


def test_votes_change_the_order_of_the_open_pairs(
    project: Project, scored: list[Pair], ann: object
) -> None:
    assert refresh_priorities(project.pk) == N
    first = priorities(scored)
    assert max(first[:4]) < float(np.median(first))
    vote_on(scored[10:30], ann)  # type: ignore[arg-type]
    assert refresh_priorities(project.pk) == N - 20
    project.refresh_from_db()
    assert project.ranked_by == "i-optimal"
    assert priorities(scored[30:]) != first[30:]
    assert priorities(scored[10:30]) == first[10:30]


def test_nothing_happens_before_a_batch_of_new_votes(
    project: Project, scored: list[Pair], ann: object
) -> None:
    refresh_priorities(project.pk)
    vote_on(scored[: VOTES_BETWEEN - 1], ann)  # type: ignore[arg-type]
    assert refresh_priorities(project.pk) == 0
    vote_on(scored[VOTES_BETWEEN - 1 : VOTES_BETWEEN], ann)  # type: ignore[arg-type]
    assert refresh_priorities(project.pk) == N - VOTES_BETWEEN


def test_a_new_rounds_features_are_used_at_once(
    project: Project, scored: list[Pair], run: Run
) -> None:
    refresh_priorities(project.pk)
    Plan.objects.update(reranked_run=None)
    assert refresh_priorities(project.pk) == N


def test_a_project_without_a_round_has_nothing_to_rank(project: Project) -> None:
    assert refresh_priorities(project.pk) == 0
    assert not Plan.objects.exists()


def learnt(x: NDArray[np.float64], values: NDArray[np.float64]) -> Learnt:
    return Learnt(acquire.fit(x, values, precision=1.0), {}, x)


def test_a_direction_with_many_votes_is_asked_less_than_an_unknown_one() -> None:
    """One axis has 200 votes behind it, the other none."""
    x = np.array([[1.0, 0.0]] * 200 + [[1.0, 0.1], [0.1, 1.0]])
    features = Features(keys=[str(i) for i in range(len(x))], x=x.astype(np.float16))
    known = learnt(x[:200], np.full(200, 0.5))
    scores = rank(features, known, {"200", "201"}, ProposeConfig(), seed=0)
    assert scores["201"] > scores["200"]


def test_a_pair_on_somebodys_screen_is_not_ranked() -> None:
    x = np.array([[1.0, 0.0]] * 200 + [[1.0, 0.1], [0.1, 1.0], [0.11, 1.0]])
    features = Features(keys=[str(i) for i in range(len(x))], x=x.astype(np.float16))
    known, pool = learnt(x[:200], np.full(200, 0.5)), {"200", "201", "202"}
    beside = rank(features, known, pool, ProposeConfig(), seed=0, pending={"201"})
    assert set(beside) == {"200", "202"}


@pytest.mark.parametrize(
    ("values", "why"),
    [("few", "too few votes"), ("nan", "no numbers"), ("coins", "does not predict")],
)
def test_what_teaches_nothing_leaves_the_order_to_chance(values: str, why: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(150, 4)).astype(np.float16)
    if values == "nan":
        x[:] = np.nan
    features = Features(keys=[str(i) for i in range(150)], x=x)
    n = 20 if values == "few" else 150
    votes = [(str(i), i % 3, float(rng.random() < 0.5), 1.0, 0.5) for i in range(n)]
    found = learn(features, votes, ProposeConfig())
    assert found.head is None and why in found.why
    assert set(rank(features, found, {"3", "9"}, ProposeConfig(), seed=0).values()) == {0.0}


def test_a_pair_with_votes_whose_features_are_no_numbers_leaves_the_others_their_lesson() -> None:
    x = np.random.default_rng(1).normal(size=(150, 4)).astype(np.float16)
    votes = [(str(i), i % 3, float(x[i, 0] > 0), 1.0, 0.5) for i in range(150)]
    x[7, 2] = np.nan
    features = Features(keys=[str(i) for i in range(150)], x=x)
    head = learn(features, votes, ProposeConfig()).head
    assert head is not None and np.isfinite(head.mean).all() and head.mean.argmax() == 0


def test_when_the_head_is_given_up_no_pair_keeps_its_priority(
    project: Project, scored: list[Pair], run: Run, ann: User
) -> None:
    refresh_priorities(project.pk)
    lease = queue.next_pair(project, ann)
    assert lease is not None and max(priorities(scored)) > 0
    Pair.objects.filter(pk=lease.pair_id).update(priority=5.0)
    voted = run.directory / "propose" / "labelled.npy"
    np.save(voted, np.full_like(np.load(voted), np.nan))
    Plan.objects.update(reranked_run=None)
    assert refresh_priorities(project.pk) == N
    assert set(priorities(scored)) == {0.0}


def test_no_more_priorities_are_written_than_the_new_order_needs() -> None:
    keys = [str(i) for i in range(50)]
    first = changed({key: 50.0 - i for i, key in enumerate(keys)}, {})
    assert sorted(keys, key=lambda key: -first[key]) == keys and min(first.values()) > 1
    scores = {key: 50.0 - i for i, key in enumerate(keys)}
    assert changed(scores, first) == {}
    scores["3"] = 10.5  # from the fourth place to the fortieth
    moved = changed(scores, first)
    assert set(moved) == {"3"} and first["39"] > moved["3"] > first["40"]
    scores["7"] = 0.0
    assert changed(scores, first | moved) == {"7": 0.0}


def test_behind_the_shortlist_only_levels_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "SHORTLIST", 10)
    keys = [str(i) for i in range(110)]
    written = changed({key: 200.0 - i for i, key in enumerate(keys)}, {})
    values = [written[key] for key in keys]
    assert values == sorted(values, reverse=True) and min(values[:10]) > 1 >= max(values[10:])
    assert len(set(values[10:])) == LEVELS and min(values) > 0


def test_a_leased_pair_keeps_its_priority(project: Project, scored: list[Pair], ann: User) -> None:
    lease = queue.next_pair(project, ann)
    assert lease is not None
    before = lease.pair.priority
    vote_on([pair for pair in scored if pair != lease.pair][:20], ann)
    assert refresh_priorities(project.pk) == N - 20 - 1
    lease.pair.refresh_from_db()
    assert lease.pair.priority == before


def test_an_order_that_is_crowded_is_spread_anew() -> None:
    keys, before = list("abcdefgh"), dict.fromkeys("abcdefgh", 3.0)
    before |= {"a": 2.5 + 1e-16, "h": 2.5}
    values = before | in_order(keys, before)
    assert [values[key] for key in keys] == sorted({*values.values()}, reverse=True)


def test_a_ranking_that_failed_is_tried_again_at_once_and_followed(
    project: Project, scored: list[Pair], run: Run, ann: User
) -> None:
    refresh_priorities(project.pk)
    vote_on(scored[:20], ann)
    features = run.directory / "propose" / "features.npy"
    whole = features.read_bytes()
    features.write_bytes(whole[:-8])
    with pytest.raises(ValueError):
        refresh_priorities(project.pk)
    assert not quick_order.follows(run) and project.pk not in quick_order._seen
    features.write_bytes(whole)
    assert refresh_priorities(project.pk) == N - 20
    watch = exchange.VoteWatch()
    lease = queue.next_pair(project, ann)
    assert lease is not None
    queue.vote_side(ann, lease.token, "left")
    assert quick_order.catch_up(watch) > 0


def test_a_run_whose_files_are_gone_is_told_of_once_and_another_run_is_ranked(
    project: Project, scored: list[Pair], run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    refresh_priorities(project.pk)
    before = priorities(scored)
    folder = run.directory / "propose"
    kept = shutil.move(folder, folder.with_name("elsewhere"))
    Plan.objects.update(reranked_run=None)
    assert [refresh_priorities(project.pk) for _ in range(3)] == [0, 0, 0]
    [told] = [one for one in caplog.records if "is gone" in one.getMessage()]
    assert told.exc_info is None and priorities(scored) == before
    run.stages.all().delete()
    other = Run.objects.create(project=project, kind=run.kind)
    shutil.copytree(run.directory, other.directory)
    shutil.move(kept, other.directory / "propose")
    StageResult.objects.create(run=other, stage="propose")
    assert refresh_priorities(project.pk) == N


def adaptive(project: Project, rule: str) -> None:
    Project.objects.filter(pk=project.pk).update(votes=Project.Votes.ADAPTIVE, acquisition=rule)
    wanted, limit, agree = Pair.ADAPTIVE
    project.pairs.update(kind="normal", wanted=wanted, limit=limit, agree=agree)


@pytest.mark.parametrize(
    ("rule", "asks"), [("i-optimal", True), ("bald", True), ("random", False), ("margin", False)]
)
def test_only_a_rule_that_compares_what_votes_teach_asks_for_second_ones(
    project: Project, scored: list[Pair], ann: User, rule: str, asks: bool
) -> None:
    adaptive(project, rule)
    vote_on(scored[10:30], ann)
    ranked = refresh_priorities(project.pk)
    opened = Pair.objects.filter(pk__in=[pair.pk for pair in scored[10:30]], state="open")
    assert opened.exists() is asks
    assert ranked == N - 20 + opened.count()


def test_every_open_pair_is_ranked_whatever_it_was_before(
    project: Project,
    scored: list[Pair],
    run: Run,
    make_pairs: Callable[..., list[Pair]],
    ann: User,
) -> None:
    """One that was asked again by an older ranking, and one that no feature is known of."""
    adaptive(project, "i-optimal")
    voted = run.directory / "propose" / "labelled.npy"
    np.save(voted, np.full_like(np.load(voted), np.nan))
    vote_on(scored[:1], ann)
    exchange.ask_again(project, {scored[0].key})
    (unknown,) = make_pairs(1)
    Pair.objects.filter(project=project, state="open").update(priority=4.0)
    refresh_priorities(project.pk)
    left = Pair.objects.filter(project=project, state="open")
    assert unknown in left and set(left.values_list("priority", flat=True)) == {0.0}


def test_who_clicks_at_random_is_flagged_with_one_vote_per_pair(
    project: Project, run: Run, make_pairs: Callable[..., list[Pair]]
) -> None:
    people = [User.objects.create(username=f"reader-{i}") for i in range(8)]
    for user in people:
        Membership.objects.create(project=project, user=user)
    pairs = make_pairs(8 * 40 + 1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(pairs), D))
    folder = run.directory / "propose"
    folder.mkdir(parents=True)
    run_inputs.prepare(run)
    np.save(folder / "features.npy", x.astype(np.float16))
    (folder / "pool.jsonl").write_text("".join(json.dumps({"key": p.key}) + "\n" for p in pairs))
    np.save(folder / "labelled.npy", np.zeros((0, D), dtype=np.float16))
    (folder / "labelled.jsonl").write_text("")
    StageResult.objects.create(run=run, stage="propose")
    for i, pair in enumerate(pairs[:-1]):
        right = "a" if x[i, 0] > 0 else "b"
        choice = "ab"[rng.integers(2)] if i % 8 == 0 else right
        vote_on([pair], people[i % 8], choice=choice)
    assert refresh_priorities(project.pk) == 1
    doubts = dict(project.memberships.values_list("user__username", "head_doubt"))
    assert doubts["reader-0"] < 0.01
    assert all(doubts[f"reader-{i}"] > 0.01 for i in range(1, 8))
    flagged = [row.pseudonym for row in rows(project) if "against the model" in flags(row)]
    assert flagged == [Membership.objects.get(user=people[0]).pseudonym]


def test_what_a_judge_is_sure_of_comes_behind_all_others_in_its_own_order() -> None:
    scores = {"a": 5.0, "b": 0.5, "c": 4.0, "d": 0.0, "e": 0.1}
    told = behind(scores, {"a", "c", "d"})
    order = sorted(told, key=lambda key: -told[key])
    assert order == ["b", "e", "a", "c", "d"] and told["d"] == 0 and told["c"] > 0
    assert behind(scores, set()) == scores
    assert behind(scores, set(scores)) == scores
