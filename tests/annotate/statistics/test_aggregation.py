"""Majority and Dawid-Skene: on planted crowds, and against crowd-kit."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.statistics.aggregation import dawid_skene, majority, vote_shares


def crowd(accuracies: list[float], *, items: int = 300, classes: int = 3, seed: int = 0):
    """Every worker votes on every item; accuracy below 1/classes is a liar."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    item, worker = (grid.ravel() for grid in np.mgrid[0:items, 0 : len(accuracies)])
    right = rng.random(item.size) < np.array(accuracies)[worker]
    wrong = (truth[item] + rng.integers(1, classes, item.size)) % classes
    return truth, item, worker, np.where(right, truth[item], wrong)


def sizes(items: int, workers: int, classes: int) -> dict[str, int]:
    return {"items": items, "workers": workers, "classes": classes}


def test_a_known_liar_is_found_and_used_instead_of_believed():
    truth, item, worker, choice = crowd([0.8, 0.75, 0.7, 0.65, 0.05], classes=2)
    result = dawid_skene(item, worker, choice, **sizes(300, 5, 2))
    simple = majority(item, choice, items=300, classes=2)
    assert (result.posteriors.argmax(1) == truth).mean() > 0.88
    assert (simple == truth).mean() < 0.8
    assert result.reliability[4] < 0.2 and result.reliability[0] > 0.7


def test_reliabilities_come_back_close_to_the_planted_ones():
    planted = [0.9, 0.8, 0.7, 0.6]
    truth, item, worker, choice = crowd(planted, items=3000)
    result = dawid_skene(item, worker, choice, **sizes(3000, 4, 3))
    assert result.reliability == pytest.approx(planted, abs=0.04)
    assert (result.posteriors.argmax(1) == truth).mean() > 0.9


def test_confusion_rows_and_posteriors_are_distributions():
    _, item, worker, choice = crowd([0.8, 0.6, 0.5], items=40)
    result = dawid_skene(item, worker, choice, **sizes(40, 3, 3))
    assert result.posteriors.sum(1) == pytest.approx(np.ones(40))
    assert result.confusion.sum(2) == pytest.approx(np.ones((3, 3)))


def test_no_votes_at_all_leave_uniform_posteriors():
    none = np.array([], dtype=np.int64)
    result = dawid_skene(none, none, none, **sizes(4, 2, 3))
    assert result.posteriors == pytest.approx(np.full((4, 3), 1 / 3))
    assert result.reliability.shape == (2,)
    assert majority(none, none, items=4, classes=3).tolist() == [-1] * 4


def test_one_annotator_is_believed():
    item, choice = np.array([0, 1, 2]), np.array([0, 2, 1])
    result = dawid_skene(item, np.zeros(3, dtype=np.int64), choice, **sizes(3, 1, 3))
    assert result.posteriors.argmax(1).tolist() == [0, 2, 1]


def test_an_item_without_votes_gets_the_class_prior():
    item, choice = np.array([0, 0, 2]), np.array([1, 1, 1])
    worker = np.array([0, 1, 0])
    result = dawid_skene(item, worker, choice, **sizes(3, 2, 2))
    assert result.posteriors[1].argmax() == 1 and np.isfinite(result.posteriors).all()


def test_a_shared_lead_is_no_majority():
    item, choice = np.array([0, 0, 1, 1, 1]), np.array([0, 2, 2, 2, 1])
    assert majority(item, choice, items=3, classes=3).tolist() == [-1, 2, -1]
    assert vote_shares(item, choice, items=3, classes=3)[1].tolist() == [0, 1 / 3, 2 / 3]


# crowd-kit has no prior; with hundreds of votes per worker and class ours moves little.


@pytest.fixture(scope="module")
def peculiar():
    """Three classes, five workers of whom one confuses two of them: item, worker, choice."""
    truth, item, worker, choice = crowd([0.85, 0.75, 0.65, 0.6, 0.7], items=1500, seed=5)
    confused = (worker == 4) & (truth[item] == 2)
    return item, worker, np.where(confused, 1, choice)


@pytest.fixture(scope="module")
def crowd_kit():
    """Which takes seconds to import."""
    from crowdkit.aggregation import classification

    return classification


@pytest.fixture(scope="module")
def frame(peculiar):
    import pandas

    return pandas.DataFrame(dict(zip(("task", "worker", "label"), peculiar, strict=True)))


def test_majorities_are_those_of_crowd_kit(peculiar, crowd_kit, frame):
    item, _, choice = peculiar
    found = majority(item, choice, items=1500, classes=3)
    oracle = crowd_kit.MajorityVote().fit_predict(frame).loc[range(1500)].to_numpy()
    assert (found >= 0).sum() > 1200
    assert (found == oracle)[found >= 0].all()


def test_dawid_skene_gives_the_posteriors_and_confusions_of_crowd_kit(peculiar, crowd_kit, frame):
    found = dawid_skene(*peculiar, **sizes(1500, 5, 3))
    oracle = crowd_kit.DawidSkene(n_iter=60, tol=1e-6).fit(frame)
    posteriors = oracle.probas_.loc[range(1500), range(3)].to_numpy()
    confusion = [oracle.errors_.loc[w].loc[range(3), range(3)].to_numpy().T for w in range(5)]
    assert found.confusion == pytest.approx(np.array(confusion), abs=0.02)
    assert np.abs(found.posteriors - posteriors).mean() < 0.01
    assert (found.posteriors.argmax(1) == posteriors.argmax(1)).mean() > 0.99
