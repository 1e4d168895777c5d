"""Customers and replies of the support desk, written by a small grammar.

Prompts are short chats; replies mix good habits (polite, on topic, a concrete next step) with bad
ones (rude, about another product, vague, repetitive, rambling), so that a model trained on them
has something to unlearn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

from annotate.sample.shop import (
    AGOS,
    CLOSINGS,
    COLOURS,
    FLAT_TOPICAL,
    OFF_TOPIC,
    POLITE_PLAIN,
    POLITE_TOPICAL,
    PROBLEMS,
    PRODUCTS,
    RAMBLING,
    RUDE,
    VAGUE,
    WHENS,
    Problem,
)

Message = dict[str, str]


class Chat(TypedDict):
    """One row of the starter's training data."""

    messages: list[Message]


_GREETINGS = ("", "", "", "Hi. ", "Hello. ", "Good morning. ", "Hi there. ", "Dear team, hello. ")
_DETAILS = (
    "",
    "",
    "",
    "It was a gift for my sister, and she has noticed.",
    "It is a present for my dad, who owns nothing.",
    "I need it for a trip on Saturday.",
    "My order number is {n}.",
    "The order is {n}.",
    "I have been a customer for years.",
    "This is my second message.",
    "My kids had given it a name.",
    "I am only a little annoyed.",
    "This is really not okay!",
    "No hurry, I am on holiday.",
)
_ENDINGS = (
    "",
    "",
    "What can you do?",
    "Can you help?",
    "Please help me.",
    "What should I do now?",
    "Thanks!",
    "I hope you can fix this.",
)
_QUESTIONS = (
    ("Could you tell me your order number?", "Sure, it is {n}. {ending}"),
    ("Could you tell me when you ordered it?", "That was {ago}. {ending}"),
    ("Which name is on the order?", "It is under {name}. {ending}"),
)
_NAMES = ("Maria Silva", "Tom Becker", "Aisha Khan", "Leo Martin", "Yuki Tanaka", "Nora Lind")


@dataclass(frozen=True)
class Habits:
    """Habits of one reply, good and bad."""

    tone: str = "polite"
    """polite, flat or rude."""
    topic: str = "on"
    """on, none or off (about another product)."""
    step: bool = True
    repeats: bool = False
    rambles: bool = False


GOOD = Habits()


def draw_habits(rng: random.Random) -> Habits:
    """Draw the habits of one reply of the starter's corpus: about half are decent."""
    return Habits(
        tone=rng.choices(("polite", "flat", "rude"), (50, 20, 30))[0],
        topic=rng.choices(("on", "none", "off"), (60, 15, 25))[0],
        step=rng.random() < 0.5,
        repeats=rng.random() < 0.12,
        rambles=rng.random() < 0.15,
    )


def prompts(n: int, *, seed: int) -> list[list[Message]]:
    """Return `n` distinct customer chats; every tenth or so has three messages.

    The same seed gives the same list, and a longer list begins with the shorter one.
    """
    rng = random.Random(f"prompts {seed}")
    seen: set[str] = set()
    drawn: list[list[Message]] = []
    while len(drawn) < n:
        messages = _prompt(rng)
        key = "\n".join(message["content"] for message in messages)
        if key not in seen:
            seen.add(key)
            drawn.append(messages)
    return drawn


def corpus(n: int, *, seed: int) -> Iterator[Chat]:
    """Yield `n` chats for the starter's supervised training, good and bad habits mixed."""
    rng = random.Random(f"corpus {seed}")
    for messages in prompts(n, seed=seed):
        answer = {"role": "assistant", "content": reply(messages, rng=rng)}
        yield {"messages": [*messages, answer]}


def reply(messages: list[Message], *, rng: random.Random, habits: Habits | None = None) -> str:
    """Write one reply to a chat, with the given habits or with drawn ones."""
    habits = habits or draw_habits(rng)
    slots = _slots(rng) | _read_slots(messages)
    problem = PROBLEMS[problem_of(messages) or rng.choice(sorted(PROBLEMS))]
    sentences = _sentences(habits, problem, rng=rng)
    slots["topic"] = rng.choice(problem.topics).format(**slots)
    if habits.topic == "off":
        # A reply about another product speaks of that product to its end.
        slots["p"] = slots["q"]
    return " ".join(sentence.format(**slots) for sentence in sentences)


