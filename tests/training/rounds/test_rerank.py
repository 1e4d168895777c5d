from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User

from annotate import queue
from annotate.models import Pair, Project
from tests.training.conftest import vote_on
from training.models import Plan, Run, StageResult
from training.rounds.rerank import VOTES_BETWEEN, Features, rank, refresh_priorities

N, D = 60, 4


@pytest.fixture
def scored(run: Run, make_pairs: Callable[..., list[Pair]]) -> list[Pair]:
    """Open pairs of which the latest round left features; the first four are near-duplicates."""
    pairs = make_pairs(N)
    folder = run.directory / "propose"
    folder.mkdir(parents=True)
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


def test_a_direction_with_many_votes_is_asked_less_than_an_unknown_one() -> None:
    """One axis has 200 votes behind it, the other none."""
    x = np.array([[1.0, 0.0]] * 200 + [[1.0, 0.1], [0.1, 1.0]])
    features = Features(keys=[str(i) for i in range(len(x))], x=x)
    votes = {str(i): (0.5, 1) for i in range(200)}
    scores = rank(features, votes, {"200", "201"}, seed=0)
    assert scores["201"] > scores["200"]


def test_a_direction_on_somebodys_screen_counts_as_asked() -> None:
    x = np.array([[1.0, 0.0]] * 200 + [[1.0, 0.1], [0.1, 1.0], [0.11, 1.0]])
    features = Features(keys=[str(i) for i in range(len(x))], x=x)
    votes = {str(i): (0.5, 1) for i in range(200)}
    pool = {"200", "201", "202"}
    alone = rank(features, votes, pool, seed=0)
    beside = rank(features, votes, pool, seed=0, pending={"201"})
    assert "201" not in beside
    assert beside["202"] - beside["200"] < alone["202"] - alone["200"]


def test_a_leased_pair_keeps_its_priority(project: Project, scored: list[Pair], ann: User) -> None:
    lease = queue.next_pair(project, ann)
    assert lease is not None
    before = lease.pair.priority
    vote_on([pair for pair in scored if pair != lease.pair][:20], ann)
    assert refresh_priorities(project.pk) == N - 20 - 1
    lease.pair.refresh_from_db()
    assert lease.pair.priority == before
