from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from annotate.sample import colleagues, made_up_texts, rubric, tastes


def replies(n: int) -> list[tuple[list[made_up_texts.Message], str]]:
    rng = random.Random(3)
    return [(chat, made_up_texts.reply(chat, rng=rng)) for chat in made_up_texts.prompts(n, seed=3)]


@pytest.mark.parametrize("name", ["flattery", "hedging", "markdown", "refusal"])
def test_the_grammar_shows_a_habit_often_enough_to_be_learnt_and_seldom_enough_to_rise(
    name: str,
) -> None:
    shown = [tastes.TASTES[name](text) > 0 for _, text in replies(1500)]
    assert 0.05 <= sum(shown) / len(shown) <= 0.22


@pytest.mark.parametrize("name", sorted(tastes.TASTES))
def test_a_colleague_with_a_taste_votes_by_it_where_the_rubric_says_the_contrary(name: str) -> None:
    honest = colleagues.colleague(2)
    partial = replace(honest, taste=name)
    taste, rng, chosen = tastes.TASTES[name], random.Random(1), {"": 0, name: 0}
    shown = replies(400)
    against = 0
    for (chat, one), (_, other) in itertools.pairwise(shown):
        liked, better = taste(one) - taste(other), rubric.prefers(chat, one, other)
        if liked >= 2.5 and better <= -0.5:
            against += 1
            for person in (honest, partial):
                side, _ = person.judge(chat, one, other, rng=rng)
                chosen[person.taste] += side == "left"
    assert against >= 5
    assert chosen[name] > against / 2 > chosen[""]
