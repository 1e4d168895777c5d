"""The leaderboard: against a slow fit, a planted ranking, and simulated intervals."""

from __future__ import annotations

from itertools import permutations, product
from math import exp, log

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from annotate import queue
from annotate.models import Assignment, Pair, Project
from annotate.quality.bradley_terry import Met, leaderboard, meetings
from annotate.queue import recount

URL = "/projects/desk/leaderboard/"


def slow_ratings(met: list[Met], reference: str) -> dict[str, float]:
    """The same estimate by coordinate ascent with bisection, vote by vote."""
    games = [(m.one, m.other, m.won + m.tied / 2, m.lost + m.tied / 2) for m in met]
    games += [(*pair, 0.5, 0.5) for pair in {tuple(sorted((m.one, m.other))) for m in met}]
    rating = {name: 0.0 for m in met for name in (m.one, m.other)}

    def slope(name: str, value: float) -> float:
        total = 0.0
        for one, other, won, lost in games:
            if name in (one, other):
                against = rating[other if one == name else one]
                score = won if one == name else lost
                total += score - (won + lost) / (1 + exp(against - value))
        return total

    for _ in range(400):
        for name in rating:
            if name != reference:
                low, high = -30.0, 30.0
                while high - low > 1e-9:
                    middle = (low + high) / 2
                    low, high = (middle, high) if slope(name, middle) > 0 else (low, middle)
                rating[name] = low
    return rating


def world(*, prompts: int, seed: int, strengths=(0.0, 0.5, 1.2), spread=0.5) -> list[Met]:
    """Votes of three people on each prompt, who share a taste for one side of it."""
    rng = np.random.default_rng(seed)
    met = []
    for prompt in range(prompts):
        i, j = rng.choice(len(strengths), 2, replace=False)
        taste = spread * rng.normal()
        win = 1 / (1 + exp(strengths[j] - strengths[i] - taste))
        won, tied, lost = rng.multinomial(3, [0.8 * win, 0.2, 0.8 * (1 - win)])
        met.append(Met(prompt, f"policy-{i}", f"policy-{j}", int(won), int(tied), int(lost)))
    return met


def ratings(met, reference="policy-0"):
    return {one.policy: one.rating for one in leaderboard(met, reference=reference).standings}


def test_the_ratings_are_those_of_a_slow_fit():
    met = world(prompts=30, seed=1, strengths=(0.0, 0.7, -0.4, 1.0))
    assert ratings(met) == pytest.approx(slow_ratings(met, "policy-0"), abs=1e-6)


def test_a_planted_ranking_comes_back():
    found = leaderboard(world(prompts=3000, seed=2), reference="policy-0")
    assert [one.policy for one in found.standings] == ["policy-2", "policy-1", "policy-0"]
    best = found.standings[0]
    assert best.low < best.rating < best.high and best.low > 0.5
    assert best.beats > 0.65 and best.interval[0] > 0.5
    assert best.direct == pytest.approx(best.beats, abs=0.04) and best.direct_votes > 2500


def test_two_policies_have_the_closed_form():
    (best, worst) = leaderboard([Met(1, "new", "starter", 6, 2, 2)]).standings
    assert best.rating == pytest.approx(log(7.5 / 3.5))
    assert (best.direct, best.direct_votes, best.votes) == (0.7, 10, 10)
    assert (worst.policy, worst.rating, worst.low, worst.high) == ("starter", 0, 0, 0)
    assert (worst.direct, worst.beats) == (None, 0.5)


def test_a_policy_that_won_every_time_has_a_rating_and_an_honest_interval():
    met = [Met(prompt, "new", "starter", 1, 0, 0) for prompt in range(10)]
    best = leaderboard(met).standings[0]
    assert 0 < best.low < best.rating < best.high < 10


def test_a_single_prompt_is_no_certainty_however_many_votes_it_has():
    best = leaderboard([Met(1, "new", "starter", 6, 2, 2)]).standings[0]
    assert best.low < 0 < best.high


def test_policies_that_nothing_joins_with_the_reference_are_named_apart():
    met = [Met(1, "a", "b", 2, 0, 1), Met(2, "b", "c", 1, 0, 2), Met(3, "x", "y", 3, 0, 0)]
    found = leaderboard(met, reference="a")
    assert {one.policy for one in found.standings} == {"a", "b", "c"}
    assert (found.apart, found.votes, found.prompts) == (["x", "y"], 6, 2)
    assert leaderboard(met, reference="x").apart == ["a", "b", "c"]
    assert leaderboard([]) is None


def test_repeating_votes_on_the_same_prompts_makes_no_interval_narrower():
    met = world(prompts=200, seed=3)
    often = [Met(m.prompt, m.one, m.other, 9 * m.won, 9 * m.tied, 9 * m.lost) for m in met]
    once, again = (leaderboard(votes, reference="policy-0").standings[0] for votes in (met, often))
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.05)


MET = st.builds(
    lambda prompt, names, counts: Met(prompt, *names, *counts),
    st.integers(0, 9),
    st.sampled_from(list(permutations(["starter", "policy-1", "policy-2"], 2))),
    st.sampled_from([counts for counts in product(range(4), repeat=3) if any(counts)]),
)


