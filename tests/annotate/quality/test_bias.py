"""What else than the better reply decides votes: the side, the look, the hour."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import queue
from annotate.models import Assignment, Completion, Pair
from annotate.quality import bias
from annotate.statistics.fatigue import fatigue, minutes_in_sitting
from annotate.statistics.style_effects import ELEMENTS, elements, fit, logistic

URL = "/projects/desk/quality/?section=bias"


def styled(votes: int, effects, *, seed: int, per_prompt: int = 2):
    """Differences, votes by a logistic rule on their standard differences, and prompts."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=[0.8, 0.3, 0.5, 0.4, 0.2], size=(votes, 5))
    x[:, 2] += 0.3 * x[:, 0]  # longer replies have more lists
    logit = (x / np.sqrt((x * x).mean(axis=0))) @ np.array(effects)
    won = (rng.random(votes) < 1 / (1 + np.exp(-logit))).astype(int)
    return x, won, np.arange(votes) // per_prompt


def test_planted_effects_come_back_with_the_others_held_equal():
    planted = (0.6, 0.0, -0.4, 0.2, 0.0)
    found = fit(*styled(6000, planted, seed=1))
    assert [one.element for one in found.effects] == list(ELEMENTS)
    for one, true in zip(found.effects, planted, strict=True):
        assert one.low < true < one.high
        assert one.coefficient == pytest.approx(true, abs=0.1)
    assert (found.votes, found.prompts, found.missing) == (6000, 3000, {})
    assert found.longer > 0.55 and found.longer_interval[0] > 0.5


def test_without_an_effect_the_interval_contains_zero_about_95_times_in_100():
    seen = [
        effect.clear
        for seed in range(60)
        for effect in fit(*styled(400, [0] * 5, seed=seed)).effects
    ]
    assert len(seen) == 300
    assert 5 <= sum(seen) <= 27  # 15 expected, three standard deviations each way


def test_votes_on_one_prompt_count_together():
    x, won, prompts = styled(400, (0.5, 0, 0, 0, 0), seed=3, per_prompt=1)
    once = fit(x, won, prompts)
    copied = fit(x.repeat(4, axis=0), won.repeat(4), prompts.repeat(4))
    for one, four in zip(once.effects, copied.effects, strict=True):
        assert four.coefficient == pytest.approx(one.coefficient, abs=1e-6)
        assert four.high - four.low == pytest.approx(one.high - one.low, rel=1e-6)
    assert copied.longer_interval == pytest.approx(once.longer_interval)


@given(st.integers(0, 10_000), st.lists(st.booleans(), min_size=120, max_size=120))
@settings(max_examples=15, deadline=None)
def test_swapping_the_sides_of_any_votes_changes_nothing(seed, swapped):
    x, won, prompts = styled(120, (0.4, 0, 0, 0, 0), seed=seed, per_prompt=1)
    sign = np.where(swapped, -1, 1)
    one = fit(x, won, prompts)
    two = fit(x * sign[:, None], np.where(swapped, 1 - won, won), prompts)
    assert one.longer == pytest.approx(two.longer)
    for a, b in zip(one.effects, two.effects, strict=True):
        assert (a.coefficient, a.low) == pytest.approx((b.coefficient, b.low), abs=1e-7)


def test_the_fit_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression  # and pandas, which nothing else here needs

    x, won, prompts = styled(900, (0.7, -0.3, 0.1, 0, 0.5), seed=9)
    coefficients, _ = logistic(x, won, prompts)
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(x, won)
    assert coefficients == pytest.approx(oracle.coef_[0].tolist(), abs=1e-4)


def test_what_cannot_be_measured_says_why():
    x, won, prompts = styled(200, (0.3, 0, 0, 0, 0), seed=4)
    x[:, 4] = 0
    assert fit(x, won, prompts).missing == {"code": "no two replies differ in it"}
    x[:6, 4] = 1  # on three prompts, which the same side won
    won[:6] = 1
    few = fit(x, won, prompts)
    assert few.missing == {"code": "replies differ in it on 3 prompts only"}
    assert [one.element for one in few.effects] == list(ELEMENTS[:4])
    assert "too few prompts" in fit(x[:20], won[:20], prompts[:20]).missing["length"]
    decided = fit(x, (x[:, 0] > 0).astype(int), prompts)
    assert "style alone decides" in decided.missing["length"] and decided.effects == []
    nothing = fit([], np.array([], dtype=int), np.array([], dtype=int))
    assert (nothing.votes, nothing.longer, nothing.longer_interval) == (0, None, None)


def test_elements_are_counted_outside_code():
    text = "# Head\n\n- one\n2. two\n\n**bold** and `x`\n```\n# no head\n- no item\n```\n"
    counted = [round(float(np.expm1(value))) for value in elements(text)]
    assert counted == [len(text), 1, 2, 1, 2]


@pytest.mark.parametrize(
    "text", ["`" * 20_000, "\n" * 20_000, "**" * 20_000, "#" * 20_000, "__a" * 9_000]
)
def test_texts_made_to_be_slow_are_read_at_once(text):
    assert len(elements(text)) == len(ELEMENTS)


def test_a_pause_of_more_than_half_an_hour_begins_a_new_sitting():
    people = np.array([7, 3, 7, 3, 7, 7])
    minutes = np.array([0.0, 5, 29, 6, 59, 90])
    assert minutes_in_sitting(people, 60 * minutes).tolist() == [0, 0, 29, 1, 59, 0]


