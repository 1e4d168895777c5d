from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from training.rlhf.config import ConfigError
from training.rlhf.config.data_config import RedditConfig
from training.rlhf.data import data_files, reddit
from training.rlhf.rows import RowError

ANY = RedditConfig(min_characters=5)


def post(identifier: str, **more: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "title": f"How long do eggs boil {identifier}?",
        "selftext": "Mine break.",
        "subreddit": "AskCulinary",
    } | more


def comment(identifier: str, text: str, score: int, created: int, **more: Any) -> dict[str, Any]:
    link = f"t3_{identifier}"
    data = {"link_id": link, "parent_id": link, "body": text, "score": score, "author": "ann"}
    return data | {"created_utc": created} | more


def reddit_dump(folder: Path, *, posts: int) -> None:
    """A dump of posts with two comments each, of which the later one is better liked."""
    texts = ("good kind parcel great", "bad rude invoice sad")
    lines(folder / "RS.jsonl", [post(f"p{i}") for i in range(posts)])
    told = [
        comment(f"p{i}", f"{text} {i}", score, created)
        for i in range(posts)
        for text, score, created in zip(texts, (9, 2), (2, 1), strict=True)
    ]
    lines(folder / "RC.jsonl", told)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def made(
    folder: Path,
    posts: list[dict[str, Any]],
    comments: list[dict[str, Any]],
    config: RedditConfig = ANY,
    ending: str = "",
) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """Chosen and rejected of every pair, and the counts."""
    told = [lines(folder / f"{n}.jsonl{ending}", r) for n, r in (("RS", posts), ("RC", comments))]
    counts = reddit.make_pairs(str(told[0]), str(told[1]), config, folder)
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    return [(row["chosen"], row["rejected"]) for row in rows], counts


TWO = [comment("a", "eight minutes", 10, 2), comment("a", "no idea", 2, 1)]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_two_comments_on_a_post_become_a_pair_that_the_engine_reads(
    tmp_path: Path, ending: str
) -> None:
    pairs, counts = made(tmp_path, [post("a"), post("b")], TWO, ending=ending)
    assert pairs == [("eight minutes", "no idea")]
    assert counts == {"posts": 2, "comments": 2, "pairs": 1, "posts_without_pair": 1}
    (read,) = data_files.preferences(tmp_path / "pairs.jsonl", held_out_share=0.1)
    assert read.messages[0]["content"] == "How long do eggs boil a?\n\nMine break."
    (asked,) = data_files.prompts(tmp_path / "pairs.jsonl", held_out_share=0.1)
    assert asked.tags == ("AskCulinary",) and asked.reference == "eight minutes"


@pytest.mark.parametrize(
    "other",
    [
        comment("a", "no idea", 6, 1),
        comment("a", "no idea", 2, 3),
        comment("a", "[removed]", 2, 1),
        comment("a", "dunno"[:4], 2, 1),
        comment("a", "no idea", 2, 1, author="AutoModerator"),
        comment("a", "no idea", 2, 1, stickied=True),
        comment("a", "no idea", 2, 1, parent_id="t1_x"),
        comment("gone", "no idea", 2, 1),
        comment("a", "eight minutes", 2, 1),
    ],
    ids=["close", "later", "removed", "short", "robot", "pinned", "nested", "elsewhere", "copied"],
)
def test_what_readers_did_not_judge_fairly_is_no_pair(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="no pair in"):
        made(tmp_path, [post("a")], [TWO[0], other])


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({}, "abcd"),
        ({"subreddits": ("askculinary",)}, "abd"),
        ({"words": ("EGGS",)}, "ab"),
        ({"words": ("egg",)}, "d"),
        ({"adult": True}, "abcde"),
    ],
)
def test_posts_are_chosen_by_topic(tmp_path: Path, config: dict[str, Any], kept: str) -> None:
    posts = [
        post("a"),
        post("b", title="Eggs?"),
        post("c", title="Rice?", subreddit="Cooking"),
        post("d", title="An egg?"),
        post("e", title="Rice?", over_18=True),
        post("f", selftext="[deleted]"),
    ]
    comments = [
        comment(p["id"], f"{text} {p['id']}", s, t) for p in posts for text, s, t in ANSWERS
    ]
    pairs, _ = made(tmp_path, posts, comments, RedditConfig(min_characters=5, **config))
    assert "".join(chosen[-1] for chosen, _ in pairs) == kept


def test_what_a_dump_leaves_open_ends_nothing(tmp_path: Path) -> None:
    posts = [post("a", subreddit=None), post("b", title=None), {"title": "No id?"}]
    comments = [*TWO, comment("a", "in a while", None, 1), comment("a", "who knows", 1, None)]  # type: ignore[arg-type]
    pairs, _ = made(tmp_path, posts, comments)
    assert pairs[0] == ("eight minutes", "in a while") and len(pairs) == 5
    (tmp_path / "RC.jsonl").write_bytes((tmp_path / "RC.jsonl").read_bytes() + b"\n")
    dump = [str(tmp_path / f"{name}.jsonl") for name in ("RS", "RC")]
    assert reddit.make_pairs(dump[0], dump[1], ANY, tmp_path)["pairs"] == 5


ANSWERS = (("eight minutes", 10, 2), ("no idea", 2, 1))


def test_texts_are_those_that_readers_saw(tmp_path: Path) -> None:
    asked = post("a", title="Salt &amp; eggs?", selftext="&gt; Boil them")
    pairs, _ = made(tmp_path, [asked], [comment("a", "&gt; Boil\n\nNo.", 9, 2), TWO[1]])
    assert pairs == [("> Boil\n\nNo.", "no idea")]
    (read,) = data_files.prompts(tmp_path / "pairs.jsonl", held_out_share=0.1)
    assert read.messages[0]["content"] == "Salt & eggs?\n\n> Boil them"


def test_an_archive_of_several_is_read_to_its_end(tmp_path: Path) -> None:
    posts = lines(tmp_path / "RS.jsonl", [post("a"), post("b")])
    archive = tmp_path / "RC.zst"
    parts = [lines(archive, TWO).read_bytes()]
    parts.append(
        lines(archive, [row | {"link_id": "t3_b", "parent_id": "t3_b"} for row in TWO]).read_bytes()
    )
    archive.write_bytes(b"".join(parts))
    assert reddit.make_pairs(str(posts), str(archive), ANY, tmp_path)["pairs"] == 2


def test_a_score_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"RC\.jsonl, comment c1: score and created_utc must be"):
        made(tmp_path, [post("a")], [TWO[0], comment("a", "no idea", "?", 1, id="c1")])  # type: ignore[arg-type]


def test_a_long_thread_gives_its_clearest_pairs_only(tmp_path: Path) -> None:
    comments = [comment("a", f"answer {i}", 4**i, i) for i in range(5)]
    config = RedditConfig(min_characters=5, pairs_per_post=2)
    pairs, _ = made(tmp_path, [post("a")], comments, config)
    assert pairs == [("answer 4", "answer 0"), ("answer 4", "answer 1")]


@pytest.mark.parametrize(
    ("name", "data"),
    [("x.jsonl", b"{\n"), ("x.jsonl", b"[1]\n"), ("x.zst", b"no archive"), ("x.gz", b"no archive")],
)
def test_a_broken_dump_is_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RowError, match=f"{name}, line 1"):
        reddit.make_pairs(str(tmp_path / name), str(tmp_path / name), ANY, tmp_path)
    with pytest.raises(RowError, match="cannot read gone"):
        reddit.make_pairs("gone", "gone", ANY, tmp_path)