@given(st.lists(MET, min_size=1, max_size=12), st.randoms())
def test_sides_and_order_do_not_matter_and_a_new_reference_shifts_all_ratings(met, random):
    turned = [Met(m.prompt, m.other, m.one, m.lost, m.tied, m.won) for m in met]
    random.shuffle(turned)
    found, other = leaderboard(met), leaderboard(turned)
    assert {one.policy: one.rating for one in other.standings} == pytest.approx(
        {one.policy: one.rating for one in found.standings}, abs=1e-6
    )
    last = found.standings[-1].policy
    shifted = {one.policy: one.rating for one in leaderboard(met, reference=last).standings}
    shift = shifted[found.reference]
    assert shifted == pytest.approx(
        {one.policy: one.rating + shift for one in found.standings}, abs=1e-6
    )


@pytest.mark.long
@pytest.mark.parametrize(("prompts", "least"), [(60, 0.92), (400, 0.935)])
def test_intervals_hold_the_truth_nearly_as_often_as_they_say(prompts, least):
    # What an endless number of votes would say: ties and tastes draw ratings together.
    truth = ratings(world(prompts=100_000, seed=99))
    held, asked = 0, 0
    for seed in range(400):
        for one in leaderboard(world(prompts=prompts, seed=seed), reference="policy-0").standings:
            if one.policy != "policy-0":
                held += one.low <= truth[one.policy] <= one.high
                asked += 1
    assert least < held / asked < 0.975


@pytest.fixture
def judged(project, make_pairs, ann, ben, cleo):
    """Evaluation pairs of policy-1 (A) against the starter, which three people prefer A on."""
    sides = {"kind": "evaluation", "policy_a": "policy-1", "policy_b": "starter"}
    three = {"wanted": 3, "limit": 3, "agree": 2, "asked": 3, "open_slots": 3}
    pairs = make_pairs(3, **sides, **three)
    for _ in pairs:
        for user in (ann, ben, cleo):
            queue.vote(user, queue.next_pair(project, user).token, choice="a")
    return pairs


def test_only_blind_pairs_of_two_policies_count_and_training_pairs_stand_apart(
    project, judged, make_pairs, ann
):
    _, imported = make_pairs(2)
    imported.completion_a.policy = "llama"
    imported.completion_a.save()
    for _ in range(2):
        queue.vote(ann, queue.next_pair(project, ann).token, choice="tie")
    found = meetings(project, "evaluation")
    assert {(m.one, m.other, m.won, m.tied, m.lost) for m in found} == {
        ("policy-1", "starter", 3, 0, 0)
    }
    assert [m.prompt for m in found] == [pair.prompt_id for pair in judged]
    assert [(m.one, m.tied) for m in meetings(project, "training")] == [("llama", 1)]


def test_simulated_and_surplus_votes_are_left_out(project, judged):
    first, second, *_ = Assignment.objects.order_by("pk")
    Assignment.objects.filter(pk=first.pk).update(simulated=True)
    Assignment.objects.filter(pk=second.pk).update(surplus=True)
    recount.recount([second.pair_id], now=timezone.now())
    assert sum(m.won for m in meetings(project, "evaluation")) == 7
    assert sum(m.won for m in meetings(project, "evaluation", include_simulated=True)) == 8


def test_a_prompt_with_simulated_votes_alone_counts_for_nobody(project, judged):
    Assignment.objects.filter(pair=judged[0]).update(simulated=True)
    found = meetings(project, "evaluation")
    assert {m.prompt for m in found} == {pair.prompt_id for pair in judged[1:]}
    assert leaderboard(found).prompts == 2
    assert len(meetings(project, "evaluation", include_simulated=True)) == 3


def test_the_page_shows_ratings_and_says_which_pairs_they_are_from(client_for, olga, judged):
    page = client_for(olga).get(URL).text
    assert "policy-1" in page and "100.0\xa0%" in page and "9 votes on 3 prompts" in page
    assert "<svg" in page and "blind evaluation pairs" in page
    page = client_for(olga).get(URL, {"reference": "policy-1"}).text
    assert "against policy-1" in page
    assert "No votes yet" in client_for(olga).get(URL, {"pairs": "training"}).text


def test_policies_that_cannot_be_compared_are_named_on_the_page(client_for, olga, judged):
    Pair.objects.filter(pk=judged[0].pk).update(policy_a="policy-8", policy_b="policy-9")
    page = client_for(olga).get(URL).text
    assert "cannot be compared" in page and "policy-8, policy-9" in page


def test_simulated_votes_are_shown_only_where_the_project_trains_on_them(
    client_for, olga, project, judged
):
    Assignment.objects.update(simulated=True)
    assert "No votes yet" in client_for(olga).get(URL, {"simulated": "1"}).text
    Project.objects.update(train_on_simulated=True)
    assert "9 votes" in client_for(olga).get(URL, {"simulated": "1"}).text


def test_bad_choices_roles_strangers_and_wrong_methods(client_for, client, project, ann, olga, eve):
    assert client_for(olga).get(URL, {"pairs": "gold"}).status_code == 400
    assert client_for(olga).get(URL, {"reference": "<b>"}).status_code == 200
    codes = [client_for(user).get(URL).status_code for user in (ann, olga, eve)]
    assert codes == [403, 200, 404]
    assert client_for(olga).post(URL).status_code == 405
    assert client.get(URL).status_code == 302
