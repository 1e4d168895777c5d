from __future__ import annotations

from dataclasses import replace

from tests.training.rlhf import world
from training.rlhf.reward import judge_votes
from training.rlhf.rows import Preference, Prompt, Vote


def pairs(n: int, *, people: int) -> list[Preference]:
    """Pairs of 400 prompts, a tenth held out, two votes each by `people` persons in turn."""
    asked = [
        Prompt(
            prompt_id=f"p{i}",
            messages=[{"role": "user", "content": f"Question {i}?"}],
            held_out=i % 10 == 9,
        )
        for i in range(400)
    ]
    rows = world.preferences(n, asked=asked)
    return [
        replace(
            row,
            votes=tuple(
                Vote(annotator=f"ann-{(2 * i + k) % people}", choice=vote.choice)
                for k, vote in enumerate(row.votes)
            ),
        )
        for i, row in enumerate(rows)
    ]


def prompts_of(rows: list[Preference]) -> set[str]:
    return {row.prompt_id for row in rows if row.votes and not row.held_out}


def people_of(rows: list[Preference]) -> set[str]:
    return {vote.annotator for row in rows if not row.held_out for vote in row.votes}


def test_the_judge_learns_from_prompts_of_its_own_and_a_quarter_of_them_at_most() -> None:
    parted = judge_votes.part(pairs(400, people=4), share=0.25)
    model, judge = prompts_of(parted.model), prompts_of(parted.judge)
    assert not model & judge
    assert 0.15 < len(judge) / len(model | judge) < 0.33
    assert parted.prompts_apart and not parted.people_apart and not parted.independent
    held_out = {row.prompt_id for row in parted.model if row.held_out}
    assert held_out == {row.prompt_id for row in parted.judge if row.held_out} != set()


def test_from_eight_people_on_the_judge_learns_from_three_of_its_own() -> None:
    rows = pairs(1200, people=9)
    parted = judge_votes.part(rows, share=0.25)
    assert parted.independent
    assert len(people_of(parted.judge)) == judge_votes.PEOPLE
    assert not people_of(parted.judge) & people_of(parted.model)
    assert people_of(parted.judge) | people_of(parted.model) == people_of(rows)
    again = judge_votes.part(rows[:1100], share=0.25)
    assert people_of(again.judge) == people_of(parted.judge)


def test_where_there_are_few_people_or_few_of_their_votes_it_is_no_independent_judge() -> None:
    assert not judge_votes.part(pairs(1200, people=7), share=0.25).independent
    assert not judge_votes.part(pairs(500, people=9), share=0.25).independent


def test_of_few_votes_none_are_taken_from_the_reward_model() -> None:
    rows = pairs(100, people=9)
    parted = judge_votes.part(rows, share=0.25)
    assert parted.model == parted.judge == rows
    assert not parted.prompts_apart and not parted.independent
