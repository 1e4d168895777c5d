from __future__ import annotations

from dataclasses import replace

from tests.training.rlhf import world
from training.rlhf import rows
from training.rlhf.data import soft_labels
from training.rlhf.reward import votes_for_the_judge
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
    parted = votes_for_the_judge.part(pairs(400, people=4), share=0.25)
    model, judge = prompts_of(parted.model), prompts_of(parted.judge)
    assert not model & judge
    assert 0.15 < len(judge) / len(model | judge) < 0.33
    assert parted.prompts_apart and not parted.people_apart and not parted.independent
    held_out = {row.prompt_id for row in parted.model if row.held_out}
    assert held_out == {row.prompt_id for row in parted.judge if row.held_out} != set()


def test_from_eight_people_on_the_judge_learns_from_three_of_its_own() -> None:
    rows = pairs(1200, people=9)
    parted = votes_for_the_judge.part(rows, share=0.25)
    assert parted.independent
    assert len(people_of(parted.judge)) == votes_for_the_judge.PEOPLE
    assert not people_of(parted.judge) & people_of(parted.model)
    assert people_of(parted.judge) | people_of(parted.model) == people_of(rows)
    again = votes_for_the_judge.part(rows[:1100], share=0.25)
    assert people_of(again.judge) == people_of(parted.judge)


def test_where_there_are_few_people_or_few_of_their_votes_it_is_no_independent_judge() -> None:
    assert not votes_for_the_judge.part(pairs(1200, people=7), share=0.25).independent
    assert not votes_for_the_judge.part(pairs(500, people=9), share=0.25).independent


def test_of_few_votes_none_are_taken_from_the_reward_model() -> None:
    rows = pairs(100, people=9)
    parted = votes_for_the_judge.part(rows, share=0.25)
    assert parted.model == parted.judge == rows
    assert not parted.prompts_apart and not parted.independent


PEOPLE = [Vote(annotator=f"p{i}", choice="a") for i in range(10)]
MODEL = Vote(annotator="ai-1", choice="b", weight=0.5)


def voted_by_a_model(i: int, *, by_people: bool = True) -> Preference:
    return Preference(
        pair_id=f"pair {i}",
        prompt_id=f"prompt {i}",
        messages=[{"role": "user", "content": "Hello"}],
        completion_a="one",
        completion_b="two",
        votes=(PEOPLE[i % 10],) if by_people else (),
        ai_votes=(MODEL,),
        soft=(0.9, 0.0, 0.1),
    )


def test_the_judge_never_sees_them_and_shares_no_prompt_with_the_model() -> None:
    rows_ = [voted_by_a_model(i, by_people=i % 2 == 0) for i in range(1000)]
    parted = votes_for_the_judge.part(rows_, share=0.25)
    assert parted.prompts_apart and not any(row.ai_votes for row in parted.judge)
    taught = [row for row in map(soft_labels.with_ai_votes, parted.model) if row.votes]
    learnt = {row.prompt_id for row in taught}
    assert not learnt & {row.prompt_id for row in parted.judge if row.votes}
    alone = [row for row in taught if row.votes == (MODEL,)]
    assert 300 < len(alone) < 450
    few = votes_for_the_judge.part(rows_[:20], share=0.25)
    assert not few.prompts_apart and not any(row.ai_votes for row in few.judge)
    assert sum(bool(row.ai_votes) for row in few.model) == 20


def test_they_count_by_their_weight_and_not_where_a_pair_measures() -> None:
    row = soft_labels.with_ai_votes(voted_by_a_model(0))
    assert row.votes == (PEOPLE[0], MODEL) and row.soft is None
    label = soft_labels.label(row, soft=True)
    assert label is not None and (label.value, label.weight) == (1 / 1.5, 1.5)
    for measures in (
        replace(voted_by_a_model(0), held_out=True),
        replace(voted_by_a_model(0), kind="evaluation"),
    ):
        told = soft_labels.with_ai_votes(measures)
        assert told.votes == (PEOPLE[0],) and told.ai_votes == ()
    assert soft_labels.verdict(voted_by_a_model(0)) == "a"


def test_a_file_may_hold_them() -> None:
    vote = {"annotator": "ai-1", "choice": "b", "weight": 0.5}
    told = {"pair_id": "1", "prompt_id": "1", "messages": [{"role": "user", "content": "Hi"}]}
    row = rows.parse(
        Preference, told | {"completion_a": "x", "completion_b": "y", "ai_votes": [vote]}, "file"
    )
    assert row.ai_votes == (MODEL,) and row.votes == ()
