from __future__ import annotations

import random
from itertools import pairwise, product

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from training.rlhf.metrics.texts import rouge_bleu_meteor

REFERENCE = "The police killed the gunman near the old station yesterday."
REPLIES = (
    "Police kill the gunman near the station.",
    "The gunman police killed the near.",
    "Yesterday, the police were killing gunmen at old stations near here!",
    "Nothing in common whatsoever",
    "",
)
THINGS = ("parcel", "invoice", "refund", "late", "is", "the", "on", "its", "way", "today", "sorry")


def sentences(n: int, *, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(THINGS, k=rng.randint(3, 12))) for _ in range(n)]


def slow_f1(reply: list[str], reference: list[str], n: int) -> float:
    grams = [tuple(reply[i : i + n]) for i in range(len(reply) - n + 1)]
    wanted = [tuple(reference[i : i + n]) for i in range(len(reference) - n + 1)]
    left, hits = list(wanted), 0
    for gram in grams:
        if gram in left:
            left.remove(gram)
            hits += 1
    return 2 * hits / (len(grams) + len(wanted)) if hits else 0.0


def longest_common(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest_common(a[1:], b[1:])
    return max(longest_common(a[1:], b), longest_common(a, b[1:]))


def slow_meteor(reply: list[str], reference: list[str]) -> float:
    """By hand: exact matches first, then stems, each from the right; chunks by adjacent runs."""
    stem = PorterStemmer().stem
    free_reply, free_reference = list(enumerate(reply)), list(enumerate(reference))
    pairs: list[tuple[int, int]] = []
    for same in (lambda x, y: x == y, lambda x, y: stem(x) == stem(y)):
        for i, word in reversed(list(free_reply)):
            hit = next(((j, w) for j, w in reversed(free_reference) if same(word, w)), None)
            if hit:
                pairs.append((i, hit[0]))
                free_reply.remove((i, word))
                free_reference.remove(hit)
    if not pairs:
        return 0.0
    pairs.sort()
    chunks = 1 + sum(b != (a[0] + 1, a[1] + 1) for a, b in pairwise(pairs))
    precision, recall = len(pairs) / len(reply), len(pairs) / len(reference)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    return mean * (1 - 0.5 * (chunks / len(pairs)) ** 3)


@pytest.mark.parametrize("reply", REPLIES)
def test_rouge_and_meteor_are_what_slow_counting_gives(reply: str) -> None:
    stem = PorterStemmer().stem

    def letters(text: str) -> list[str]:
        plain = "".join(c if c.isalnum() else " " for c in text.lower())
        return [stem(word) if len(word) > 3 else word for word in plain.split()]

    found = rouge_bleu_meteor.overlap(reply, REFERENCE)
    a, b = letters(reply), letters(REFERENCE)
    common = longest_common(a, b)
    assert found["rouge1"] == pytest.approx(slow_f1(a, b, 1))
    assert found["rouge2"] == pytest.approx(slow_f1(a, b, 2))
    assert found["rougeL"] == pytest.approx(2 * common / (len(a) + len(b)) if common else 0.0)
    tokens = rouge_bleu_meteor.words(reply), rouge_bleu_meteor.words(REFERENCE)
    assert found["meteor_exact_stem"] == pytest.approx(slow_meteor(*tokens))


class NoSynonyms:
    @staticmethod
    def synsets(_word: str) -> list[str]:
        return []


def test_meteor_without_synonyms_is_that_of_nltk() -> None:
    texts = [rouge_bleu_meteor.words(text) for text in (*REPLIES, *sentences(20))]
    for reply, reference in product(texts, texts):
        theirs = single_meteor_score(reference, reply, wordnet=NoSynonyms()) if reply else 0.0
        found = rouge_bleu_meteor.overlap(" ".join(reply), " ".join(reference))["meteor_exact_stem"]
        assert found == pytest.approx(theirs)


def test_synonyms_are_of_words_and_not_of_their_stems() -> None:
    """NLTK asks for the synonyms of "automobil", of which there are none."""
    pair = (
        rouge_bleu_meteor.words("an automobile is late"),
        rouge_bleu_meteor.words("a car is late"),
    )

    def same(one: str, other: str) -> bool:
        return one == other

    def synonyms(one: str, other: str) -> bool:
        return {one, other} == {"automobile", "car"}

    # Three of four words match in one run: P = R = 3/4, and the penalty is (1/3)^3 / 2.
    assert rouge_bleu_meteor.meteor(*pair, (same, synonyms)) == pytest.approx(0.75 * (1 - 1 / 54))


def test_rouge_on_plain_english_is_that_of_rouge_score() -> None:
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for reply in REPLIES:
        wanted = {name: s.fmeasure for name, s in theirs.score(REFERENCE, reply).items()}
        found = rouge_bleu_meteor.overlap(reply, REFERENCE)
        assert {name: found[name] for name in wanted} == wanted


def test_rouge_sees_letters_outside_ascii() -> None:
    assert rouge_bleu_meteor.overlap("Посылка в пути", "Посылка уже в пути")[
        "rouge1"
    ] == pytest.approx(6 / 7)


def test_equal_texts_reach_the_top_of_every_scale() -> None:
    found = rouge_bleu_meteor.overlap(REFERENCE, REFERENCE)
    assert {found[name] for name in rouge_bleu_meteor.ROUGE} == {1.0}
    assert found["meteor_exact_stem"] > 0.999  # the penalty of a single chunk remains
    counts = np.array([found[name] for name in rouge_bleu_meteor.BLEU_COUNTS])
    assert rouge_bleu_meteor.bleu(counts) == pytest.approx(1.0)


def test_the_full_meteor_is_given_exactly_where_wordnet_is_installed() -> None:
    assert ("meteor" in rouge_bleu_meteor.overlap("a", "a")) is rouge_bleu_meteor.has_wordnet()


CORPORA = (
    (sentences(30), sentences(30, seed=1)),
    (["the parcel is late"], ["the late parcel is here today"]),  # no match of four words
    (["parcel late sorry we wrote"], ["we are sorry for that"]),  # of two and more neither
    (["sorry"], ["sorry for that"]),  # too short to have any
    (["nothing"], ["in common"]),
    ([""], ["the parcel"]),
)


def test_bleu_of_summed_counts_is_corpus_bleu() -> None:
    counts = [
        np.sum(
            [
                list(rouge_bleu_meteor.bleu_counts(*both).values())
                for both in zip(*corpus, strict=True)
            ],
            0,
        )
        for corpus in CORPORA
    ]
    theirs = [BLEU().corpus_score(replies, [known]).score / 100 for replies, known in CORPORA]
    assert rouge_bleu_meteor.bleu(np.array(counts)) == pytest.approx(theirs)
    assert [score > 0 for score in theirs] == [True, True, True, False, False, False]


def test_self_bleu_is_the_mean_bleu_against_all_other_texts() -> None:
    texts = [*sentences(12), "the parcel is late", "the parcel is late", "the the the the parcel"]
    slow = [
        BLEU(effective_order=True).sentence_score(text, texts[:i] + texts[i + 1 :]).score / 100
        for i, text in enumerate(texts)
    ]
    assert rouge_bleu_meteor.self_bleu(texts) == pytest.approx(sum(slow) / len(slow))


def test_self_bleu_is_one_for_copies_and_zero_for_a_single_text() -> None:
    assert rouge_bleu_meteor.self_bleu(["the parcel is on its way"] * 3) == pytest.approx(1.0)
    assert rouge_bleu_meteor.self_bleu(["the parcel"]) == 0.0