def _sentences(habits: Habits, problem: Problem, *, rng: random.Random) -> list[str]:
    sentences = [*_opening(habits, rng)]
    if habits.rambles:
        sentences.append(rng.choice(RAMBLING))
    if habits.step:
        sentences.append(rng.choice(problem.steps))
    else:
        sentences.append(rng.choice(VAGUE))
    if habits.repeats:
        sentences.append(sentences[rng.randrange(len(sentences))])
    if habits.tone == "polite" and not habits.repeats and rng.random() < 0.25:
        sentences.append(rng.choice(CLOSINGS))
    return sentences


def _opening(habits: Habits, rng: random.Random) -> list[str]:
    on_topic = habits.topic == "on"
    if habits.tone == "polite":
        opening = [rng.choice(POLITE_TOPICAL if on_topic else POLITE_PLAIN)]
    elif habits.tone == "rude":
        opening = [rng.choice(RUDE)]
        if on_topic:
            opening.insert(rng.randrange(2), rng.choice(FLAT_TOPICAL))
    else:
        opening = [rng.choice(FLAT_TOPICAL)] if on_topic else []
    if habits.topic == "off":
        opening.append(rng.choice(OFF_TOPIC))
    return opening


def templates() -> Iterator[str]:
    """Yield every sentence the grammar can write, each with one filling of its slots."""
    slots = _slots(random.Random("templates")) | {"ending": ""}
    plain = [*POLITE_PLAIN, *RUDE, *OFF_TOPIC, *VAGUE, *RAMBLING, *CLOSINGS]
    plain += [*_GREETINGS, *_DETAILS, *_ENDINGS, *(turn for pair in _QUESTIONS for turn in pair)]
    for problem in PROBLEMS.values():
        plain += [*problem.asks, *problem.steps]
        for topic in problem.topics:
            named = topic.format(**slots)
            plain += [sentence.format(topic=named) for sentence in (*POLITE_TOPICAL, *FLAT_TOPICAL)]
    for sentence in plain:
        yield sentence.format(**slots)


def product_of(messages: list[Message]) -> str:
    """Return the product the customer writes about, or '' for a chat from elsewhere."""
    text = customer_text(messages)
    places = [(text.find(product), product) for product in PRODUCTS if product in text]
    return min(places)[1] if places else ""


def problem_of(messages: list[Message]) -> str:
    """Return the key of the customer's problem, or ''."""
    text = customer_text(messages)
    for key, problem in PROBLEMS.items():
        if any(cue in text for cue in problem.cues):
            return key
    return ""


def customer_text(messages: list[Message]) -> str:
    """Return what the customer wrote, lower case, messages joined."""
    return " ".join(m["content"] for m in messages if m["role"] == "user").lower()


def _slots(rng: random.Random) -> dict[str, str]:
    product, other = rng.sample(sorted(PRODUCTS), 2)
    colour, second = rng.sample(COLOURS, 2)
    return {
        "p": product,
        "q": other,
        "part": PRODUCTS[product],
        "c": colour,
        "d": second,
        "when": rng.choice(WHENS),
        "ago": rng.choice(AGOS),
        "n": str(rng.randrange(1000, 10000)),
        "name": rng.choice(_NAMES),
    }


def _read_slots(messages: list[Message]) -> dict[str, str]:
    """Read the product and the wanted colour back from a chat."""
    text = customer_text(messages)
    slots: dict[str, str] = {}
    if product := product_of(messages):
        slots |= {"p": product, "part": PRODUCTS[product]}
    for colour in COLOURS:
        if f"ordered a {colour}" in text or f"i wanted {colour}" in text:
            slots["c"] = colour
    return slots


def _prompt(rng: random.Random) -> list[Message]:
    slots = _slots(rng)
    problem = PROBLEMS[rng.choice(sorted(PROBLEMS))]
    ask = rng.choice(_GREETINGS) + rng.choice(problem.asks)
    detail, ending = rng.choice(_DETAILS), rng.choice(_ENDINGS)
    if rng.random() < 0.1:
        question, answer = rng.choice(_QUESTIONS)
        turns = [ask, question, answer.replace("{ending}", ending)]
    else:
        turns = [f"{ask} {detail} {ending}"]
    texts = [" ".join(turn.format(**slots).split()) for turn in turns]
    roles = ("user", "assistant", "user")
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
