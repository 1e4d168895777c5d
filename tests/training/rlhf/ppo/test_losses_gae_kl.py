from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.rlhf.language.response_states import length_mask
from training.rlhf.ppo import losses_gae_kl


def ragged(seed: int, batch: int = 5, width: int = 9) -> tuple[torch.Tensor, ...]:
    """Rewards and values with noise on the padding too: padding must never count."""
    source = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, width + 1, (batch,), generator=source)
    rewards = torch.randn(batch, width, generator=source, dtype=torch.float64)
    values = torch.randn(batch, width, generator=source, dtype=torch.float64)
    return rewards, values, lengths


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 1.0), st.floats(0.0, 1.0))
def test_gae_equals_the_sum_that_defines_it(seed: int, gamma: float, lam: float):
    rewards, values, lengths = ragged(seed)
    mask = length_mask(lengths, rewards.shape[1]).double()
    advantages, returns = losses_gae_kl.gae(rewards, values, mask, gamma=gamma, lam=lam)
    for row, n in enumerate(lengths.tolist()):
        r, v = rewards[row, :n].tolist(), [*values[row, :n].tolist(), 0.0]
        for t in range(n):
            expected = sum(
                (gamma * lam) ** (k - t) * (r[k] + gamma * v[k + 1] - v[k]) for k in range(t, n)
            )
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-9)
            assert returns[row, t].item() == pytest.approx(expected + v[t], abs=1e-9)
        assert not advantages[row, n:].any()
        assert not returns[row, n:].any()


def test_with_lambda_one_the_return_is_the_discounted_sum_of_rewards():
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    mask = torch.ones(1, 3)
    _, returns = losses_gae_kl.gae(rewards, torch.randn(1, 3), mask, gamma=0.5, lam=1.0)
    torch.testing.assert_close(returns, torch.tensor([[3.0, 4.0, 4.0]]))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_expected_kl_estimate_is_the_true_kl(estimator):
    policy = torch.tensor([0.5, 0.3, 0.15, 0.05])
    reference = torch.tensor([0.25, 0.25, 0.25, 0.25])
    estimates = losses_gae_kl.kl_per_token(policy.log(), reference.log(), estimator)
    truth = (policy * (policy / reference).log()).sum()
    torch.testing.assert_close((policy * estimates).sum(), truth)
    assert bool((estimates < 0).any()) == (estimator == "k1")


def test_the_score_lands_on_the_last_real_token_and_kl_on_every_real_one():
    mask = length_mask(torch.tensor([2, 4]), 4)
    kl = torch.tensor([[1.0, 2.0, 9.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    rewards = losses_gae_kl.token_rewards(torch.tensor([10.0, -5.0]), kl, mask, kl_coef=0.5)
    expected = torch.tensor([[-0.5, 9.0, 0.0, 0.0], [-0.5, -0.5, -0.5, -5.5]])
    torch.testing.assert_close(rewards, expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, 0.0),
        (1.5, 2.0, -2.4, 1.0),  # gain beyond the clip does not count
        (1.5, -2.0, 3.0, 0.0),  # harm always does
        (0.5, 2.0, -1.0, 0.0),
        (0.5, -2.0, 1.6, 1.0),
    ],
)
def test_the_surrogate_clips_gains_and_never_harm(ratio, advantage, loss, clipped):
    value, where = losses_gae_kl.policy_loss(
        torch.tensor([ratio]).log(), torch.zeros(1), torch.tensor([advantage]), clip=0.2
    )
    assert value.item() == pytest.approx(loss)
    assert where.item() == clipped


def test_a_value_gains_nothing_by_moving_further_than_the_clip():
    old, returns = torch.zeros(2), torch.ones(2)
    values = torch.tensor([0.2, 0.9], requires_grad=True)
    loss = losses_gae_kl.value_loss(values, old, returns, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([0.32, 0.32]))
    loss.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-0.8, 0.0])


