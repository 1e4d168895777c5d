from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score

from tests.training.rlhf import tiny, world
from training.rlhf.metrics import calibration
from training.rlhf.reward import held_out_report, reward_model
from training.rlhf.reward.held_out_report import HeldOut
from training.rlhf.rows import Preference, Rating, Vote

RNG = np.random.default_rng(0)


def predictions(n: int = 200) -> HeldOut:
    """Scores and lengths that are correlated, and people who follow the scores half-heartedly."""
    lengths = RNG.integers(3, 20, size=(n, 2)).astype(float)
    rewards = lengths / 10 + RNG.normal(size=(n, 2))
    labels = np.where(rewards[:, 0] - rewards[:, 1] + RNG.normal(size=n) > 0, "a", "b").tolist()
    return HeldOut(
        pair_ids=[str(i) for i in range(n)],
        prompt_ids=[str(i // 2) for i in range(n)],
        rewards=rewards,
        lengths=lengths,
        labels=[None if i % 10 == 0 else label for i, label in enumerate(labels)],
        strengths=RNG.choice([1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0], size=n),
        truncated=3,
    )


def slow_accuracy(seen: HeldOut, inside: list[int]) -> float:
    right = [(seen.rewards[i, 0] > seen.rewards[i, 1]) == (seen.labels[i] == "a") for i in inside]
    return sum(right) / len(right)


def test_accuracy_is_reported_overall_by_strength_and_by_who_was_longer() -> None:
    seen = predictions()
    found = seen.metrics()
    decided = [i for i, label in enumerate(seen.labels) if label]
    assert found["accuracy"] == pytest.approx(slow_accuracy(seen, decided))
    assert (found["pairs_held_out"], found["ties_held_out"]) == (180, 20)
    assert found["truncated_held_out"] == 3
    bounds = {"slight": (0, 0.5), "clear": (0.5, 0.84), "much": (0.84, 1)}
    for name, (low, high) in bounds.items():
        inside = [i for i in decided if low < seen.strengths[i] <= high]
        assert found[f"accuracy_{name}"] == pytest.approx(slow_accuracy(seen, inside))
        assert found[f"pairs_{name}"] == len(inside)
    for name in ("shorter", "longer"):
        inside = []
        for i in decided:
            a, b = seen.lengths[i] if seen.labels[i] == "a" else seen.lengths[i][::-1]
            if (a < b) if name == "shorter" else (a > b):
                inside.append(i)
        assert found[f"accuracy_{name}_preferred"] == pytest.approx(slow_accuracy(seen, inside))
        assert found[f"pairs_{name}_preferred"] == len(inside)
    assert found["accuracy_longer_preferred"] > found["accuracy_shorter_preferred"]


def test_auc_and_the_length_correlation_equal_the_oracles() -> None:
    seen = predictions()
    decided = [i for i, label in enumerate(seen.labels) if label]
    truth = np.array([seen.labels[i] == "a" for i in decided])
    found = seen.metrics()
    both = np.concatenate([seen.logits[decided], -seen.logits[decided]])
    expected = roc_auc_score(np.concatenate([truth, ~truth]), both)
    assert found["auc"] == pytest.approx(expected)
    expected = spearmanr(seen.rewards.ravel(), seen.lengths.ravel()).statistic
    assert found["length_correlation"] == pytest.approx(expected)


def test_every_figure_is_explained_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "metrics.md").read_text("utf-8")
    explained = set(re.findall(r"`(\w+)`", text.partition("## What a reward model is worth")[2]))
    counts = {"pairs_clear", "pairs_much", "pairs_shorter_preferred", "pairs_longer_preferred"}
    assert set(predictions().metrics()) <= explained | counts


def test_no_figure_depends_on_which_reply_is_called_a() -> None:
    seen = predictions()
    turned = [label == "b" for label in seen.labels]
    better_first = replace(
        seen,
        rewards=np.where(np.array(turned)[:, None], seen.rewards[:, ::-1], seen.rewards),
        lengths=np.where(np.array(turned)[:, None], seen.lengths[:, ::-1], seen.lengths),
        labels=[label and "a" for label in seen.labels],
    )
    assert better_first.metrics() == pytest.approx(seen.metrics())


def test_the_temperature_for_a_prompt_is_fit_on_other_prompts() -> None:
    """Two prompts, one right with confidence and one wrong: each is scaled by what fits the other,
    which makes both worse. Scaled by themselves they would be near one half."""
    rewards = np.array([[4.0, 0.0]] * 4)
    seen = HeldOut(
        [str(i) for i in range(4)],
        ["p", "p", "q", "q"],
        rewards,
        np.ones((4, 2)),
        ["a", "a", "b", "b"],
        np.ones(4),
        0,
    )
    # The right prompt's T is 1/20, which makes the wrong ones certain; the other way round T is 20.
    assert seen.metrics()["ece"] == pytest.approx((2 - 1 / (1 + math.exp(-0.2))) / 2)
    assert math.isnan(replace(seen, prompt_ids=["p"] * 4).metrics()["ece"])


def test_correlations_equal_scipy_and_are_nan_where_there_is_none() -> None:
    x, y = RNG.integers(0, 5, 50).astype(float), RNG.normal(size=50)
    assert calibration.pearson(x, y) == pytest.approx(pearsonr(x, y).statistic)
    assert calibration.spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert math.isnan(calibration.pearson(np.ones(4), np.arange(4.0)))
    assert math.isnan(calibration.spearman(np.zeros(0), np.zeros(0)))
    # The mean of these is not 0.1 but its neighbour.
    assert math.isnan(calibration.pearson(np.full(3, 0.1), np.arange(3.0)))


def test_nothing_held_out_is_no_error() -> None:
    empty = np.zeros((0, 2))
    seen = HeldOut([], [], empty, empty, [], np.zeros(0), 0)
    found = seen.metrics()
    assert found["pairs_held_out"] == 0 and math.isnan(found["accuracy"])
    assert "accuracy_much" not in found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> reward_model.RewardModel:
    base = tiny.llama(tmp_path_factory.mktemp("base"))
    torch.manual_seed(1)
    found = reward_model.new(base, pooling="last", max_length=64, device=torch.device("cpu"))
    assert isinstance(found.head, torch.nn.Linear)
    torch.nn.init.normal_(found.head.weight)
    return found


def test_held_out_pairs_are_scored_as_each_reply_alone(model: reward_model.RewardModel) -> None:
    votes = (Vote(annotator="a", choice="b", strength=3), Vote(annotator="b", choice="b"))
    pairs = [Preference(**(vars(p) | {"votes": votes})) for p in world.preferences(24)]
    long: dict[str, Any] = {"messages": [{"role": "user", "content": "the parcel " * 99}]}
    pairs[3] = Preference(**(vars(pairs[3]) | long))
    seen = held_out_report.held_out(model, pairs)
    inside = [pair for pair in pairs if pair.held_out]
    assert seen.pair_ids == [pair.pair_id for pair in inside] and seen.truncated == 1
    for i, row in enumerate(inside):
        sides = (row.completion_a, row.completion_b)
        alone = [model.score([row.messages], [side])[0] for side in sides]
        assert seen.rewards[i].tolist() == pytest.approx(alone, abs=1e-5)
        tokens = [len(model.tokenizer.encode(side, add_special_tokens=False)) + 1 for side in sides]
        assert seen.lengths[i].tolist() == tokens
    assert seen.strengths.tolist() == pytest.approx([2.5 / 3] * len(inside))


def test_ratings_are_reported_in_their_own_unit(model: reward_model.RewardModel) -> None:
    chat = world.prompts()[0].messages
    told = {"good": 9.0, "great kind": 7.0, "bad": 2.0, "rude today": 7.0}
    ratings = [
        Rating(prompt_id="p", messages=chat, completion=text, score=score, held_out=True)
        for text, score in told.items()
    ]
    left_out = Rating(**(vars(ratings[0]) | {"held_out": False, "score": -100.0}))
    alone = Rating(**(vars(ratings[0]) | {"prompt_id": "q"}))
    model.classifier.config.reward_mean, model.classifier.config.reward_deviation = 5.0, 2.0
    found = held_out_report.held_out_ratings(model, [*ratings, left_out])
    scores = model.score([chat] * 4, list(told))
    errors = [(5 + 2 * s - t) ** 2 for s, t in zip(scores, told.values(), strict=True)]
    assert found["rmse"] == pytest.approx(math.sqrt(sum(errors) / 4), rel=1e-5)
    assert found["spearman"] == pytest.approx(spearmanr(scores, list(told.values())).statistic)
    assert (found["ratings_held_out"], found["pairs_held_out"]) == (4, 5)
    pairs = [
        (i, j) for i in range(4) for j in range(i) if [*told.values()][i] != [*told.values()][j]
    ]
    right = [
        (scores[i] > scores[j]) == ([*told.values()][i] > [*told.values()][j]) for i, j in pairs
    ]
    assert found["accuracy"] == pytest.approx(sum(right) / 5)
    more = held_out_report.held_out_ratings(model, [alone, *ratings])
    assert (more["ratings_held_out"], more["pairs_held_out"]) == (5, 5), "prompts stay apart"
    assert more["accuracy"] == found["accuracy"]
    only = held_out_report.held_out_ratings(model, [alone])
    assert only["pairs_held_out"] == 0 and math.isnan(only["accuracy"])


@pytest.mark.parametrize("pairs", [11, 60, 500])
def test_the_calibration_error_of_a_perfect_model_is_told_beside_the_measured_one(
    pairs: int,
) -> None:
    """On 11 pairs it is a quarter: that much says nothing."""
    rng = np.random.default_rng(pairs)
    shown, told = [], []
    for _ in range(60):
        logits = rng.normal(scale=1.5, size=pairs)
        labels = (rng.random(pairs) < 1 / (1 + np.exp(-logits))).astype(float)
        shown.append(calibration.ece(*calibration.both_ways(logits, labels)))
        told.append(calibration.ece_noise(logits, draws=20))
    assert np.mean(told) == pytest.approx(np.mean(shown), rel=0.15)
    assert np.mean(told) > 0.15 or pairs > 11
