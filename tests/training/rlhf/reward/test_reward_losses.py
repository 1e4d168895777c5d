"""Every loss against a slow version written from its paper's probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.rlhf.config import ConfigError, RewardConfig
from training.rlhf.language.reward_tokens import Text
from training.rlhf.reward import reward_losses
from training.rlhf.reward.reward_data import Example, Rated
from training.rlhf.reward.reward_losses import Objective

REWARDS = st.floats(-6, 6)
SHARES = st.tuples(*[st.integers(0, 5)] * 3).filter(lambda votes: sum(votes) > 0)


def normalised(votes: tuple[int, int, int]) -> tuple[float, float, float]:
    a, tie, b = (vote / sum(votes) for vote in votes)
    return a, tie, b


def close(found: torch.Tensor, expected: float) -> bool:
    return math.isclose(float(found.detach()), expected, rel_tol=1e-4, abs_tol=1e-4)


def log(p: float) -> float:
    return math.log(p)


@given(REWARDS, REWARDS, st.floats(0, 1), st.floats(-2, 2))
def test_bradley_terry_is_the_likelihood_of_every_vote(
    a: float, b: float, value: float, margin: float
) -> None:
    ahead = math.exp(a - margin) / (math.exp(a - margin) + math.exp(b))
    slow = -value * log(ahead) - (1 - value) * log(1 - ahead)
    fast = reward_losses.bradley_terry(torch.tensor([a - b]), torch.tensor([value]), margin)
    assert close(fast, slow)


@given(REWARDS, REWARDS, SHARES, st.floats(0.05, 3))
def test_rao_kupper_gives_a_tie_the_probability_of_its_paper(
    a: float, b: float, votes: tuple[int, int, int], eta: float
) -> None:
    pa, pb, theta = math.exp(a), math.exp(b), math.exp(eta)
    first, second = pa / (pa + theta * pb), pb / (theta * pa + pb)
    drawn = pa * pb * (theta**2 - 1) / ((pa + theta * pb) * (theta * pa + pb))
    assert math.isclose(first + second + drawn, 1)
    f = normalised(votes)
    slow = -f[0] * log(first) - f[1] * log(drawn) - f[2] * log(second)
    value, tie = torch.tensor([f[0] + f[1] / 2]), torch.tensor([f[1]])
    fast = reward_losses.rao_kupper(torch.tensor([a - b]), value, tie, torch.tensor(eta))
    assert close(fast, slow)


@given(REWARDS, REWARDS, SHARES, st.floats(0.05, 5))
def test_davidson_gives_a_tie_the_probability_of_its_paper(
    a: float, b: float, votes: tuple[int, int, int], nu: float
) -> None:
    pa, pb = math.exp(a), math.exp(b)
    whole = pa + pb + nu * math.sqrt(pa * pb)
    f = normalised(votes)
    slow = -f[0] * log(pa / whole) - f[2] * log(pb / whole)
    slow -= f[1] * log(nu * math.sqrt(pa * pb) / whole)
    value, tie = torch.tensor([f[0] + f[1] / 2]), torch.tensor([f[1]])
    fast = reward_losses.davidson(torch.tensor([a - b]), value, tie, torch.tensor(nu).log())
    assert close(fast, slow)


@given(SHARES, st.floats(0, 0.9))
def test_smoothing_moves_every_outcome_alike(votes: tuple[int, int, int], epsilon: float) -> None:
    f = [(1 - epsilon) * share + epsilon / 3 for share in normalised(votes)]
    a, tie, _ = normalised(votes)
    value = reward_losses.smoothed(torch.tensor(a + tie / 2), epsilon, 2)
    assert close(value, f[0] + f[1] / 2)
    assert close(reward_losses.smoothed(torch.tensor(tie), epsilon, 3), f[1])


def pair(value: float, *, weight: float = 1.0, tie: float = 0.0, strength: float = 0.0) -> Example:
    text = Text([1, 2], 1, 0)
    return Example("p", text, text, value, weight, tie, strength)


SCORES = torch.tensor([[1.0, 0.5], [-0.2, 0.4], [0.3, 0.3]])
PAIRS = [
    pair(1.0, weight=2.0, strength=1.0),
    pair(1 / 3, strength=-2 / 9),
    pair(0.5, weight=0.5, tie=1.0),
]


@pytest.mark.parametrize(
    ("margin_by", "margins"),
    [
        ("fixed", (0.5, -0.5, 0.0)),
        ("votes", (0.5, -0.5 / 3, 0.0)),
        ("strength", (0.5, -0.5 * 2 / 9, 0.0)),
    ],
)
def test_the_margin_is_asked_for_the_preferred_side_by_the_configured_measure(
    margin_by: str, margins: tuple[float, ...]
) -> None:
    config = RewardConfig(margin=0.5, margin_by=margin_by, centre=0.1)  # type: ignore[arg-type]
    found = Objective(config, PAIRS, centre=0.2).loss(SCORES, PAIRS)
    mass = (2 + 1 + 0.5) / 3
    for i, (item, margin) in enumerate(zip(PAIRS, margins, strict=True)):
        a, b = SCORES[i].tolist()
        p = 1 / (1 + math.exp(-(a - b - margin)))
        slow = -item.value * log(p) - (1 - item.value) * log(1 - p)
        assert close(found[i], item.weight / mass * slow + 0.1 * (a + b - 0.4) ** 2)
    plain = Objective(config, PAIRS, centre=0.2).misfit(SCORES, PAIRS)
    assert close(plain[2], math.log(2)), "margins and centring are no part of the misfit"


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_a_tie_model_starts_where_equal_replies_tie_as_often_as_people_say(loss: str) -> None:
    pairs = [pair(0.5, tie=1.0), pair(1.0), pair(0.0), pair(1.0)]
    config = RewardConfig(loss=loss, centre=0.0)  # type: ignore[arg-type]
    objective = Objective(config, pairs, centre=0.0)
    equal = objective.misfit(torch.zeros(1, 2), [pair(0.5, tie=1.0)])
    assert close(torch.exp(-equal), 0.25)
    undrawn = Objective(config, [pair(1.0)], centre=0.0)
    assert float(undrawn.misfit(torch.tensor([[3.0, 0.0]]), [pair(1.0)]).detach()) < 0.2


def test_a_tie_says_more_under_a_tie_model_than_as_two_half_votes() -> None:
    """Between equal replies it is no surprise; between unequal ones it pulls them together."""
    config = RewardConfig(loss="davidson", centre=0.0)
    drawn = pair(0.5, tie=1.0)
    objective = Objective(config, [drawn, pair(1.0)], centre=0.0)
    scores = torch.tensor([[2.0, 0.0]], requires_grad=True)
    objective.loss(scores, [drawn]).sum().backward()
    assert scores.grad is not None and float(scores.grad[0, 0]) > 0 > float(scores.grad[0, 1])
    assert close(objective.misfit(torch.zeros(1, 2), [drawn]), math.log(2))


def test_regression_is_the_squared_distance_from_the_rating() -> None:
    items = [Rated("p", Text([1], 1, 0), 0.7), Rated("q", Text([1], 1, 0), -1.0, weight=3.0)]
    objective = Objective(RewardConfig(loss="regression"), items, centre=0.0)
    found = objective.loss(torch.tensor([[1.0], [0.5]]), items)
    assert found.tolist() == pytest.approx([0.5 * 0.3**2, 1.5 * 1.5**2], rel=1e-5)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"loss": "davidson", "margin": 0.5}, "margin belongs to bradley_terry"),
        ({"loss": "regression", "label_smoothing": 0.1}, "label_smoothing belongs to"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in"),
        ({"quantise": "nf4"}, r"quantise needs reward\.lora"),
        ({"pass_tokens": 0}, "pass_tokens must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    chosen: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RewardConfig(**chosen)  # type: ignore[arg-type]
