from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny
from training.rlhf.completions.sampling import Policy
from training.rlhf.config import JudgeConfig
from training.rlhf.evaluation import llm_judge
from training.rlhf.evaluation.llm_judge import Chat
from training.rlhf.language import chat_template

CHATS: list[Chat] = [[{"role": "user", "content": f"Question {i}?"}] for i in range(4)]
GOOD = ["a fine long reply", "short", "same", "equal size"]
OTHER = ["brief", "a much longer reply", "same", "other size"]
FORMS = (
    "{}",
    " {}.",
    "**{}** because",
    "[[{}]]",
    "Answer: {}",
    "**Answer: {}**",
    "{}) It names a date.",
    "{} is better.",
    "Reply {} is better",
    "Assistant {}'s reply is more helpful",
    "I would take {}",
    "Antwort {} ist besser",
)
CPU = torch.device("cpu")


def shown(question: Chat) -> tuple[str, str]:
    """The two replies as the judge reads them."""
    found = re.search(r"\[Reply A\]\n(.*?)\n\n\[Reply B\]\n(.*?)\n\n", question[0]["content"])
    assert found, "a question shows both replies"
    return found[1], found[2]


def longest(questions: Sequence[Chat]) -> list[str]:
    """A judge that goes by length, and by nothing between equal ones."""
    return [
        "A" if len(a) > len(b) else "B" if len(b) > len(a) else "?"
        for a, b in map(shown, questions)
    ]


def test_a_reply_wins_only_when_both_orders_prefer_it() -> None:
    found = llm_judge.judge(longest, CHATS, GOOD, OTHER)
    assert [one.points for one in found] == [1.0, 0.0, 0.5, 0.5]
    assert [one.consistent for one in found] == [True, True, None, False]


def test_a_judge_that_always_prefers_the_first_gives_ties_and_is_never_consistent() -> None:
    asked: list[int] = []

    def first(questions: Sequence[Chat]) -> list[str]:
        asked.append(len(questions))
        return ["A"] * len(questions)

    found = llm_judge.judge(first, CHATS, GOOD, OTHER)
    assert {one.points for one in found} == {0.5}
    assert [one.consistent for one in found] == [False, False, None, False]
    assert asked == [3, 3]  # the equal pair is never asked about


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((form.format("A"), "A") for form in FORMS),
        *((form.format("B"), "B") for form in FORMS),
        ("(b)", "B"),
        ("B\n\nReply A leaves out the date.", "B"),
        ("A and B are equally good.", ""),
        ("A is better than B", ""),
        ("A outperforms B", ""),
        ("A or B", ""),
        ("A good reply would be polite.", ""),
        ("Both", ""),
        ("<think>\nOkay, so", ""),
        ("", ""),
    ],
)
def test_a_verdict_is_the_only_letter_that_is_named(answer: str, expected: str) -> None:
    assert llm_judge.letter(answer) == expected


def test_a_judge_that_names_no_reply_is_told_from_one_that_changes_its_mind() -> None:
    (silent,) = llm_judge.judge(lambda asked: ["Both"] * len(asked), CHATS[:1], ["x"], ["y"])
    (wavering,) = llm_judge.judge(lambda asked: ["B"] * len(asked), CHATS[:1], ["x"], ["y"])
    assert silent.points == wavering.points == 0.5
    assert (silent.silent, wavering.silent) == (True, False)


def test_a_local_judge_takes_the_letter_it_finds_likelier(tmp_path: Path) -> None:
    model = tiny.llama_model(sharpness=4.0, context=512)
    folder = tiny.write(tmp_path / "judge", model, tiny.tokenizer())
    questions = [
        llm_judge.question(chat, a, b) for chat, a, b in zip(CHATS, GOOD, OTHER, strict=True)
    ]
    found = llm_judge.load_judge(JudgeConfig(path=str(folder)), device=CPU)(questions)
    policy = Policy(folder, device=CPU)
    for question, verdict in zip(questions, found, strict=True):
        ids = chat_template.prompt_ids(policy.tokenizer, question)
        logits = policy.model(input_ids=torch.tensor([ids])).logits[0, -1]
        a, b = (policy.tokenizer.encode(name)[0] for name in "AB")
        assert verdict == ("A" if logits[a] > logits[b] else "B")


def test_a_local_judge_says_nothing_of_replies_that_it_cannot_read_whole(tmp_path: Path) -> None:
    ask = llm_judge.load_judge(JudgeConfig(path=str(tiny.llama(tmp_path / "judge"))), device=CPU)
    (found,) = llm_judge.judge(ask, CHATS[:1], ["late " * 2000], ["short"])
    assert (found.points, found.silent) == (0.5, True)
