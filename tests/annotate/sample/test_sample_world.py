from __future__ import annotations

import random
from itertools import islice

import pytest

from annotate.sample import colleagues, made_up_texts, rubric, shop
from annotate.sample.made_up_texts import GOOD, Habits

KETTLE = [{"role": "user", "content": "Hello. My kettle has not arrived yet. Can you help?"}]
GOOD_REPLY = (
    "I am sorry that your kettle is still not here. "
    "I will call the courier and email you the new delivery date today."
)


def test_prompts_are_distinct_and_the_same_for_one_seed() -> None:
    chats = made_up_texts.prompts(4000, seed=3)
    assert len({str(chat) for chat in chats}) == 4000
    assert made_up_texts.prompts(50, seed=3) == chats[:50]
    assert made_up_texts.prompts(50, seed=4) != chats[:50]


def test_a_few_prompts_are_chats_of_three_messages_that_end_with_the_customer() -> None:
    chats = made_up_texts.prompts(500, seed=0)
    longer = [chat for chat in chats if len(chat) == 3]
    assert 20 < len(longer) < 100
    assert {len(chat) for chat in chats} == {1, 3}
    assert all(chat[-1]["role"] == "user" for chat in chats)


def test_every_prompt_names_a_product_and_a_problem() -> None:
    for chat in made_up_texts.prompts(1000, seed=1):
        assert made_up_texts.product_of(chat) and made_up_texts.problem_of(chat)


@pytest.mark.parametrize("key", sorted(shop.PROBLEMS))
def test_a_problem_is_recognised_from_each_of_its_own_sentences(key: str) -> None:
    problem = shop.PROBLEMS[key]
    slots = {"p": "kettle", "part": "lid", "c": "red", "d": "blue", "ago": "on Monday"}
    for sentence in (*problem.asks, *problem.topics):
        chat = [{"role": "user", "content": sentence.format(**slots)}]
        assert made_up_texts.problem_of(chat) == key


def test_the_starter_corpus_mixes_decent_and_bad_replies() -> None:
    points = [
        rubric.utility(chat["messages"][:-1], chat["messages"][-1]["content"])
        for chat in made_up_texts.corpus(600, seed=5)
    ]
    assert 0.3 < sum(value >= 1 for value in points) / 600 < 0.7
    assert sum(value <= -1 for value in points) > 100


def test_a_good_reply_earns_most_points_whatever_the_prompt() -> None:
    rng = random.Random(0)
    for chat in made_up_texts.prompts(300, seed=2):
        points = rubric.explain(chat, made_up_texts.reply(chat, rng=rng, habits=GOOD))
        assert sum(points.values()) >= 3, points
        assert points["form"] == points["filler"] == points["repetition"] == 0


@pytest.mark.parametrize(
    "habits",
    [
        Habits(tone="rude"),
        Habits(tone="flat"),
        Habits(topic="off"),
        Habits(step=False),
        Habits(repeats=True),
        Habits(rambles=True),
    ],
    ids=lambda habits: str(habits),
)
def test_the_rubric_prefers_a_good_reply_to_one_with_a_bad_habit(habits: Habits) -> None:
    rng = random.Random(1)
    gains = [
        rubric.prefers(
            chat,
            made_up_texts.reply(chat, rng=rng, habits=GOOD),
            made_up_texts.reply(chat, rng=rng, habits=habits),
        )
        for chat in made_up_texts.prompts(200, seed=6)
    ]
    assert sum(gain > 0 for gain in gains) > 180
    assert sum(gains) / 200 >= 0.5


@pytest.mark.parametrize(
    "worse",
    [
        "",
        " ",
        "...",
        "kettle",
        "Sorry.",
        "sorry kettle we will send refund today sorry kettle we will send refund today",
        "Sorry your the courier kettle ship we not here will email date and the please.",
        "I am sorr thatkett yourle is stilll not hee. I willl calll thee courrier emaill todayy.",
        "Thank you. Thank you. Thank you. Thank you. Thank you. Thank you.",
        GOOD_REPLY + " " + GOOD_REPLY,
        " ".join([GOOD_REPLY] * 5),
        GOOD_REPLY.removesuffix("."),
        GOOD_REPLY.replace("kettle", "tent"),
        "\ufffd\x00 ☃ 日本語",
    ],
)
def test_the_rubric_cannot_be_cheated(worse: str) -> None:
    assert rubric.utility(KETTLE, worse) < rubric.utility(KETTLE, GOOD_REPLY)


