"""The proposal of a round: pairs of new completions for people to compare.

Pairs are compared in the hidden states of the supervised starter, which never change, so that the
features of a round and the light head on them need no reward model. The rules that choose among
them are in acquire.py.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from training.rlhf import acquire, rows
from training.rlhf.config import ProposeConfig
from training.rlhf.data import soft_labels
from training.rlhf.language import weight_dtype
from training.rlhf.metrics.arrays import Floats
from training.rlhf.reward import reward_model
from training.rlhf.rows import Candidate, Completion, Preference, Prompt
from training.rlhf.run.work import Work

Score = Callable[[list[list[rows.Message]], list[str]], Sequence[float]]
"""A reward model's scores of replies to chats, from which candidates get their margins."""
FEATURES_BATCH = 64
MOST_MEASURING = 2000
"""Pairs of held-out prompts whose features are written: the control needs no more."""


@dataclass(frozen=True)
class Labelled:
    """A pair people voted on: keys of its completions, its soft label and the votes' mass."""

    pair_id: str
    first: str
    second: str
    value: float
    weight: float


def plain(text: str) -> str:
    """A text as people see it: two that differ only in case or white space are the same."""
    return " ".join(text.split()).casefold()


def pairs(
    completions: Sequence[Completion], *, exclude: frozenset[str] = frozenset()
) -> list[Candidate]:
    """All pairs of the new policy's completions within a prompt, without identical texts.

    Args:
        exclude: candidate keys that are in the queue already.
    """
    by_prompt: dict[str, dict[str, Completion]] = {}
    for completion in completions:
        if completion.policy == "new":
            by_prompt.setdefault(completion.prompt_id, {}).setdefault(
                plain(completion.text), completion
            )
    candidates = []
    for distinct in by_prompt.values():
        for a, b in itertools.combinations(distinct.values(), 2):
            candidate = _candidate(a, b, kind="normal")
            if candidate.key not in exclude:
                candidates.append(candidate)
    return candidates


def evaluation_pairs(
    completions: Sequence[Completion], held_out: set[str], *, n: int, seed: int
) -> list[Candidate]:
    """Blind pairs of the new policy and each other one on held-out prompts, up to `n` with each;
    the side of each is drawn."""
    rng = np.random.default_rng([seed, 5])
    new: dict[str, Completion] = {}
    for completion in completions:
        if completion.policy == "new" and completion.prompt_id in held_out:
            new.setdefault(completion.prompt_id, completion)
    candidates: dict[str, list[Candidate]] = defaultdict(list)
    for completion in completions:
        other = new.get(completion.prompt_id)
        if completion.policy == "new" or other is None:
            continue
        if plain(other.text) != plain(completion.text):
            both = (other, completion) if rng.random() < 0.5 else (completion, other)
            candidates[completion.policy].append(_candidate(*both, kind="evaluation"))
    return [candidate for pairs in candidates.values() for candidate in pairs[:n]]


def _candidate(a: Completion, b: Completion, *, kind: Literal["normal", "evaluation"]) -> Candidate:
    return Candidate(
        key=rows.candidate_key(a.key, b.key),
        prompt_id=a.prompt_id,
        completion_a=a.key,
        completion_b=b.key,
        kind=kind,
        policy_a=a.policy if kind == "evaluation" else "",
        policy_b=b.policy if kind == "evaluation" else "",
    )


def choose(
    train: Sequence[Candidate],
    held_out: Sequence[Candidate],
    ranking: acquire.Ranking | None,
    config: ProposeConfig,
    *,
    held_out_share: float,
    seed: int,
) -> list[Candidate]:
    """The batch: actively chosen pairs best first, then the random stream.

    Pairs of held-out prompts are only ever drawn at random: they measure. They are part of the
    random share. Random pairs are drawn before the active ones, uniformly from all pairs.

    Args:
        ranking: of the pairs in `train`; None draws all at random.
    """
    rng = np.random.default_rng([seed, 6])  # a stream of its own: no other draw shifts this one
    measured = min(round(config.pairs * held_out_share), len(held_out))
    drawn = max(round(config.pairs * config.random_share) - measured, 0)
    if ranking is None:
        drawn = config.pairs - measured
    # Propensity: the random stream comes out of all pairs, before the active ones are taken. Drawn
    # from what those leave, it would lack the hard pairs, and every estimate on it would be biased.
    shuffled = rng.permutation(len(train))[:drawn].tolist()
    active: list[int] = []
    if ranking is not None:
        taken, room = set(shuffled), config.pairs - measured - len(shuffled)
        best = np.argsort(-ranking.scores, kind="stable").tolist()
        active = [i for i in best if i not in taken and ranking.scores[i] > 0][:room]
    scores = {i: float(ranking.scores[i]) for i in active} if ranking is not None else {}
    order = rng.permutation(len(held_out))[:measured].tolist()
    return [
        *(replace(train[i], stream="active", score=scores[i]) for i in active),
        *(train[i] for i in shuffled),  # as they are: random, and without a score
        *(held_out[i] for i in order),
    ]