def test_both_clipped_losses_equal_their_formulas_token_by_token():
    source = torch.Generator().manual_seed(0)
    new, old, advantages, returns = torch.randn(4, 200, generator=source, dtype=torch.float64)
    policy, where = losses_gae_kl.policy_loss(new, old, advantages, clip=0.3)
    value = losses_gae_kl.value_loss(new, old, returns, clip=0.5)
    for i in range(200):
        n, o, a, r = (float(each[i]) for each in (new, old, advantages, returns))
        ratio = math.exp(n - o)
        kept = min(max(ratio, 0.7), 1.3)
        assert float(policy[i]) == pytest.approx(-min(ratio * a, kept * a))
        assert bool(where[i]) == (kept * a < ratio * a)
        near = min(max(n, o - 0.5), o + 0.5)
        assert float(value[i]) == pytest.approx(max((n - r) ** 2, (near - r) ** 2) / 2)


def test_whitening_is_the_distance_from_the_mean_in_deviations():
    rewards, _, lengths = ragged(1)
    mask = length_mask(lengths, rewards.shape[1]).double()
    real = [x for row, n in zip(rewards, lengths, strict=True) for x in row[: int(n)].tolist()]
    mean, deviation = statistics.fmean(real), statistics.pstdev(real)
    expected = [(x - mean) / deviation for x in real]
    found = losses_gae_kl.whiten(rewards, mask)[mask.bool()].tolist()
    assert found == pytest.approx(expected, rel=1e-6)
    kept = losses_gae_kl.whiten(rewards, mask, shift_mean=False)[mask.bool()].tolist()
    assert kept == pytest.approx([x + mean for x in expected], rel=1e-6)


def test_whitening_ignores_padding():
    mask = length_mask(torch.tensor([3, 1]), 3)
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 1e6, -1e6]])
    white = losses_gae_kl.whiten(values, mask)
    real = white[mask.bool()]
    assert real.mean().item() == pytest.approx(0, abs=1e-6)
    assert real.var(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert not white[~mask.bool()].any()
    kept = losses_gae_kl.whiten(values, mask, shift_mean=False)[mask.bool()]
    assert kept.mean().item() == pytest.approx(3.0, abs=1e-5)


def test_the_adaptive_coefficient_follows_the_kl_and_the_fixed_one_stays():
    adaptive = losses_gae_kl.KLController(0.1, target=6.0, horizon=40)
    adaptive.update(60.0, 16)
    assert adaptive.coef == pytest.approx(0.1 * (1 + 0.2 * 16 / 40))
    raised = adaptive.coef
    adaptive.update(5.4, 16)
    assert adaptive.coef == pytest.approx(raised * (1 - 0.1 * 16 / 40))
    fixed = losses_gae_kl.KLController(0.1)
    fixed.update(60.0, 16)
    assert fixed.coef == 0.1


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one():
    returns, mask = torch.tensor([[1.0, 2.0, 5.0]]), torch.ones(1, 3)
    perfect = losses_gae_kl.explained_variance(returns, returns, mask)
    constant = losses_gae_kl.explained_variance(torch.zeros(1, 3), returns, mask)
    assert perfect.item() == pytest.approx(1)
    assert constant.item() == pytest.approx(0, abs=1e-6)


@given(st.lists(st.lists(st.floats(-10, 10), min_size=2, max_size=6), min_size=1, max_size=5))
def test_the_running_scale_equals_that_of_all_scores_at_once(batches):
    scale = losses_gae_kl.RunningScale()
    for batch in batches:
        scale.update(torch.tensor(batch, dtype=torch.float64))
    everything = torch.tensor([x for batch in batches for x in batch], dtype=torch.float64)
    assert scale.mean == pytest.approx(everything.mean().item(), abs=1e-9)
    assert scale.squares == pytest.approx(
        (everything - everything.mean()).square().sum().item(), abs=1e-7
    )
