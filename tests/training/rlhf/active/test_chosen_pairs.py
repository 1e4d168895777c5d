from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.rlhf import world
from training.rlhf import acquire, rows
from training.rlhf.active import chosen_pairs
from training.rlhf.config import ProposeConfig
from training.rlhf.rows import Candidate, Completion, Vote
from training.rlhf.run.work import Work

TEXTS = st.lists(st.sampled_from(["Yes.", "yes. ", "No.", "NO.", "We will.", "Later"]), max_size=8)


def completion(prompt: str, text: str, *, policy: str = "new") -> Completion:
    key = rows.completion_key(prompt, f"{text}{policy}" if policy == "starter" else text)
    return Completion(key=key, prompt_id=prompt, text=text, policy=policy)  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from("pqr"), TEXTS, max_size=3))
def test_no_pair_has_equal_texts_and_none_comes_twice(replies: dict[str, list[str]]) -> None:
    completions = [completion(p, text) for p, texts in replies.items() for text in texts]
    by_key = {c.key: c for c in completions}
    found = chosen_pairs.pairs(completions)
    assert len({c.key for c in found}) == len(found)
    for candidate in found:
        a, b = by_key[candidate.completion_a], by_key[candidate.completion_b]
        assert a.prompt_id == b.prompt_id == candidate.prompt_id
        assert chosen_pairs.plain(a.text) != chosen_pairs.plain(b.text)
    seen = [frozenset((c.completion_a, c.completion_b)) for c in found]
    assert len(set(seen)) == len(seen)


def test_pairs_in_the_queue_already_are_left_out() -> None:
    completions = [completion("p", text) for text in ("one", "two", "three")]
    first = chosen_pairs.pairs(completions)
    assert len(first) == 3
    rest = chosen_pairs.pairs(completions, exclude=frozenset({first[0].key}))
    assert rest == first[1:]


def test_starter_replies_are_compared_only_blind_and_on_held_out_prompts() -> None:
    completions = [
        completion("p", "new one"),
        completion("p", "old one", policy="starter"),
        completion("q", "same"),
        completion("q", "same", policy="starter"),
        completion("r", "new three"),
        completion("r", "old three", policy="starter"),
    ]
    assert chosen_pairs.pairs(completions) == []
    found = chosen_pairs.evaluation_pairs(completions, {"p", "q"}, n=10, seed=0)
    assert [c.prompt_id for c in found] == ["p"]
    assert found[0].kind == "evaluation"
    assert {found[0].policy_a, found[0].policy_b} == {"new", "starter"}
    sides = [completion("p", "new one").key, completion("p", "old one", policy="starter").key]
    drawn = {
        chosen_pairs.evaluation_pairs(completions, {"p"}, n=1, seed=seed)[0].completion_a
        for seed in range(20)
    }
    assert drawn == set(sides)


def candidates(n: int, prefix: str = "t") -> list[Candidate]:
    return [
        Candidate(key=f"{prefix}{i}", prompt_id="p", completion_a="a", completion_b=f"{i}")
        for i in range(n)
    ]


CONFIG = ProposeConfig(pairs=20, random_share=0.3)


def test_a_batch_is_active_first_then_a_random_stream_with_the_held_out_pairs() -> None:
    train, held_out = candidates(100), candidates(10, "h")
    scores = np.linspace(1, 2, 100)
    ranking = acquire.Ranking(order=np.argsort(-scores), scores=scores)
    batch = chosen_pairs.choose(train, held_out, ranking, CONFIG, held_out_share=0.15, seed=1)
    active = [c for c in batch if c.stream == "active"]
    assert len(batch) == 20 and len({c.key for c in batch}) == 20
    assert len(active) == 14 and batch[:14] == active
    assert [c.score for c in active] == sorted((c.score for c in active), reverse=True)
    assert sum(c.key.startswith("h") for c in batch) == 3
    assert not any(c.key.startswith("h") for c in active)