def labelled_pairs(preferences: Sequence[Preference]) -> list[Labelled]:
    """Pairs with votes outside the held-out prompts."""
    labelled = []
    for row in preferences:
        label = soft_labels.label(row)
        if label is not None and not row.held_out and row.kind != "evaluation":
            keys = [
                rows.completion_key(row.prompt_id, text)
                for text in (row.completion_a, row.completion_b)
            ]
            labelled.append(Labelled(row.pair_id, keys[0], keys[1], label.value, label.weight))
    return labelled


def propose_pairs(
    starter: str | Path,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    preferences: Sequence[Preference],
    config: ProposeConfig,
    out: Path,
    work: Work,
    *,
    held_out_share: float,
    score: Score | None = None,
    judge: Score | None = None,
) -> dict[str, float]:
    """Write candidates.jsonl, and the features with which the queue is ranked between rounds.

    The features are features.npy (n, d) with pool.jsonl, labelled.npy (m, d) with labelled.jsonl,
    and measuring.npy (k, d) with measuring.jsonl, float16.

    The pool holds every pair of training prompts that could be asked, and the open pairs (no
    votes yet) of `preferences`; pool.jsonl has their keys, labelled.jsonl the pair ids. Pairs of
    held-out prompts are in measuring.npy alone: heads are scored on them, and none learns of them.

    Args:
        score: of the reward model, from which candidates get their margins.
        judge: of the judge, from which evaluation pairs get theirs.

    Returns:
        candidates, active, random, evaluation, held_out, pool, labelled and votes (their mass).

    Raises:
        ConfigError: `propose.acquisition` is not in `acquire.ACQUISITIONS`.
    """
    held_out_ids = {prompt.prompt_id for prompt in prompts if prompt.held_out}
    asked = pairs(completions, exclude=frozenset(_key(row) for row in preferences))
    train = [candidate for candidate in asked if candidate.prompt_id not in held_out_ids]
    held_out = [candidate for candidate in asked if candidate.prompt_id in held_out_ids]
    labelled = labelled_pairs(preferences)
    waiting = [row for row in preferences if not row.votes and not row.held_out]
    texts = _texts(prompts, completions, preferences)
    ends = [(c.completion_a, c.completion_b) for c in train]
    ends += [_keys(row) for row in waiting]
    ends += [(pair.first, pair.second) for pair in labelled]
    measuring = _measuring(preferences, held_out)
    seed = work.seed
    x = differences(
        starter, texts, ends, work, dims=config.features, beside=list(measuring.values())
    )
    x, measured = x[: len(ends)], x[len(ends) :]
    pool, old = x[: len(ends) - len(labelled)], x[len(ends) - len(labelled) :]
    ranking = _rank(labelled, old, pool[: len(train)], config, seed=seed)
    picked = choose(train, held_out, ranking, config, held_out_share=held_out_share, seed=seed)
    compared = evaluation_pairs(completions, held_out_ids, n=config.evaluation_pairs, seed=seed)
    margins = [*with_margins(picked, texts, score), *with_margins(compared, texts, judge)]
    rows.write(out / "candidates.jsonl", margins)
    keys = [c.key for c in train] + [row.pair_id for row in waiting]
    _write_features(out, keys, pool, labelled, old)
    np.save(out / "measuring.npy", measured.astype(np.float16))
    rows.write(out / "measuring.jsonl", ({"key": key} for key in measuring))
    return {
        "candidates": float(len(picked) + len(compared)),
        "active": float(sum(candidate.stream == "active" for candidate in picked)),
        "random": float(sum(candidate.stream == "random" for candidate in picked)),
        "held_out": float(sum(c.prompt_id in held_out_ids for c in picked)),
        "evaluation": float(len(compared)),
        "pool": float(len(keys)),
        "labelled": float(len(labelled)),
        "votes": sum(pair.weight for pair in labelled),
    }


