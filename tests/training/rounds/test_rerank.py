from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User

from annotate import exchange, queue
from annotate.models import Assignment, Pair, Project
from tests.training.conftest import vote_on
from training.models import Plan, Round, Run, StageResult
from training.rlhf import acquire
from training.rlhf.config import ProposeConfig, RoundConfig, from_dict
from training.rounds import start_and_cancel
from training.rounds.rerank import VOTES_BETWEEN, Features, load, rank, refresh_priorities
from training.runs import run_inputs
from training.versions import promotion

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
    scores = rank(features, votes, {"200", "201"}, ProposeConfig(), seed=0)
    assert scores["201"] > scores["200"]


def test_a_direction_on_somebodys_screen_counts_as_asked() -> None:
    x = np.array([[1.0, 0.0]] * 200 + [[1.0, 0.1], [0.1, 1.0], [0.11, 1.0]])
    features = Features(keys=[str(i) for i in range(len(x))], x=x)
    votes = {str(i): (0.5, 1) for i in range(200)}
    pool = {"200", "201", "202"}
    alone = rank(features, votes, pool, ProposeConfig(), seed=0)
    beside = rank(features, votes, pool, ProposeConfig(), seed=0, pending={"201"})
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


def by_the_engine(pairs: list[Pair], run: Run) -> list[float]:
    """Scores of the pairs by the engine's ranking, with the settings that the round began with."""
    assert run.round is not None
    features = load(run.directory / "propose")
    votes = exchange.votes_on(run.project, features.keys, include_simulated=False)
    x = dict(zip(features.keys, features.x, strict=True))
    mass = np.array([count for _, count in votes.values()], dtype=np.float64)
    ranking = acquire.rerank(
        np.array([x[key] for key in votes]),
        np.array([share for share, _ in votes.values()]),
        np.array([x[pair.key] for pair in pairs]),
        np.ones(len(pairs), dtype=bool),
        from_dict(RoundConfig, run.round.config).propose,
        n=len(pairs),
        seed=int(mass.sum()),
        weights=mass,
    )
    return [float(score) for score in ranking.scores]


@pytest.fixture
def early(a_round: Round, project: Project) -> Round:
    """A round that chooses by what a vote teaches from 20 votes on; there are 30."""
    a_round.config["propose"]["cold_start_votes"] = 20
    a_round.save(update_fields=["config"])
    keep = project.pairs.order_by("pk")[:15].values_list("pk", flat=True)
    Assignment.objects.filter(pair__project=project).exclude(pair__in=list(keep)).delete()
    return a_round


def test_between_rounds_the_order_is_by_the_rounds_own_settings(
    early: Round, project: Project, scored: list[Pair], run: Run
) -> None:
    assert refresh_priorities(project.pk) == N
    assert priorities(scored) == pytest.approx(by_the_engine(scored, run), abs=1e-6)
    # By the default of 100 votes the order would be random: near-duplicates among the first.
    assert max(priorities(scored)[:4]) < 1e-3 < float(np.median(priorities(scored)))


def test_a_plan_that_changes_later_does_not_change_the_order_of_a_round(
    project: Project, scored: list[Pair], run: Run
) -> None:
    Plan.objects.update(config={"propose": {"cold_start_votes": 100_000}})
    refresh_priorities(project.pk)
    assert priorities(scored) == pytest.approx(by_the_engine(scored, run), abs=1e-6)


def test_a_round_does_not_start_with_an_acquisition_that_does_not_exist(
    voted: Project, home: Path
) -> None:
    promotion.adopt_starter(voted, "starter")
    Plan.objects.create(project=voted, config={"propose": {"acquisition": "coin"}})
    with pytest.raises(start_and_cancel.WrongSettings, match="acquisition must be one of"):
        start_and_cancel.start_round(voted)