def test_without_a_ranking_everything_is_random() -> None:
    batch = chosen_pairs.choose(
        candidates(100), candidates(10, "h"), None, CONFIG, held_out_share=0.15, seed=1
    )
    assert len(batch) == 20 and {c.stream for c in batch} == {"random"}


@given(st.integers(0, 30), st.integers(0, 5), st.booleans())
def test_a_small_pool_is_used_up_without_repeats(n: int, held: int, cold: bool) -> None:
    ranking = acquire.Ranking(order=np.arange(n), scores=np.ones(n))
    batch = chosen_pairs.choose(
        candidates(n),
        candidates(held, "h"),
        None if cold else ranking,
        CONFIG,
        held_out_share=0.15,
        seed=0,
    )
    keys = [c.key for c in batch]
    assert len(set(keys)) == len(keys) <= 20


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return world.starter(tmp_path_factory.mktemp("starter"))


def run(starter: Path, out: Path, **changes: int | str) -> dict[str, float]:
    prompts = world.prompts()
    completions = [
        completion(prompt.prompt_id, f"{kind} {thing} today")
        for prompt, kind, thing in itertools.product(
            prompts, ("good", "bad", "sad"), ("parcel", "manual")
        )
    ]
    completions += [
        completion(p.prompt_id, "no idea", policy="starter") for p in prompts if p.held_out
    ]
    votes = world.preferences(24)
    waiting = rows.Preference(**(vars(votes[0]) | {"pair_id": "open", "votes": ()}))
    out.mkdir()
    return chosen_pairs.propose_pairs(
        starter,
        prompts,
        completions,
        [*votes, waiting],
        ProposeConfig(pairs=40, features=8, **({"cold_start_votes": 20} | changes)),
        out,
        Work.in_folder(out.with_name("work"), device="cpu", silent=True),
        held_out_share=0.15,
    )


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_files_fit_together(starter: Path, tmp_path: Path) -> None:
    metrics = run(starter, tmp_path / "out")
    pool, labelled = (read(tmp_path / "out" / f"{n}.jsonl") for n in ("pool", "labelled"))
    features = np.load(tmp_path / "out" / "features.npy")
    assert features.dtype == np.float16 and features.shape == (len(pool), 8)
    assert np.load(tmp_path / "out" / "labelled.npy").shape == (len(labelled), 8)
    keys = {row["key"] for row in pool}
    found = list(rows.read(Candidate, tmp_path / "out" / "candidates.jsonl"))
    active = {c.key for c in found if c.stream == "active"}
    assert len(active) == metrics["active"] == 28
    assert active <= keys and "open" in keys
    assert metrics["evaluation"] == sum(c.kind == "evaluation" for c in found) == 4


def test_held_out_pairs_are_in_neither_features_nor_labels(starter: Path, tmp_path: Path) -> None:
    run(starter, tmp_path / "out")
    found = list(rows.read(Candidate, tmp_path / "out" / "candidates.jsonl"))
    held_out = {p.prompt_id for p in world.prompts() if p.held_out}
    inside = {c.key for c in found if c.prompt_id in held_out}
    assert inside and not inside & {row["key"] for row in read(tmp_path / "out" / "pool.jsonl")}
    labelled = {row["pair_id"] for row in read(tmp_path / "out" / "labelled.jsonl")}
    votes = {p.pair_id for p in world.preferences(24) if not p.held_out}
    assert labelled == votes


def test_pairs_of_held_out_prompts_have_features_beside_the_others(
    starter: Path, tmp_path: Path
) -> None:
    run(starter, tmp_path / "out")
    keys = {row["key"] for row in read(tmp_path / "out" / "measuring.jsonl")}
    x = np.load(tmp_path / "out" / "measuring.npy")
    assert x.shape == (len(keys), 8) and np.isfinite(x).all() and np.abs(x).max() > 0
    held_out = {p.prompt_id for p in world.prompts() if p.held_out}
    found = rows.read(Candidate, tmp_path / "out" / "candidates.jsonl")
    asked = {c.key for c in found if c.prompt_id in held_out and c.kind == "normal"}
    voted = {p.pair_id for p in world.preferences(24) if p.held_out}
    assert asked and voted and asked | voted <= keys
    assert not keys & {row["key"] for row in read(tmp_path / "out" / "pool.jsonl")}


