"""GLAD, and the side-aware model of preferences."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.statistics.aggregation import dawid_skene, glad, majority, preferences

Arrays = tuple[np.ndarray, ...]

# What crowd-kit 1.4.2 makes of difficult(200, per=5, workers=8, seed=0) by
# GLAD(n_iter=300, tol=1e-7): abilities, and the posteriors of the five least certain items.
CROWD_KIT_ABILITY = [0.8353, 1.0321, 1.1847, 1.0927, 0.1425, -0.4366, 0.8572, 0.7458]
CROWD_KIT_POSTERIORS = {
    91: [0.4598, 0.2044, 0.3358],
    9: [0.443, 0.0833, 0.4737],
    41: [0.4981, 0.1626, 0.3393],
    60: [0.0153, 0.5039, 0.4808],
    199: [0.1255, 0.3635, 0.511],
}


def difficult(items: int, *, per: int, workers: int, seed: int) -> Arrays:
    """Votes that are right with sigmoid(ability * ease): truth, item, worker, choice, ability."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, items)
    item = np.repeat(np.arange(items), per)
    worker = np.concatenate([rng.choice(workers, per, replace=False) for _ in range(items)])
    ability = rng.normal(1.2, 0.8, workers)
    ease = np.exp(rng.normal(0.3, 0.8, items))
    right = rng.random(item.size) < 1 / (1 + np.exp(-ability[worker] * ease[item]))
    wrong = (truth[item] + rng.integers(1, 3, item.size)) % 3
    return truth, item, worker, np.where(right, truth[item], wrong), ability


def sizes(items: int, workers: int) -> dict[str, int]:
    return {"items": items, "workers": workers, "classes": 3}


def test_glad_gives_the_abilities_and_posteriors_of_crowd_kit():
    _, item, worker, choice, _ = difficult(200, per=5, workers=8, seed=0)
    found = glad(item, worker, choice, **sizes(200, 8))
    assert found.ability == pytest.approx(CROWD_KIT_ABILITY, abs=0.003)
    for i, expected in CROWD_KIT_POSTERIORS.items():
        assert found.posteriors[i] == pytest.approx(expected, abs=0.003)


def test_glad_beats_the_majority_and_ranks_workers_and_items():
    truth, item, worker, choice, ability = difficult(1500, per=5, workers=20, seed=4)
    found = glad(item, worker, choice, **sizes(1500, 20))
    simple = majority(item, choice, items=1500, classes=3)
    assert (found.posteriors.argmax(1) == truth).mean() > (simple == truth).mean() + 0.02
    assert np.corrcoef(found.ability, ability)[0, 1] > 0.9
    agreed = np.array([len(set(choice[item == i].tolist())) == 1 for i in range(1500)])
    assert found.ease[agreed].mean() > found.ease[~agreed].mean()


def test_glad_without_votes_knows_nothing():
    none = np.array([], dtype=np.int64)
    found = glad(none, none, none, **sizes(4, 2))
    assert found.posteriors == pytest.approx(np.full((4, 3), 1 / 3))
    assert found.iterations == 1


# Preferences


def leaning(*, items: int, seed: int) -> Arrays:
    """Four fair people and two who take the left side half of the time, whatever is there."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2], p=[0.45, 0.1, 0.45], size=items)
    item, worker = (grid.ravel() for grid in np.mgrid[0:items, 0:6])
    flipped = rng.random(item.size) < 0.5
    right = rng.random(item.size) < 0.8
    choice = np.where(right, truth[item], (truth[item] + rng.integers(1, 3, item.size)) % 3)
    lazy = (worker >= 4) & (rng.random(item.size) < 0.5)
    return truth, item, worker, np.where(lazy, np.where(flipped, 2, 0), choice), flipped


def test_a_bias_to_one_side_is_found_and_corrected():
    truth, item, worker, choice, flipped = leaning(items=1500, seed=1)
    found = preferences(item, worker, choice, flipped, items=1500, workers=6)
    plain = dawid_skene(item, worker, choice, **sizes(1500, 6))
    left_when_right = found.confusion[:, 2, 0]
    assert left_when_right[4:].min() > 0.4 and left_when_right[:4].max() < 0.2
    assert found.reliability[:4].min() > found.reliability[4:].max()
    right = (found.posteriors.argmax(1) == truth).mean()
    assert right >= (plain.posteriors.argmax(1) == truth).mean()
    assert right > 0.9


def test_which_completion_is_called_a_changes_nothing():
    _, item, worker, choice, flipped = leaning(items=60, seed=2)
    found = preferences(item, worker, choice, flipped, items=60, workers=6)
    other = preferences(item, worker, 2 - choice, ~flipped, items=60, workers=6)
    assert other.posteriors == pytest.approx(found.posteriors[:, ::-1])
    assert other.reliability == pytest.approx(found.reliability)


def test_a_vote_that_stands_alone_teaches_nothing_about_its_author():
    item = np.array([0, 0, 1, 1, *range(2, 60)])
    worker = np.array([0, 1, 0, 1, *[2] * 58])
    flipped = np.zeros(item.size, dtype=bool)
    choice = np.zeros(item.size, dtype=np.int64)
    found = preferences(item, worker, choice, flipped, items=60, workers=3)
    assert found.reliability[2] < min(found.reliability[:2])
    assert found.posteriors[2:].argmax(1).tolist() == [0] * 58
    assert found.posteriors[2:, 0].max() < found.posteriors[0, 0]


def test_known_answers_tell_who_is_right_where_two_contradict_each_other():
    item, worker = (grid.ravel() for grid in np.mgrid[0:30, 0:2])
    choice = np.where(worker == 0, 0, 2)
    flipped = (item % 2).astype(bool)
    known = np.where(np.arange(30) < 15, 2, -1)
    found = preferences(item, worker, choice, flipped, items=30, workers=2, known=known)
    assert found.posteriors[:15] == pytest.approx(np.tile([0, 0, 1], (15, 1)))
    assert found.posteriors[15:].argmax(1).tolist() == [2] * 15
    assert found.reliability[1] > 0.7 and found.reliability[0] < 0.4
