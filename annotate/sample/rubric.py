"""The hidden rubric: what a good reply of the support desk is worth, in points.

Nobody who votes sees it. Simulated colleagues vote by it (with their own noise), and the
benchmarks measure a policy with it. Every habit counts once, so repeating a good phrase earns
nothing, and words that do not belong together cost more than they bring.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from annotate.sample import made_up_texts, shop
from annotate.sample.made_up_texts import Message

_COURTESY = re.compile(
    r"\b(sorry|apologi[sz]e|apologies|thank you|thanks|happy to help|glad to help|"
    r"here if you need)\b"
)
_RUDE = re.compile(
    r"\b(our problem|complain\w*|not care|more careful|this difficult|calm down|silly|bother|"
    r"stupid|idiot|shut up|go away|your fault|who cares)\b"
)
_PROMISE = re.compile(r"\b(i will|we will|i'll|we'll|please|you can|let me)\b")
_ACTION = re.compile(
    r"\b(call|cancel|change|check|collect|download|email|fix|mail|open|post|print|refund|repair|"
    r"replace|reply|return|send|ship|swap|take|update)\b"
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_WORD = re.compile(r"[a-z']+|\d+")
_PRODUCTS = re.compile(r"\b(" + "|".join(map(re.escape, shop.PRODUCTS)) + r")\b")
_PARTS = re.compile(r"\b(" + "|".join(sorted(set(shop.PRODUCTS.values()))) + r")\b")
_COLOURS = re.compile(r"\b(" + "|".join(shop.COLOURS) + r")\b")
_TIMES = re.compile(r"\b(" + "|".join(shop.WHENS + shop.AGOS).lower() + r")\b")
_STOPWORDS = frozenset(
    _WORD.findall(
        "about after again also been before could does from have hello help here just like more "
        "much need only over please should some thanks that their them then there these they "
        "this want were what when where which will with would your"
    )
)


def utility(messages: list[Message], text: str) -> float:
    """Return the points of a reply to a chat: about -6 to 4.5, in steps of one half."""
    return sum(explain(messages, text).values())


def explain(messages: list[Message], text: str) -> dict[str, float]:
    """Return the points of a reply by dimension, each a multiple of one half."""
    sentences = [part.strip().lower() for part in _SENTENCE.findall(text) if part.strip()]
    topic = _Topic(messages)
    return {
        "politeness": _politeness(text.lower()),
        "topic": _topic_points(topic, text.lower()),
        "next step": 2.0 if any(_is_step(sentence) for sentence in sentences) else 0.0,
        "filler": -1.0 * min(sum(_is_filler(topic, sentence) for sentence in sentences), 2),
        "repetition": _repetition(sentences),
        "length": _length(text),
        "form": _form(text, sentences),
    }


def prefers(messages: list[Message], left: str, right: str) -> float:
    """Return utility(left) - utility(right); 0 means the rubric has no preference."""
    return utility(messages, left) - utility(messages, right)


class _Topic:
    """Topic of the customer's chat."""

    def __init__(self, messages: list[Message]) -> None:
        self.product = made_up_texts.product_of(messages)
        problem = made_up_texts.problem_of(messages) if self.product else ""
        self.cues = shop.PROBLEMS[problem].cues if problem else ()
        words = _WORD.findall(made_up_texts.customer_text(messages))
        # Chats from elsewhere have no product of ours: their own long words are the topic.
        self.words = (
            set()
            if self.product
            else {word for word in words if len(word) > 3 and word not in _STOPWORDS}
        )

    def named(self, text: str) -> bool:
        """Return whether a text names the product, its part, or a word of a foreign chat."""
        if not self.product:
            return not self.words.isdisjoint(_WORD.findall(text))
        part = shop.PRODUCTS[self.product]
        return self.product in _PRODUCTS.findall(text) or part in _parts(text)

    def problem_named(self, text: str) -> bool:
        return any(cue in text for cue in self.cues)

    def strays(self, text: str) -> bool:
        """Return whether a text speaks of a product that the customer did not write about."""
        return bool(set(_PRODUCTS.findall(text)) - {self.product}) if self.product else False


