"""Overlap of texts: ROUGE, BLEU and METEOR of a reply with its reference, self-BLEU of a set.

Torch-free. All scores lie in [0, 1]; 1 is equal. None of them sees meaning: they compare versions
of one policy on the same prompts, and say little about a single reply.

NLTK takes as long to import as torch does. The first text that is measured imports it and the
other libraries, not a command that only trains or an installation without them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.texts.diversity_and_refusals import mean, ngrams, words

ORDER = 4
ROUGE = ("rouge1", "rouge2", "rougeL")
BLEU_COUNTS = (
    *(f"bleu_match{n}" for n in range(1, ORDER + 1)),
    *(f"bleu_total{n}" for n in range(1, ORDER + 1)),
    "bleu_length",
    "bleu_reference_length",
)
"""The sufficient statistics of corpus BLEU, which add up over replies."""


class _Letters:
    """rouge_score's own words on ASCII; letters of other scripts are kept, which it drops."""

    _word = re.compile(r"[^\W_]+")

    def tokenize(self, text: str) -> list[str]:
        words = self._word.findall(text.lower())
        return [_stem(word) if len(word) > 3 else word for word in words]


def overlap(reply: str, reference: str) -> dict[str, float]:
    """Every score of one reply, and its BLEU_COUNTS.

    Returns:
        rouge1, rouge2, rougeL: F1 of stemmed unigrams, bigrams and the longest common
        subsequence (Lin 2004).
        meteor_exact_stem: METEOR with exact and stem matching; meteor: with synonyms too, only
        where NLTK's WordNet is installed.
    """
    scores = {name: score.fmeasure for name, score in _rouge().score(reference, reply).items()}
    tokens = words(reply), words(reference)
    scores["meteor_exact_stem"] = meteor(*tokens, (_equal, _same_stem))
    if has_wordnet():
        scores["meteor"] = meteor(*tokens, (_equal, _same_stem, _synonyms))
    return scores | bleu_counts(reply, reference)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE, tokenizer=_Letters())


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)


Alike = Callable[[str, str], bool]


def meteor(reply: Sequence[str], reference: Sequence[str], stages: Sequence[Alike]) -> float:
    """METEOR of words (Banerjee and Lavie 2005): alpha 0.9, beta 3, gamma 0.5.

    Every stage matches words that are left over from those before it, from the right as NLTK does.
    NLTK itself hands stems on to WordNet, which knows "automobile" and not "automobil".
    """
    places: dict[int, int] = {}
    free = dict(enumerate(reference))
    for alike in stages:
        for i in sorted(set(range(len(reply))) - set(places), reverse=True):
            match = next((j for j in reversed(free) if alike(reply[i], free[j])), None)
            if match is not None:
                places[i] = match
                del free[match]
    if not places:
        return 0.0
    matches = len(places)
    chunks = sum(places.get(i - 1, -2) + 1 != j for i, j in places.items())
    precision, recall = matches / len(reply), matches / len(reference)
    score = precision * recall / (0.9 * precision + 0.1 * recall)
    return score * (1 - 0.5 * (chunks / matches) ** 3)


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


def _equal(one: str, other: str) -> bool:
    return one == other


def _same_stem(one: str, other: str) -> bool:
    return _stem(one) == _stem(other)


def _synonyms(one: str, other: str) -> bool:
    return other in _lemmas(one)


@lru_cache(maxsize=65536)
def _lemmas(word: str) -> frozenset[str]:
    """The words of every sense of a word."""
    from nltk.corpus import wordnet

    senses = wordnet.synsets(word)
    return frozenset(name.lower() for sense in senses for name in sense.lemma_names())


@cache
def has_wordnet() -> bool:
    """True where NLTK's WordNet is on this machine; nothing is downloaded."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return False
    return True


def bleu_counts(reply: str, reference: str) -> dict[str, float]:
    """Matching and all n-grams for n = 1..4, and both lengths, in sacrebleu's 13a tokens."""
    score = _bleu().sentence_score(reply, [reference])
    values = (*score.counts, *score.totals, score.sys_len, score.ref_len)
    return dict(zip(BLEU_COUNTS, map(float, values), strict=True))


def bleu(counts: Floats) -> Floats:
    """Corpus BLEU (Papineni et al. 2002) from summed BLEU_COUNTS (..., 10); (...).

    Smoothed as sacrebleu does by default: the k-th order without a match counts 1 / 2^k matches
    (NIST's mteval; Chen and Cherry 2014, method 3). 0 without any match, or with an order of which
    there is no n-gram.
    """
    matched, totals = counts[..., :ORDER], counts[..., ORDER : 2 * ORDER]
    missed = matched == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(missed, 0.5 ** missed.cumsum(-1), matched) / totals)
        brevity = np.minimum(0.0, 1 - counts[..., -1] / counts[..., -2])
        score = np.exp(logs.mean(-1) + brevity)
    known: Floats = np.where(missed.all(-1) | (totals == 0).any(-1), 0.0, score)
    return known


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU of each text against all the others (Zhu et al. 2018, arXiv 1802.01886).

    High where a policy says the same to everybody. Rises with the number of texts: compare only
    sets of the same size. 0 for fewer than two.
    """
    if len(texts) < 2:
        return 0.0
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenize: Callable[[str], str] = Tokenizer13a()
    tokens = [tokenize(text).split() for text in texts]
    best = [_two_best([Counter(ngrams(one, n)) for one in tokens]) for n in range(1, ORDER + 1)]
    lengths = Counter(map(len, tokens))
    return mean([_against_others(one, best, lengths) for one in tokens])


Best = dict[tuple[Hashable, ...], tuple[int, int]]


def _two_best(counts: Sequence[Counter[tuple[Hashable, ...]]]) -> Best:
    """The highest and second highest count of each n-gram over all texts: without the text that
    holds the highest, the second is the most that any other has."""
    best: Best = {}
    for counted in counts:
        for gram, n in counted.items():
            first, second = best.get(gram, (0, 0))
            best[gram] = (max(first, n), max(second, min(first, n)))
    return best


def _against_others(tokens: list[str], best: Sequence[Best], lengths: Counter[int]) -> float:
    matched, totals = [], []
    for n in range(1, ORDER + 1):
        own = Counter(ngrams(tokens, n))
        totals.append(own.total())
        matched.append(
            sum(
                min(count, best[n - 1][gram][1 if best[n - 1][gram][0] == count else 0])
                for gram, count in own.items()
            )
        )
    others = [length for length, n in lengths.items() if n > (length == len(tokens))]
    closest = min(others, key=lambda length: (abs(length - len(tokens)), length))
    score = _bleu().compute_bleu(
        matched, totals, len(tokens), closest, smooth_method="exp", effective_order=True
    )
    return float(score.score) / 100