@pytest.mark.parametrize("word", ["sorry", "please", "kettle", "refund", "thank you", "we will"])
def test_repeating_a_good_word_never_raises_the_points(word: str) -> None:
    once = rubric.utility(KETTLE, f"{GOOD_REPLY} {word}.")
    for times in (2, 5, 20):
        assert rubric.utility(KETTLE, f"{GOOD_REPLY} {' '.join([word] * times)}.") <= once


def test_no_single_sentence_reaches_the_best_points() -> None:
    best = rubric.utility(KETTLE, GOOD_REPLY)
    for sentence in GOOD_REPLY.split(". "):
        assert rubric.utility(KETTLE, sentence.removesuffix(".") + ".") < best


def test_the_rubric_also_ranks_replies_to_a_chat_from_elsewhere() -> None:
    chat = [{"role": "user", "content": "My violin strings keep snapping, what can I do?"}]
    good = "Sorry about your violin. Please send us a photo and we will replace the strings."
    assert rubric.prefers(chat, good, "Stop complaining. These things happen to everyone.") > 1


def _votes(who: int, *, n: int, swap: bool = False) -> list[str]:
    rng, votes = random.Random(f"votes {who}"), []
    for chat, left, right in _pairs(n):
        sides = (right, left) if swap else (left, right)
        votes.append(colleagues.colleague(who).judge(chat, *sides, rng=rng)[0])
    return votes


def _pairs(n: int) -> list[tuple[list[made_up_texts.Message], str, str]]:
    rng = random.Random("pairs")
    return [
        (chat, made_up_texts.reply(chat, rng=rng), made_up_texts.reply(chat, rng=rng))
        for chat in made_up_texts.prompts(n, seed=8)
    ]


def test_the_cast_has_distinct_names_and_can_be_extended() -> None:
    names = [colleagues.name(index) for index in range(50)]
    assert len(set(names)) == 50
    assert len(colleagues.NAMES) >= 12


def test_a_colleague_is_the_same_person_each_time_and_differs_from_the_others() -> None:
    assert colleagues.colleague(3, seed=1) == colleagues.colleague(colleagues.NAMES[3], seed=1)
    assert colleagues.colleague(3, seed=1) != colleagues.colleague(3, seed=2)
    assert len({colleagues.colleague(i).reliability for i in range(12)}) == 12
    assert _votes(0, n=60) == _votes(0, n=60)


def test_two_colleagues_agree_about_as_often_as_people_do() -> None:
    votes = [_votes(who, n=400) for who in range(6)]
    rates = [
        sum(a == b for a, b in zip(votes[i], votes[j], strict=True)) / 400
        for i in range(6)
        for j in range(i)
    ]
    assert 0.70 < sum(rates) / len(rates) < 0.80


def test_colleagues_follow_the_rubric_but_not_always() -> None:
    right = total = 0
    for (chat, left, other), vote in zip(_pairs(800), _votes(1, n=800), strict=True):
        gap = rubric.prefers(chat, left, other)
        total += gap != 0
        right += vote == ("left" if gap > 0 else "right") and gap != 0
    assert 0.75 < right / total < 0.95


def test_a_bias_for_one_side_shows_in_the_votes() -> None:
    fair = colleagues.Colleague("Fair", 1.0, 0.0, 0.0, 0.0)
    biased = colleagues.Colleague("Biased", 1.0, 1.5, 0.0, 0.0)
    shares = []
    for person in (fair, biased):
        rng = random.Random(4)
        votes = [person.judge(chat, a, b, rng=rng)[0] for chat, a, b in _pairs(500)]
        shares.append(votes.count("left") / 500)
    assert abs(shares[0] - 0.5) < 0.07
    assert shares[1] > shares[0] + 0.1


def test_a_wide_margin_is_a_strong_vote_and_none_is_often_a_tie() -> None:
    rng = random.Random(5)
    person = colleagues.Colleague("Steady", 1.5, 0.0, 0.0, 0.8)
    rude = "Stop complaining."
    clear = [person.judge(KETTLE, GOOD_REPLY, rude, rng=rng) for _ in range(100)]
    assert sum(vote == ("left", 3) for vote in clear) > 80
    same = [person.judge(KETTLE, GOOD_REPLY, GOOD_REPLY, rng=rng)[0] for _ in range(200)]
    assert same.count("tie") > 40
    bad = [person.judge(KETTLE, rude, rude, rng=rng)[0] for _ in range(200)]
    assert bad.count("both_bad") > 40 and "tie" not in bad


def test_the_corpus_of_one_seed_is_repeatable() -> None:
    assert list(islice(made_up_texts.corpus(40, seed=9), 40)) == list(
        made_up_texts.corpus(40, seed=9)
    )
