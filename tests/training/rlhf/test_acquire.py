from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.rlhf import acquire
from training.rlhf.acquire import ACQUISITIONS, Candidates, Head, Ranking
from training.rlhf.config import ConfigError, ProposeConfig
from training.rlhf.metrics.arrays import Bools, Floats, sigmoid


def scores_of(name: str, x: Floats, head: Head, *, n: int, seed: int = 0) -> Floats:
    moment = x.T @ x / max(len(x), 1)
    pairs = Candidates(x, moment)
    return ACQUISITIONS[name](pairs, head, n=n, rng=np.random.default_rng(seed))


def picked(x: Floats, head: Head, n: int) -> list[int]:
    """Rows of the greedy batch, best first."""
    return np.argsort(-scores_of("fisher", x, head, n=n), kind="stable")[:n].tolist()


def rerank(
    x: Floats,
    y: Floats,
    pool: Floats,
    free: Bools,
    *,
    n: int,
    seed: int = 0,
    weights: Floats | None = None,
    pending: Bools | None = None,
    **settings: int | str,
) -> Ranking:
    config = ProposeConfig(**settings)  # type: ignore[arg-type]
    return acquire.rerank(
        x, y, pool, free, config, n=n, seed=seed, weights=weights, pending=pending
    )


def planted(n: int = 300, d: int = 6, *, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Differences, noisy votes and the true weights."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(n, d)), rng.normal(size=d)
    return x, (rng.random(n) < sigmoid(x @ w)).astype(float), w


def test_the_fit_equals_penalised_logistic_regression() -> None:
    x, y, _ = planted()
    weights = np.random.default_rng(1).uniform(0.2, 2.0, len(y))
    oracle = LogisticRegression(C=1 / 3.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    oracle.fit(x, y, sample_weight=weights)
    head = acquire.fit(x, y, precision=3.0, weights=weights)
    np.testing.assert_allclose(head.mean, oracle.coef_[0], atol=1e-5)


def test_a_soft_label_equals_the_votes_it_stands_for() -> None:
    x, _, _ = planted(40)
    share = np.random.default_rng(2).choice([0, 1 / 3, 0.5, 1.0], len(x))
    soft = acquire.fit(x, share, precision=1.0, weights=np.full(len(x), 6.0))
    votes = np.concatenate(
        [np.r_[np.ones(round(6 * s)), np.zeros(6 - round(6 * s))] for s in share]
    )
    single = acquire.fit(np.repeat(x, 6, axis=0), votes, precision=1.0)
    np.testing.assert_allclose(soft.mean, single.mean, atol=1e-6)
    np.testing.assert_allclose(soft.covariance, single.covariance, atol=1e-6)


def test_the_covariance_is_the_inverse_curvature_of_the_posterior() -> None:
    x, y, _ = planted(100, 3)
    head = acquire.fit(x, y, precision=2.0)

    def objective(w: Floats) -> float:
        p = sigmoid(x @ w)
        return -float(y @ np.log(p) + (1 - y) @ np.log(1 - p)) + w @ w

    step, curvature = 1e-3 * np.eye(3), np.empty((3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        corners = [(a * step[i] + b * step[j], a * b) for a in (1, -1) for b in (1, -1)]
        curvature[i, j] = sum(s * objective(head.mean + c) for c, s in corners) / 4e-6
    np.testing.assert_allclose(np.linalg.inv(head.covariance), curvature, rtol=1e-3, atol=1e-2)


def test_the_fit_survives_separable_votes_and_none_at_all() -> None:
    x = np.array([[1.0, 0.0], [100.0, 0.0]])
    assert np.isfinite(acquire.fit(x, np.ones(2), precision=0.01).mean).all()
    empty = acquire.fit(np.zeros((0, 2)), np.zeros(0), precision=4.0)
    np.testing.assert_allclose(empty.covariance, np.eye(2) / 4)


def test_the_greedy_batch_takes_the_largest_determinant_at_every_step() -> None:
    x, y, _ = planted(12, 3, seed=4)
    head = acquire.fit(x, y, precision=1.0)
    information = acquire.information(head, x)
    chosen: list[int] = []
    precision = np.linalg.inv(head.covariance)
    for _ in range(5):
        gains = [
            -np.inf
            if i in chosen
            else np.linalg.slogdet(precision + information[i] * np.outer(x[i], x[i]))[1]
            for i in range(len(x))
        ]
        chosen.append(int(np.argmax(gains)))
        precision += information[chosen[-1]] * np.outer(x[chosen[-1]], x[chosen[-1]])
    assert picked(x, head, 5) == chosen


def test_the_greedy_batch_is_near_the_best_of_all_batches() -> None:
    x, y, _ = planted(10, 3, seed=5)
    head = acquire.fit(x, y, precision=1.0)
    information = acquire.information(head, x)

    def value(batch: tuple[int, ...]) -> float:
        rows = x[list(batch)] * np.sqrt(information[list(batch)])[:, None]
        return float(np.linalg.slogdet(np.eye(3) + rows @ head.covariance @ rows.T)[1])

    best = max(value(batch) for batch in itertools.combinations(range(10), 3))
    assert value(tuple(picked(x, head, 3))) >= (1 - 1 / np.e) * best


def test_scores_fall_from_pick_to_pick_and_order_everything() -> None:
    x, y, _ = planted(160, 5, seed=6)
    available = np.arange(60) % 7 != 0
    ranking = rerank(x[:100], y[:100], x[100:], available, n=10)
    best = ranking.scores[ranking.order]
    rest = np.setdiff1d(np.flatnonzero(available), ranking.order)
    assert len(best) == 10 and (np.diff(best) <= 1e-9).all()
    assert ranking.scores[rest].max() <= best[-1] + 1e-9
    assert (ranking.scores[~available] == -np.inf).all()
    assert not set(ranking.order) & set(np.flatnonzero(~available))


def test_copies_of_a_picked_pair_are_left_for_pairs_that_say_something_new() -> None:
    rng = np.random.default_rng(7)
    twins = np.tile(3 * rng.normal(size=4), (50, 1)) + 0.01 * rng.normal(size=(50, 4))
    others = rng.normal(size=(50, 4))
    head = Head(mean=np.zeros(4), covariance=np.eye(4))
    batch = picked(np.concatenate([twins, others]), head, 10)
    assert sum(row < 50 for row in batch) <= 2


def test_fisher_leaves_a_pair_that_a_pick_already_tells_of() -> None:
    # Every p is 1/2 and S the identity, so a gain is log(1 + |x|^2 / 4): log 4, log 2 and log 3.
    # Of the third pair the first pick tells most: k = (1/4) / 4, and |x|^2 = 8 falls by 96 / 16.
    x = np.array([[np.sqrt(12), 0.0], [0.0, 2.0], [np.sqrt(8), 0.0]])
    scores = scores_of("fisher", x, Head(mean=np.zeros(2), covariance=np.eye(2)), n=3)
    np.testing.assert_allclose(scores, np.log([4, 2, 1.5]))


def test_i_optimal_takes_the_pair_that_tells_most_of_all_pairs() -> None:
    # Every p is 1/2 and S the identity. M = diag(4, 1) * 2/3 of x = (2, 0), (0, 1), (0, 1) is the
    # pool's: a = x'Mx, so the gains are (1/4)(16/3) / 2 = 2/3 and (1/4)(2/3) / (5/4) = 2/15.
    x = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    scores = scores_of("i-optimal", x, Head(mean=np.zeros(2), covariance=np.eye(2)), n=2)
    # After (2, 0) the second is as it was; after that its twin has S = 4/5, so a = 2/3 * 16/25.
    expected = [2 / 3, 2 / 15, (1 / 4) * (2 / 3) * (16 / 25) / (1 + 1 / 5)]
    np.testing.assert_allclose(scores, expected)


def test_bald_is_the_information_about_the_weights() -> None:
    # A head without doubt learns nothing; of two toss-ups the one in doubt teaches more.
    x, covariance = np.array([[1.0], [2.0], [0.0]]), np.eye(1)
    scores = scores_of("bald", x, Head(mean=np.zeros(1), covariance=covariance), n=0)
    # H(1/2) minus the mean entropy of sigmoid(t), t ~ N(0, x^2), by fine quadrature.
    t = np.linspace(-12, 12, 200_001)
    for row, spread in ((0, 1.0), (1, 2.0)):
        p, weight = sigmoid(spread * t), np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
        told = np.log(2) - np.trapezoid(np.nan_to_num(entropy) * weight, t)
        assert scores[row] == pytest.approx(told, abs=1e-4)
    assert scores[2] < 1e-9


def test_bal_pm_prefers_prompts_that_nobody_was_asked_about() -> None:
    x, head = np.ones((3, 1)), Head(mean=np.zeros(1), covariance=np.eye(1))
    prompts = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    asked = np.tile([[1.0, 0.0]], (5, 1))
    pairs = Candidates(x, np.eye(1), prompts, asked)
    known = scores_of("bald", x, head, n=0)[0]
    scores = ACQUISITIONS["bal-pm"](pairs, head, n=0, rng=np.random.default_rng(0))
    # Distances to the fifth nearest of five equal prompts: 0, sqrt(0.8), sqrt(2).
    np.testing.assert_allclose(scores, known * np.sqrt([0, 0.8, 2]), atol=1e-12)


def test_an_ensemble_disagrees_where_the_weights_are_in_doubt() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    scores = scores_of("ensemble", x, Head(mean=np.zeros(2), covariance=np.diag([1.0, 0.0])), n=0)
    assert scores[0] < 1e-5 and scores[1] == pytest.approx(scores[2], rel=1e-4) and scores[1] > 0.1


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_neither_sides_nor_the_order_of_the_candidates_change_a_score(name: str) -> None:
    x, y, _ = planted(360, 5, seed=20)
    rng, free = np.random.default_rng(1), np.ones(260, dtype=bool)
    places, order = rng.permutation(260), np.where(rng.random(260) < 0.5, 1.0, -1.0)
    head = acquire.fit(x[:100], y[:100], precision=1.0)
    config = ProposeConfig(acquisition=name)
    first = acquire.rank(head, x[100:], free, config, n=20, seed=3).scores
    turned = (x[100:] * order[:, None])[places]
    second = acquire.rank(head, turned, free, config, n=20, seed=3).scores
    np.testing.assert_allclose(second, first[places], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", ["i-optimal", "fisher", "bald", "random"])
def test_a_pool_beyond_the_shortlist_begins_with_the_same_pairs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, _ = planted(700, 5, seed=21)
    head, free = acquire.fit(x[:100], y[:100], precision=1.0), np.ones(600, dtype=bool)
    config = ProposeConfig(acquisition=name)
    whole = acquire.rank(head, x[100:], free, config, n=10, seed=1)
    monkeypatch.setattr(acquire, "SHORTLIST", 200)
    short = acquire.rank(head, x[100:].astype(np.float32), free, config, n=10, seed=1)
    assert len(set(whole.order) & set(short.order)) >= 9
    inside = acquire.judgeable(x[100:])
    listed = np.argsort(-short.scores)[:200]
    assert short.scores[listed].min() >= np.delete(short.scores, listed).max()
    assert (short.scores[inside] > 0).all()


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
@pytest.mark.parametrize("broken", ["nan", "constant", "ties", "few"])
def test_what_says_nothing_is_ranked_all_the_same(name: str, broken: str) -> None:
    x, y, _ = planted(70, 4, seed=22)
    pool, labelled, votes = x[50:].copy(), x[:50].copy(), y[:50].copy()
    if broken == "nan":
        pool[3] = np.nan
    if broken == "constant":
        pool[:], labelled[:] = 1.0, 1.0
    if broken == "ties":
        votes[:] = 0.5
    if broken == "few":
        pool = pool[:1]
    free = np.ones(len(pool), dtype=bool)
    config = ProposeConfig(acquisition=name, cold_start_votes=1)
    scores = acquire.rerank(labelled, votes, pool, free, config, n=5, seed=0).scores
    assert (np.isfinite(scores) & (scores >= 0)).all()
    assert broken != "nan" or scores[3] == 0


def test_margin_asks_for_the_pair_nearest_to_a_toss_up() -> None:
    # No doubt about w = 1, so P(a is better) is 3/4, 1/10 and 6/10.
    x = np.log([[3.0], [1 / 9], [1.5]])
    scores = scores_of("margin", x, Head(mean=np.ones(1), covariance=np.zeros((1, 1))), n=3)
    np.testing.assert_allclose(scores, [0.5, 0.2, 0.8], atol=1e-6)


def test_random_puts_each_of_three_pairs_first_a_third_of_the_time() -> None:
    x, head = np.array([[9.0], [1.0], [0.0]]), Head(mean=np.ones(1), covariance=np.eye(1))
    first = [int(scores_of("random", x, head, n=1, seed=seed).argmax()) for seed in range(600)]
    assert all(160 < first.count(row) < 240 for row in range(3))


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_every_acquisition_scores_each_pair_once_by_its_seed(name: str) -> None:
    x, y, _ = planted(160, 4, seed=14)
    x[-1] *= 1e4  # p rounds to 0 or 1
    head = acquire.fit(x[:100], y[:100], precision=1.0)
    head = Head(mean=head.mean, covariance=head.covariance * 1e-9)
    for n in (0, 1, 60):
        scores = scores_of(name, x[100:], head, n=n)
        assert scores.shape == (60,) and np.isfinite(scores).all() and (scores > 0).all()
        np.testing.assert_array_equal(scores, scores_of(name, x[100:], head, n=n))
    assert scores_of(name, x[:0], head, n=0).shape == (0,)


def test_the_round_s_setting_names_the_acquisition() -> None:
    x, y, _ = planted(160, 4, seed=15)
    free = np.ones(60, dtype=bool)
    margin, fisher = (
        rerank(x[:100], y[:100], x[100:], free, n=60, acquisition=name).scores
        for name in ("margin", "fisher")
    )
    inside = acquire.judgeable(x[100:])
    head = acquire.fit(x[:100], y[:100], precision=acquire.prior_precision(x))
    expected = 1 - np.abs(2 * acquire.probability(head, x[100:]) - 1)
    np.testing.assert_allclose(margin[inside], expected[inside])
    assert np.argmax(margin) != np.argmax(fisher)


def test_a_new_acquisition_is_a_function_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def longest(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
        return np.linalg.norm(pairs.x, axis=1)

    monkeypatch.setitem(ACQUISITIONS, "longest", longest)
    x, y, _ = planted(160, 4, seed=16)
    free = np.ones(60, dtype=bool)
    ranking = rerank(x[:100], y[:100], x[100:], free, n=5, acquisition="longest")
    length = np.where(acquire.judgeable(x[100:]), np.linalg.norm(x[100:], axis=1), 0)
    assert ranking.order.tolist() == np.argsort(-length)[:5].tolist()


def test_an_acquisition_that_scores_badly_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def negative(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
        return -np.ones(len(pairs.x))

    monkeypatch.setitem(ACQUISITIONS, "negative", negative)
    x, y, _ = planted(160, 4)
    with pytest.raises(ValueError, match="negative: not one finite, positive score"):
        rerank(x[:100], y[:100], x[100:], np.ones(60, bool), n=5, acquisition="negative")


def test_an_unknown_acquisition_is_refused_with_the_known_names() -> None:
    with pytest.raises(
        ConfigError, match=r"must be one of bal-pm, bald, ensemble, fisher, .*, not 'Fisher'"
    ):
        acquire.acquisition("Fisher")


def test_the_votes_that_make_an_order_active_are_the_round_s_own() -> None:
    x, y, _ = planted(100, 4)
    free = np.ones(60, dtype=bool)
    cold, warm = (
        [
            rerank(x[:40], y[:40], x[40:], free, n=60, seed=seed, cold_start_votes=votes).order
            for seed in (1, 2)
        ]
        for votes in (41, 40)
    )
    assert cold[0].tolist() != cold[1].tolist()
    assert warm[0].tolist() == warm[1].tolist()


def test_near_duplicate_pairs_are_not_chosen() -> None:
    x, y, _ = planted(400, 8, seed=8)
    labelled, pool = x[:100], x[100:].copy()
    pool[::10] *= 0.001
    ranking = rerank(labelled, y[:100], pool, np.ones(300, dtype=bool), n=100, cold_start_votes=50)
    assert not set(ranking.order) & set(range(0, 300, 10))
    assert len(ranking.order) == 100


def test_outliers_are_not_chosen() -> None:
    x, y, _ = planted(400, 8, seed=9)
    pool = x[100:].copy()
    pool[:5] *= 40
    ranking = rerank(x[:100], y[:100], pool, np.ones(300, dtype=bool), n=50, cold_start_votes=50)
    assert not set(ranking.order) & set(range(5))


def test_the_order_is_random_and_seeded_before_there_are_enough_votes() -> None:
    x, y, _ = planted(100, 4)
    free = np.arange(60) != 3

    def order(seed: int) -> list[int]:
        ranking = rerank(x[:40], y[:40], x[40:], free, n=60, seed=seed)
        return ranking.order.tolist()

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == np.flatnonzero(free).tolist()


def test_weights_count_as_votes_for_the_cold_start() -> None:
    x, y, _ = planted(100, 4)
    free, weights = np.ones(60, dtype=bool), np.full(40, 2.5)
    first, second = (
        rerank(x[:40], y[:40], x[40:], free, n=5, seed=seed, weights=weights).order
        for seed in (1, 2)
    )
    assert first.tolist() == second.tolist()


def test_a_pair_on_screen_is_not_offered_and_counts_as_answered() -> None:
    x, y, _ = planted(160, 4, seed=3)
    pool = np.concatenate([x[100:], x[100:]])  # every pair has a copy
    free = np.ones(len(pool), dtype=bool)
    first = rerank(x[:100], y[:100], pool, free, n=1).order[0]
    pending = np.zeros(len(pool), dtype=bool)
    pending[first] = True
    twin = (first + 60) % 120
    before = rerank(x[:100], y[:100], pool, free, n=1).scores[twin]
    after = rerank(x[:100], y[:100], pool, free, n=1, pending=pending)
    assert after.scores[first] == -np.inf
    assert after.scores[twin] <= before + 1e-9
    assert first not in after.order


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_pairs_without_numbers_on_screen_or_with_votes_change_no_score(name: str) -> None:
    x, y, _ = planted(160, 4, seed=3)
    pending = np.zeros(60, dtype=bool)
    pending[[4, 9]] = True
    old, pool = np.concatenate([x[:100], x[:3] * np.inf]), x[100:].copy()
    pool[4, 1] = np.nan
    free, values = np.ones(60, dtype=bool), np.concatenate([y[:100], y[:3]])
    broken = rerank(old, values, pool, free, n=5, pending=pending, acquisition=name)
    pending[4], free[4] = False, False
    sound = rerank(x[:100], y[:100], pool, free, n=5, pending=pending, acquisition=name)
    np.testing.assert_array_equal(broken.scores, sound.scores)
    assert (broken.scores > 0).any()


def test_active_votes_teach_more_than_random_ones() -> None:
    """The base property: for the same number of votes the posterior is narrower on the pool."""
    rng = np.random.default_rng(11)
    scale = np.geomspace(3, 0.1, 12)
    x = rng.normal(size=(1200, 12)) * scale
    w = rng.normal(size=12)
    y = (rng.random(1200) < sigmoid(x @ w)).astype(float)
    start, pool = np.arange(100), np.arange(100, 1200)
    ranking = rerank(x[start], y[start], x[pool], np.ones(1100, dtype=bool), n=100)
    spread = {}
    for name, more in {
        "active": pool[ranking.order],
        "random": rng.choice(pool, 100, False),
    }.items():
        rows = np.concatenate([start, more])
        head = acquire.fit(x[rows], y[rows], precision=1.0)
        spread[name] = np.linalg.slogdet(head.covariance)[1]
    assert spread["active"] < spread["random"] - 0.5


def test_features_are_clipped_scaled_and_projected() -> None:
    rng = np.random.default_rng(12)
    raw = rng.standard_cauchy((200, 30))
    out = acquire.normalise(raw, dims=8)
    assert out.shape == (200, 8)
    lengths = np.linalg.norm(out, axis=1)
    assert lengths.max() < 2.0 and np.isfinite(out).all()
    variances = out.var(axis=0)
    assert (np.diff(variances) <= 1e-12).all()


def test_features_do_not_depend_on_the_scale_of_a_dimension() -> None:
    raw = np.random.default_rng(13).normal(size=(50, 6))
    stretched = raw * np.array([1, 10, 100, 0.1, 5, 2]) + 7
    np.testing.assert_allclose(
        np.abs(acquire.normalise(raw, dims=6)),
        np.abs(acquire.normalise(stretched, dims=6)),
        atol=1e-6,
    )


@pytest.mark.parametrize("n", [1, 3])
def test_few_rows_and_constant_features_are_no_error(n: int) -> None:
    assert np.isfinite(acquire.normalise(np.ones((n, 5)), dims=4)).all()


@pytest.mark.parametrize("dims", [4, 60])
def test_a_row_without_numbers_is_left_out_of_the_features_and_never_picked(dims: int) -> None:
    raw = np.random.default_rng(14).normal(size=(50, 60))
    raw[7, 3], raw[9, 0] = np.nan, np.inf
    sound = np.delete(np.arange(50), [7, 9])
    out = acquire.normalise(raw, dims=dims)
    alone = acquire.normalise(raw[sound], dims=dims)
    assert out.shape == (50, min(dims, 50)) and np.isnan(out[[7, 9]]).all()
    np.testing.assert_array_equal(out[sound, : alone.shape[1]], alone)
    assert not out[sound, alone.shape[1] :].any()
    inside = acquire.judgeable(out)
    assert inside.any() and not inside[[7, 9]].any()
    assert np.isnan(acquire.normalise(raw * np.nan, dims=dims)).all()
