"""Do the intervals on pages hold what they say: the share of simulated worlds that each covers.

`python -m benchmarks coverage [--replicates=1000] [--seed=0]`. Every entry of `INTERVALS` draws a
world whose truth is known, asks the product's own code for the interval, and looks whether the
truth lies inside. Two-sided 95 % intervals should cover 93 to 97 % of worlds with 30 prompts or
more, and never under 91 % of smaller ones that are shown; those that hold however often one looks
at least 94.5 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.statistics import agreement, style_effects, wilson_interval
from benchmarks.result import Result
from training.rlhf.evaluation import comparison_table
from training.rlhf.evaluation.comparison_metrics import MeasuredReply, Metric
from training.rlhf.metrics import intervals, prediction_powered, sequential_test

Random = np.random.Generator
Floats = np.ndarray[Any, np.dtype[np.float64]]
LOOKS = (10, 20, 40, 60, 90, 120, 160, 200)
NAMES = np.array([str(i) for i in range(4000)])


@dataclass(frozen=True)
class Interval:
    """One interval of a page in one world."""

    name: str
    covers: Callable[[Random], bool]
    """One drawn world: True where its interval holds the truth."""
    always: bool = False
    """Valid however often one looks: it must cover at every look."""


def coverage(one: Interval, *, replicates: int, seed: int) -> float:
    """The share of worlds that the interval covers."""
    rng = np.random.default_rng([seed, len(one.name), *map(ord, one.name)])
    return float(np.mean([one.covers(rng) for _ in range(replicates)]))


def benchmark(arguments: list[str]) -> Result:
    """Coverage of every interval, with its own 95 % interval over the replicates."""
    options = {"replicates": 1000, "seed": 0}
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name not in options or not value.isdigit():
            raise SystemExit(f"coverage takes --{'=N, --'.join(options)}=N; not {argument}")
        options[name] = int(value)
    result = Result()
    for one in INTERVALS:
        share = coverage(one, **options)
        result.figures[one.name] = share
        result.intervals[one.name] = intervals.wilson(share, options["replicates"])
    return result


# Shares: gold answers, a judge's wins, a reward model's accuracy


def _gold(n: int) -> Callable[[Random], bool]:
    """A person's share of right gold answers, of people who are right .6 to .95 of the time. At a
    single truth the coverage of a share goes to and fro by a point or two (Brown et al. 2001)."""

    def covers(rng: Random) -> bool:
        truth = rng.uniform(0.6, 0.95)
        ends = wilson_interval.wilson(float(rng.binomial(n, truth)), n)
        return ends is not None and ends[0] <= truth <= ends[1]

    return covers


def _accuracy(prompts: int, per_prompt: int) -> Callable[[Random], bool]:
    """A reward model's accuracy of .75, which differs from prompt to prompt."""

    def covers(rng: Random) -> bool:
        truth = np.repeat(rng.beta(3.0, 1.0, size=prompts), per_prompt)
        right = (rng.random(len(truth)) < truth).astype(float)
        low, high = intervals.clustered_share(right.tolist(), NAMES[: len(truth)][
            np.arange(len(truth)) // per_prompt].tolist())  # fmt: skip
        return low <= 0.75 <= high

    return covers


def _win_rate(prompts: int) -> Callable[[Random], bool]:
    """A judge's win rate over prompts: a comparison's table, as rounds store it."""
    metric = Metric(name="win", title="", columns=("win",), share=True)

    def covers(rng: Random) -> bool:
        won = (rng.random(prompts) < 0.65).astype(float)
        replies = {"after": [_reply(i, {"win": w}) for i, w in enumerate(won.tolist())]}
        cell = _cells(replies, metric, rng)["after"]["win"]
        return bool(cell["low"] <= 0.65 <= cell["high"])

    return covers


def _gain(prompts: int) -> Callable[[Random], bool]:
    """The difference of two models' skewed scores on the same prompts, by the bootstrap."""
    metric = Metric(name="score", title="", columns=("score",))

    def covers(rng: Random) -> bool:
        base = rng.gamma(2.0, size=prompts)
        after = base + 0.3 + rng.gamma(2.0, size=prompts) - 2.0
        replies = {
            name: [_reply(i, {"score": x}) for i, x in enumerate(scores.tolist())]
            for name, scores in (("before", base), ("after", after))
        }
        cell = _cells(replies, metric, rng)["after"]["score"]
        return bool(cell["difference_low"] <= 0.3 <= cell["difference_high"])

    return covers


def _reply(i: int, numbers: dict[str, float]) -> MeasuredReply:
    return MeasuredReply(
        model="", prompt_id=str(i), messages=[], text="", finished=True, fault="", numbers=numbers
    )


def _cells(replies: dict[str, list[MeasuredReply]], metric: Metric, rng: Random) -> dict[str, Any]:
    how = comparison_table.Resampling(400, seed=int(rng.integers(1 << 30)))
    whole = comparison_table.table(replies, [metric], how)["groups"]["all"]["models"]
    return dict(whole)


# People: agreement, style, win rates


def _agreement(prompts: int, per_prompt: int, statistic: str) -> Callable[[Random], bool]:
    """Raw agreement and alpha of the same people on other prompts; the truth from many prompts."""
    truth = _agreed(np.random.default_rng(1), 20_000, per_prompt, resamples=2).values[statistic]
    assert truth is not None

    def covers(rng: Random) -> bool:
        ends = _agreed(rng, prompts, per_prompt, resamples=400).intervals[statistic]
        return ends is not None and ends[0] <= truth <= ends[1]

    return covers


def _agreed(rng: Random, prompts: int, per_prompt: int, *, resamples: int) -> agreement.Agreement:
    """Two votes on every pair; pairs of one prompt are alike in how clear they are."""
    clear = np.repeat(rng.normal(1.2, 0.8, size=prompts), per_prompt)
    sided = clear * rng.choice([-1, 1], size=len(clear))
    counts = np.zeros((len(clear), 3), dtype=np.int64)
    for _ in range(2):
        felt = sided + rng.logistic(size=len(clear))
        vote = np.where(felt > 0.3, 0, np.where(felt < -0.3, 2, 1))
        counts[np.arange(len(clear)), vote] += 1
    place = np.arange(len(clear)) // per_prompt
    seed = int(rng.integers(1 << 30))
    return agreement.agreement(counts, place, resamples=resamples, seed=seed)


def _style(prompts: int) -> Callable[[Random], bool]:
    """The effect of length on votes, two of each prompt. On the page's scale of one deviation."""
    elements = len(style_effects.ELEMENTS)

    def covers(rng: Random) -> bool:
        differences = rng.normal(size=(2 * prompts, elements))
        won = (rng.random(2 * prompts) < 1 / (1 + np.exp(-0.5 * differences[:, 0]))).astype(int)
        effects = style_effects.fit(differences, won, np.arange(2 * prompts) // 2).effects
        scale = float(np.sqrt((differences[:, 0] ** 2).mean()))
        return bool(effects and effects[0].low <= 0.5 * scale <= effects[0].high)

    return covers


def _assisted(bias: float) -> Callable[[Random], bool]:
    """50 human comparisons and a judge's opinion on 400 other prompts; it may love flattery."""

    def judge(rng: Random, people: Floats) -> Floats:
        noise = rng.normal(size=len(people))
        return np.asarray(0.5 + bias + 0.2 * (1.3 * (people - 0.6) / 0.49 + noise))

    def covers(rng: Random) -> bool:
        people, others = ((rng.random(n) < 0.6).astype(float) for n in (50, 400))
        told = prediction_powered.assisted_rate(people, judge(rng, people), judge(rng, others))
        return told.low <= 0.6 <= told.high

    return covers


def _always(truth: float, ties: float) -> Callable[[Random], bool]:
    """People's win rate, looked at again and again up to 200 comparisons; both comparisons of a
    policy have to hold the truth at every look."""

    def covers(rng: Random) -> bool:
        for _ in range(2):
            won = (rng.random(200) < truth).astype(float)
            points = np.where(rng.random(200) < ties, 0.5, won)
            mean = ties / 2 + (1 - ties) * truth
            for n in LOOKS:
                told = sequential_test.verdict(points[:n].tolist(), comparisons=2)
                if not told.low <= mean <= told.high:
                    return False
        return True

    return covers


INTERVALS = (
    *(Interval(f"gold_{n}_answers", _gold(n)) for n in (30, 100)),
    Interval("accuracy_30_prompts", _accuracy(30, 1)),
    Interval("accuracy_60_prompts", _accuracy(60, 1)),
    Interval("accuracy_60_prompts_of_4_pairs", _accuracy(60, 4)),
    Interval("accuracy_200_prompts_of_2_pairs", _accuracy(200, 2)),
    *(Interval(f"judge_win_rate_{n}_prompts", _win_rate(n)) for n in (32, 60, 200)),
    *(Interval(f"gain_{n}_prompts", _gain(n)) for n in (60, 200)),
    Interval("raw_agreement_30_prompts", _agreement(30, 1, "raw")),
    Interval("raw_agreement_100_prompts_of_4_pairs", _agreement(100, 4, "raw")),
    Interval("alpha_30_prompts", _agreement(30, 1, "alpha_nominal")),
    Interval("alpha_100_prompts_of_4_pairs", _agreement(100, 4, "alpha_ordinal")),
    *(Interval(f"style_{n}_prompts", _style(n)) for n in (60, 200)),
    Interval("assisted_win_rate", _assisted(0.0)),
    Interval("assisted_win_rate_by_a_flattered_judge", _assisted(0.3)),
    Interval("people_win_rate_at_half", _always(0.5, 0.0), always=True),
    Interval("people_win_rate_with_ties", _always(0.6, 0.3), always=True),
    Interval("people_win_rate_at_80", _always(0.8, 0.0), always=True),
)
"""Every interval of a page, in worlds of 30 prompts or more."""
