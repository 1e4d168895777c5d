from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.rlhf import tiny, world
from training.rlhf import rows
from training.rlhf.config import ConfigError
from training.rlhf.language import reward_tokens
from training.rlhf.language.reward_tokens import Reader, Text
from training.rlhf.reward import reward_data
from training.rlhf.rows import Preference, Rating, Vote


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader(tiny.tokenizer(), max_length=64)


def ratings(*scores: float) -> list[Rating]:
    chat = [{"role": "user", "content": "Tell me about the parcel."}]
    return [
        Rating(prompt_id=f"p{i}", messages=chat, completion="good", score=score)
        for i, score in enumerate(scores)
    ]


def text(prompt: list[int], reply: int) -> Text:
    return Text([*prompt, *([9] * reply)], reply, 0)


LENGTHS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(1, 30)), max_size=9
)


@given(LENGTHS, st.integers(1, 300))
def test_a_batch_is_cut_into_passes_that_keep_to_their_tokens_and_lose_nothing(
    lengths: list[tuple[int, int, int]], tokens: int
) -> None:
    batch = [
        reward_data.Example(str(i), text([i] * p, a), text([i] * p, b), 1.0, 1.0)
        for i, (p, a, b) in enumerate(lengths)
    ]
    found = reward_data.passes(batch, tokens=tokens)
    assert sorted(e.prompt_id for part in found for e in part) == sorted(e.prompt_id for e in batch)
    for part in found:
        widest = max(reward_tokens.cells(example.texts) for example in part)
        assert len(part) == 1 or widest * len(part) <= tokens


@given(LENGTHS, st.integers(1, 8), st.integers(1, 300))
def test_texts_are_scored_in_batches_that_keep_to_their_size_and_tokens_and_lose_none(
    lengths: list[tuple[int, int, int]], size: int, tokens: int
) -> None:
    texts = [text([i] * p, a) for i, (p, a, _) in enumerate(lengths)]
    found = reward_tokens.batches(texts, size=size, tokens=tokens)
    assert sorted(i for batch in found for i in batch) == list(range(len(texts)))
    for batch in found:
        widest = max(len(texts[i].ids) for i in batch)
        assert len(batch) == 1 or (len(batch) <= size and widest * len(batch) <= tokens)


def test_short_texts_are_not_read_beside_a_long_one() -> None:
    lengths = [4, 200, 5, 180, 6, 190, 4, 210]
    texts = [Text([prompt] * 8 + [9] * n, n, 0) for prompt, n in enumerate(lengths)]
    read = reward_tokens.batches(texts, size=4, tokens=10_000)
    padded = sum(len(batch) * max(len(texts[i].ids) for i in batch) for batch in read)
    assert sorted(i for batch in read for i in batch) == list(range(8))
    assert padded < 1.1 * sum(len(text.ids) for text in texts)


def test_a_prompt_counts_once_where_replies_share_it() -> None:
    assert reward_tokens.cells([text([1, 2, 3], 2), text([1, 2, 3], 4)]) == 3 + 2 + 4
    assert reward_tokens.cells([text([1, 2, 3], 2), text([2, 3], 4)]) == 3 + 2 + 2 + 4


def test_ratings_are_learnt_on_a_scale_of_their_own(read: Reader) -> None:
    held_out = Rating(**(vars(ratings(900.0)[0]) | {"held_out": True}))
    found, spread = reward_data.rated([*ratings(1.0, 3.0, 5.0), held_out], read)
    assert (spread.mean, spread.deviation) == pytest.approx((3.0, (8 / 3) ** 0.5))
    assert [item.value for item in found] == pytest.approx([-1.2247, 0.0, 1.2247], abs=1e-4)


@pytest.mark.parametrize("scores", [(), (4.0,), (0.1, 0.1, 0.1)])
def test_ratings_that_teach_nothing_are_refused(scores: tuple[float, ...], read: Reader) -> None:
    with pytest.raises(ConfigError, match=f"{len(scores)} rated replies with"):
        reward_data.rated(ratings(*scores), read)


def test_no_pair_or_none_but_ties_is_refused(read: Reader) -> None:
    with pytest.raises(ConfigError, match="no pair with votes"):
        reward_data.decided([])
    tie: dict[str, Any] = {"votes": (Vote(annotator="a", choice="tie"),)}
    tied = [Preference(**(vars(p) | tie)) for p in world.preferences(8) if not p.held_out]
    with pytest.raises(ConfigError, match=f"all {len(tied)} pairs with votes are ties"):
        reward_data.decided(reward_data.examples(tied, read))


def test_replies_that_the_maximum_length_makes_equal_teach_nothing(read: Reader) -> None:
    votes = (Vote(annotator="ann", choice="a"),)
    chat = [{"role": "user", "content": "Tell me about the parcel."}]
    long = {"completion_a": "good " * 100 + "yes", "completion_b": "good " * 100 + "no"}
    pairs = [
        Preference(pair_id="x", prompt_id="p", messages=chat, votes=votes, **replies)
        for replies in ({"completion_a": "good", "completion_b": "bad"}, long)
    ]
    read_pairs = reward_data.examples(pairs, read)
    assert reward_data.decided(read_pairs) == read_pairs[:1]
    with pytest.raises(ConfigError, match="1 pairs have the same tokens on both sides"):
        reward_data.decided(read_pairs[1:])


def test_an_example_knows_its_ties_and_how_strongly_people_felt(read: Reader) -> None:
    votes = (
        Vote(annotator="a", choice="a", strength=3),
        Vote(annotator="b", choice="tie"),
        Vote(annotator="c", choice="b", strength=1, weight=2.0),
    )
    row = Preference(**(vars(world.preferences(1)[0]) | {"votes": votes}))
    (found,) = reward_data.examples([row], read)
    # Masses 1.5, 1 and 1; strengths 3, 0 and -1 with trust 1, 1 and 2.
    assert found.tie == pytest.approx(1 / 3.5) and found.value == pytest.approx(2 / 3.5)
    assert found.strength == pytest.approx((3 - 2) / 4 / 3)


def test_ratings_are_read_from_json_lines_and_a_wrong_score_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ratings.jsonl"
    rows.write(file, ratings(1.5, 2.0))
    assert [row.score for row in rows.read(Rating, file)] == [1.5, 2.0]
    file.write_text(file.read_text().replace("1.5", '"high"'))
    with pytest.raises(rows.RowError, match="line 1: score must be a number"):
        list(rows.read(Rating, file))