def test_features_of_held_out_prompts_shape_no_others() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6))
    alone = acquire.normalise(features[:30], dims=4)
    features[30:] *= 50
    beside = acquire.normalise(features, dims=4, fitted=np.arange(40) < 30)
    assert np.array_equal(beside[:30], alone) and np.isfinite(beside[30:]).all()


def test_few_votes_make_a_random_batch(starter: Path, tmp_path: Path) -> None:
    metrics = run(starter, tmp_path / "out", cold_start_votes=100)
    assert metrics["active"] == 0 and metrics["random"] == 40


def test_the_active_pairs_are_those_of_the_acquisition_that_is_set(
    starter: Path, tmp_path: Path
) -> None:
    asked = {}
    for name in ("fisher", "margin", "random"):
        metrics = run(starter, tmp_path / name, acquisition=name)
        assert metrics["active"] == 28
        found = rows.read(Candidate, tmp_path / name / "candidates.jsonl")
        asked[name] = frozenset(c.key for c in found if c.stream == "active")
    assert len(set(asked.values())) == 3


def test_the_same_seed_proposes_the_same_pairs(starter: Path, tmp_path: Path) -> None:
    run(starter, tmp_path / "a")
    run(starter, tmp_path / "b")
    for name in ("candidates.jsonl", "features.npy", "pool.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_vote_moves_the_ranking_between_rounds(starter: Path, tmp_path: Path) -> None:
    run(starter, tmp_path / "out")
    x = np.load(tmp_path / "out" / "features.npy").astype(float)
    old = np.load(tmp_path / "out" / "labelled.npy").astype(float)
    y = np.array([float(r["value"]) for r in read(tmp_path / "out" / "labelled.jsonl")])
    w = np.array([float(r["weight"]) for r in read(tmp_path / "out" / "labelled.jsonl")])
    free = np.ones(len(x), dtype=bool)
    config = ProposeConfig(cold_start_votes=20)
    first = acquire.rerank(old, y, x, free, config, n=5, seed=0, weights=w)
    asked = first.order[:1]
    free[asked] = False
    second = acquire.rerank(
        np.concatenate([old, x[asked]]),
        np.append(y, 1.0),
        x,
        free,
        config,
        n=5,
        seed=0,
        weights=np.append(w, 2.0),
    )
    assert asked[0] not in second.order
    assert not np.allclose(first.scores[free], second.scores[free])


def test_votes_are_pooled_into_the_label() -> None:
    votes = (Vote(annotator="a", choice="a"), Vote(annotator="b", choice="b", strength=1))
    row = rows.Preference(**(vars(world.preferences(1)[0]) | {"votes": votes}))
    (pair,) = chosen_pairs.labelled_pairs([row])
    assert (pair.value, pair.weight) == pytest.approx((1 / 1.5, 1.5))


def test_the_margin_is_the_reward_models_logit_of_a_over_b() -> None:
    (candidate,) = chosen_pairs.pairs([completion("p", "short"), completion("p", "rather long")])
    chat = [{"role": "user", "content": "Why?"}]
    texts = {rows.completion_key("p", t): (chat, t) for t in ("short", "rather long")}

    def score(chats: list[list[rows.Message]], replies: list[str]) -> list[float]:
        assert chats == [chat, chat]
        return [float(len(reply)) for reply in replies]

    (found,) = chosen_pairs.with_margins([candidate], texts, score)
    a, b = texts[found.completion_a][1], texts[found.completion_b][1]
    assert found.margin == len(a) - len(b)
    assert chosen_pairs.with_margins([candidate], texts, None) == [candidate]
    assert chosen_pairs.with_margins([], texts, score) == []