def _parts(text: str) -> list[str]:
    # "the label in your email" is a shipping label, not a part of a sweater.
    return _PARTS.findall(text.replace("label in your email", ""))


def _politeness(text: str) -> float:
    rude = len(set(_RUDE.findall(text)))
    courteous = 1.0 if _COURTESY.search(text) else 0.0
    return courteous - (1.5 + 0.5 * min(rude, 3) if rude else 0.0)


def _topic_points(topic: _Topic, text: str) -> float:
    named = 1.5 if topic.named(text) or topic.problem_named(text) else 0.0
    return named - (2.0 if topic.strays(text) else 0.0)


def _is_step(sentence: str) -> bool:
    """Return whether a sentence promises or asks for an action in enough words to be concrete."""
    if len(_WORD.findall(sentence)) < 5 or _RUDE.search(sentence):
        return False
    promise = _PROMISE.search(sentence)
    return bool(promise and _ACTION.search(sentence, promise.end()))


def _is_filler(topic: _Topic, sentence: str) -> bool:
    """Return whether a sentence is neither courtesy, topic, step nor a fault counted above."""
    return not (
        _COURTESY.search(sentence)
        or _RUDE.search(sentence)
        or _is_step(sentence)
        or topic.named(sentence)
        or topic.problem_named(sentence)
        or topic.strays(sentence)
    )


def _repetition(sentences: list[str]) -> float:
    """Points lost to repeated sentences, repeated runs of three words and stuttered words."""
    words = [tuple(_WORD.findall(sentence)) for sentence in sentences]
    triples = [ws[i : i + 3] for ws in words for i in range(len(ws) - 2)]
    flat = [word for ws in words for word in ws]
    stutters = sum(a == b for a, b in itertools.pairwise(flat))
    repeated = (len(triples) - len(set(triples)) + 2 * stutters) / max(len(triples), 1)
    if repeated >= 0.5:
        return -2.5
    return -1.5 if repeated >= 0.3 or len(set(words)) < len(words) else 0.0


def _length(text: str) -> float:
    words = len(text.split())
    if words < 5 or words > 60:
        return -2.0
    return -1.0 if words < 9 or words > 45 else 0.0


def _form(text: str, sentences: list[str]) -> float:
    """Points lost to unknown words, words in an order nobody writes, and a missing full stop."""
    if not sentences:
        return -4.0
    words, orders = _language()
    tokens = [_normalise(sentence) for sentence in sentences]
    flat = [token for ts in tokens for token in ts]
    pairs = [pair for ts in tokens for pair in zip(["<start>", *ts], ts, strict=False)]
    strange = sum(token not in words for token in flat) / max(len(flat), 1)
    jumbled = sum(pair not in orders for pair in pairs) / max(len(pairs), 1)
    unfinished = 0.0 if text.rstrip()[-1] in ".!?" else 0.5
    return -(round(2 * (2 * strange + 2 * jumbled)) / 2 + unfinished)


def _normalise(sentence: str) -> list[str]:
    """Split a lower-case sentence into words, products and the like replaced by their class."""
    sentence = _PRODUCTS.sub(" productword ", sentence)
    sentence = _TIMES.sub(" timeword ", sentence)
    sentence = _COLOURS.sub(" colourword ", sentence)
    sentence = _PARTS.sub(" partword ", sentence)
    return ["0" if token.isdigit() else token for token in _WORD.findall(sentence)]


@lru_cache(maxsize=1)
def _language() -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Return the grammar's words and the pairs of words that stand side by side in it."""
    words: set[str] = set()
    orders: set[tuple[str, str]] = set()
    for template in made_up_texts.templates():
        for sentence in _SENTENCE.findall(template.lower()):
            tokens = _normalise(sentence)
            words |= set(tokens)
            orders |= set(zip(["<start>", *tokens], tokens, strict=False))
    return frozenset(words), frozenset(orders)