def _measuring(
    preferences: Sequence[Preference], held_out: Sequence[Candidate]
) -> dict[str, tuple[str, str]]:
    """Keys of pairs of held-out prompts, those with votes first, and of their completions."""
    known = [row for row in preferences if row.held_out and row.kind != "evaluation"]
    known.sort(key=lambda row: not row.votes)
    measuring = {row.pair_id: _keys(row) for row in known}
    measuring |= {pair.key: (pair.completion_a, pair.completion_b) for pair in held_out}
    return dict(itertools.islice(measuring.items(), MOST_MEASURING))


def _write_features(
    out: Path, keys: Sequence[str], pool: Floats, labelled: Sequence[Labelled], old: Floats
) -> None:
    """Write the features of the pool (n, d) and of the pairs with votes (m, d), with their keys."""
    np.save(out / "features.npy", pool.astype(np.float16))
    np.save(out / "labelled.npy", old.astype(np.float16))
    rows.write(out / "pool.jsonl", ({"key": key} for key in keys))
    rows.write(
        out / "labelled.jsonl",
        ({"pair_id": p.pair_id, "value": p.value, "weight": p.weight} for p in labelled),
    )


def with_margins(
    candidates: Sequence[Candidate], texts: Texts, score: Score | None
) -> list[Candidate]:
    """The candidates with the logit of a over b by the reward model; as they are without one."""
    keys = sorted({key for c in candidates for key in (c.completion_a, c.completion_b)})
    if score is None or not keys:
        return list(candidates)
    scores = score([texts[key][0] for key in keys], [texts[key][1] for key in keys])
    of = {key: float(value) for key, value in zip(keys, scores, strict=True)}
    return [replace(c, margin=of[c.completion_a] - of[c.completion_b]) for c in candidates]


def _rank(
    labelled: Sequence[Labelled], old: Floats, pool: Floats, config: ProposeConfig, *, seed: int
) -> acquire.Ranking | None:
    """None before there are enough votes: then every pair is drawn at random."""
    weights = np.array([pair.weight for pair in labelled])
    if weights.sum() < config.cold_start_votes:
        return None
    values = np.array([pair.value for pair in labelled])
    everything = np.ones(len(pool), dtype=bool)
    return acquire.rerank(
        old, values, pool, everything, config, n=config.pairs, seed=seed, weights=weights
    )


def _key(row: Preference) -> str:
    return rows.candidate_key(*_keys(row))


def _keys(row: Preference) -> tuple[str, str]:
    return (
        rows.completion_key(row.prompt_id, row.completion_a),
        rows.completion_key(row.prompt_id, row.completion_b),
    )


Texts = Mapping[str, tuple[list[rows.Message], str]]


def _texts(
    prompts: Sequence[Prompt], completions: Sequence[Completion], preferences: Sequence[Preference]
) -> Texts:
    """Chat and text of every completion, by its key."""
    chats = {prompt.prompt_id: prompt.messages for prompt in prompts}
    texts = {c.key: (chats[c.prompt_id], c.text) for c in completions}
    for row in preferences:
        for key, text in zip(_keys(row), (row.completion_a, row.completion_b), strict=True):
            texts[key] = (row.messages, text)
    return texts


def differences(
    starter: str | Path,
    texts: Texts,
    ends: Sequence[tuple[str, str]],
    work: Work,
    *,
    dims: int,
    beside: Sequence[tuple[str, str]] = (),
) -> Floats:
    """Feature difference of every pair of completion keys, (n, d): mean hidden states of the
    reply in the starter, normalised and projected.

    Those of the pairs `beside` follow, (n + m, d); they have no part in the normalisation.
    """
    ours = {key for pair in ends for key in pair}
    keys = sorted(ours | {key for pair in beside for key in pair})
    if not ours:
        return np.full((len(beside), dims), np.nan)
    dtype = weight_dtype.resolved("auto", starter, work.device)
    model = reward_model.new(
        starter, pooling="mean", max_length=100_000, device=work.device, dtype=dtype
    )
    model.eval()  # dropout off: the same text has the same features
    read = [model.read(*texts[key]) for key in keys]
    parts = []
    for start in range(0, len(read), 8 * FEATURES_BATCH):
        chunk = read[start : start + 8 * FEATURES_BATCH]
        parts.append(model.in_batches(chunk, model.features, batch_size=FEATURES_BATCH))
        work.report(min(start + len(chunk), len(read)), len(read), {})
        work.guard()
    fitted = np.array([key in ours for key in keys])
    features = acquire.normalise(torch.cat(parts).double().numpy(), dims=dims, fitted=fitted)
    row = {key: i for i, key in enumerate(keys)}
    first, second = ([row[pair[side]] for pair in (*ends, *beside)] for side in (0, 1))
    result: Floats = features[first] - features[second]
    return result