def worked(slope: float, *, seed: int, people: int = 12, votes: int = 250):
    """Sittings of three hours in which agreement changes by `slope` per hour; people differ."""
    rng = np.random.default_rng(seed)
    who = np.arange(people).repeat(votes)
    minutes = rng.uniform(0, 180, size=len(who))
    chance = rng.uniform(0.65, 0.85, size=people)[who] + slope * (minutes / 60 - 1.5)
    same = (rng.random(len(who)) < chance).astype(int)
    return minutes, same, who, np.arange(len(who))


def test_a_planted_fatigue_comes_back():
    found = fatigue(*worked(-0.08, seed=2))
    assert found.interval[0] < -0.08 < found.interval[1] < 0
    assert "agrees" in found.sentence and "less" in found.sentence
    assert found.stretches[0].share > found.stretches[-1].share
    assert sum(one.votes for one in found.stretches) == found.votes == 3000


def test_without_fatigue_the_interval_contains_zero_about_95_times_in_100():
    found = [fatigue(*worked(0, seed=seed)).interval for seed in range(100)]
    assert 88 <= sum(low <= 0 <= high for low, high in found) <= 99


def test_that_the_best_sit_longest_is_no_effect_of_sitting():
    rng = np.random.default_rng(5)
    who = np.arange(20).repeat(200)
    minutes = rng.uniform(0, 1, size=len(who)) * (who + 1) * 10
    same = (rng.random(len(who)) < 0.55 + 0.02 * who).astype(int)
    low, high = fatigue(minutes, same, who, np.arange(len(who))).interval
    assert low < 0 < high


def test_too_few_votes_or_too_short_sittings_have_no_slope_and_say_so():
    found = fatigue(*worked(0, seed=1, people=2, votes=20))
    assert found.slope is None and "Too few votes" in found.sentence
    minutes, *rest = worked(0, seed=1)
    assert fatigue(minutes / 1000, *rest).slope is None


@pytest.fixture
def long_against_short(project, make_pairs, ann, ben):
    """60 pairs on which both prefer the long reply with a list, three times in four."""
    pairs = make_pairs(60)
    for i, pair in enumerate(pairs):
        text = f"- first {'word ' * (5 + i % 7)}\n- second"
        Completion.objects.filter(pk=pair.completion_a_id).update(text=text)
    for user in (ann, ben):
        for _ in pairs:
            lease = queue.next_pair(project, user)
            queue.vote(user, lease.token, choice="a" if lease.pair_id % 4 else "b")
    return pairs


def test_the_panel_reads_the_votes_of_the_project(project, long_against_short, ann):
    found = bias.measure(project, "all", False)
    assert found.style.longer == pytest.approx(0.75) and found.style.votes == 120
    assert found.sides.votes == 120 and found.people == 2
    left = Assignment.objects.filter(annotator=ann, left="a", choice="a").count()
    left += Assignment.objects.filter(annotator=ann, left="b", choice="b").count()
    (ours,) = [one for one in bias.left_picks(project, "all", False) if one.name == "ann-ann"]
    assert (ours.left, ours.votes) == (left, 60)
    assert [(one.votes, one.same) for one in found.fatigue.stretches] == [(120, 120)]
    assert bias.measure(project, "active", False).style.votes == 0


def test_somebody_who_always_picks_the_left_is_named(project, make_pairs, ann, ben):
    make_pairs(30)
    for user, side in ((ann, "left"), (ben, None)):
        for i in range(30):
            lease = queue.next_pair(project, user)
            queue.vote_side(user, lease.token, side or ("left", "right")[i % 2])
    (outlier,) = bias.measure(project, "all", False).outliers
    assert (outlier.name, outlier.share) == ("ann-ann", 1.0)


def test_sittings_are_made_of_all_votes_but_only_first_two_are_compared(
    project, make_pairs, ann, ben, cleo
):
    make_pairs(3)
    start = timezone.now() - timedelta(hours=2)
    for user, choices in ((ann, "aaa"), (ben, "aab"), (cleo, "a")):
        for i, choice in enumerate(choices):
            lease = queue.next_pair(project, user)
            queue.vote(user, lease.token, choice=choice, now=start + timedelta(minutes=20 * i))
    middle = Assignment.objects.filter(annotator=ann).order_by("voted_at")[1]
    Pair.objects.filter(pk=middle.pair_id).update(kind="gold")
    found = bias.tiredness(project, "all", False)
    assert found.votes == 4
    assert [(one.name, one.votes) for one in found.stretches] == [
        ("0 to 15 min", 2),
        ("30 to 60 min", 2),
    ]


def test_simulated_and_imported_votes_are_left_out(project, long_against_short):
    # As earlier releases imported them: with sides and times that no file had told.
    Assignment.objects.update(guideline_version=0, imported=True)
    assert bias.left_picks(project, "all", False) == []
    assert bias.tiredness(project, "all", False).votes == 0
    Pair.objects.update(firsts_simulated=True)
    assert bias.style(project, "all", False).votes == 0
    assert bias.style(project, "all", True).votes == 120


def test_a_large_project_is_read_in_part(project, long_against_short, monkeypatch):
    monkeypatch.setattr(bias, "STYLE_PAIRS", 20)
    assert 0 < bias.style(project, "all", False).votes < 120


def test_the_page_leaves_the_panel_for_later_and_shows_it_on_demand(
    client_for, long_against_short, olga
):
    client = client_for(olga)
    page = client.get("/projects/desk/quality/").text
    assert "?section=bias&amp;stream=all" in page and "The look" not in page
    part = client.get(URL, headers={"HX-Request": "true"}).text
    assert "The longer reply won 75.0\xa0% of 120 votes" in part and "<h1>" not in part
    assert "The hour" in client.get(URL).text


def test_the_panel_of_an_empty_project_says_so(client_for, project, olga):
    page = client_for(olga).get(URL).text
    assert "No vote for one of two replies yet" in page and "Too few votes" in page
