"""Pairs from a Reddit dump: two comments on one post, of which readers scored one higher.

Files are those of the monthly dumps, submissions and comments as JSON lines, plain, gzipped or with
zstd. A pair counts only where the better comment came later: an early comment collects votes for
being early (Ethayarajh et al. 2022, "Stanford Human Preferences"). Torch-free.
"""

from __future__ import annotations

import gzip
import heapq
import html
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO, Any

import zstandard

from training.rlhf import rows
from training.rlhf.config.config_file import require
from training.rlhf.config.data_config import RedditConfig
from training.rlhf.rows import RowError

GONE = {"[deleted]", "[removed]", ""}
WINDOW = 2**31
"""Of the published zstd files; decoders refuse more than 2^27 unless told."""


@dataclass(frozen=True)
class Comment:
    """A comment that answers the post itself."""

    text: str
    score: int
    created: float


def make_pairs(
    submissions: str, comments: str, config: RedditConfig, out: Path
) -> dict[str, float]:
    """Write `out`/pairs.jsonl with rows of prompt, chosen, rejected, tags and scores.

    Returns:
        posts, comments (kept ones), pairs, and how many posts gave none.

    Raises:
        RowError: a file that cannot be read, or a line that is no JSON object.
        ConfigError: no pair is left.
    """
    posts = {str(post["id"]): post for post in _objects(submissions) if _wanted(post, config)}
    replies = _replies(comments, posts, config)
    counts: Counter[str] = Counter(posts=len(posts), comments=sum(map(len, replies.values())))

    def pairs() -> Iterator[dict[str, Any]]:
        for identifier, post in posts.items():
            kept = _pairs(replies.get(identifier, []), config)
            counts["posts_without_pair"] += not kept
            counts["pairs"] += len(kept)
            for better, worse in kept:
                yield {
                    "prompt": _prompt(post),
                    "prompt_id": f"reddit-{identifier}",
                    "chosen": better.text,
                    "rejected": worse.text,
                    "tags": [str(post["subreddit"])] if post.get("subreddit") else [],
                    "score_chosen": better.score,
                    "score_rejected": worse.score,
                }

    rows.write(out / "pairs.jsonl", pairs())
    require(counts["pairs"] > 0, f"no pair in {comments} fits the settings under reddit")
    return {name: float(n) for name, n in counts.items()}


def _wanted(post: dict[str, Any], config: RedditConfig) -> bool:
    if post.get("selftext") in ("[deleted]", "[removed]"):
        return False
    if not post.get("id") or not str(post.get("title") or "").strip():
        return False
    subreddits = {name.lower() for name in config.subreddits}
    if subreddits and str(post.get("subreddit", "")).lower() not in subreddits:
        return False
    if config.words:
        words = "|".join(map(re.escape, config.words))  # escaped: words, not patterns
        if not re.search(rf"\b(?:{words})\b", _prompt(post), re.IGNORECASE):
            return False
    return not post.get("over_18") or config.adult


def _prompt(post: dict[str, Any]) -> str:
    return _text(f"{post['title']}\n\n{post.get('selftext') or ''}")


def _text(written: str) -> str:
    """The dumps hold texts as a page would: `&gt;` begins a quotation."""
    return html.unescape(written).strip()


def _replies(
    path: str, posts: dict[str, dict[str, Any]], config: RedditConfig
) -> dict[str, list[Comment]]:
    """The comments directly below each wanted post."""
    by_post: dict[str, list[Comment]] = defaultdict(list)
    for data in _objects(path):
        post = str(data.get("link_id", "")).removeprefix("t3_")
        if post not in posts or data.get("parent_id") != data.get("link_id"):
            continue
        text = _text(str(data.get("body", "")))
        if text in GONE or data.get("stickied") or data.get("author") == "AutoModerator":
            continue
        if config.min_characters <= len(text) <= config.max_characters:
            by_post[post].append(_comment(data, text, path))
    return by_post


def _comment(data: dict[str, Any], text: str, path: str) -> Comment:
    try:
        return Comment(text, int(data.get("score") or 0), float(data.get("created_utc") or 0))
    except (TypeError, ValueError) as error:
        where = f"{path}, comment {data.get('id')}"
        raise RowError(f"{where}: score and created_utc must be numbers ({error})") from None


def _pairs(comments: list[Comment], config: RedditConfig) -> list[tuple[Comment, Comment]]:
    """The clearest pairs of a post first, no more than asked for.

    A thread of 10,000 comments has 50 million pairs: only the best are kept meanwhile.
    """

    def fair() -> Iterator[tuple[Comment, Comment]]:
        for one, other in combinations(comments, 2):
            better, worse = (one, other) if one.score > other.score else (other, one)
            clear = better.score >= config.min_ratio * max(worse.score, 1)
            later = better.created >= worse.created
            if clear and later and better.score > worse.score and better.text != worse.text:
                yield better, worse

    return heapq.nlargest(config.pairs_per_post, fair(), key=lambda p: p[0].score - p[1].score)


def _objects(path: str) -> Iterator[dict[str, Any]]:
    """Every line's object; memory does not grow with the file."""
    number = 0
    try:
        with _opened(path) as file, io.TextIOWrapper(file, "utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _object(line, f"{path}, line {number}")
    except (OSError, EOFError, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise RowError(f"cannot read {path}, line {number + 1}: {error}") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise RowError(f"{where}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise RowError(f"{where}: expected an object")
    return data


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:
        if path.endswith(".zst"):
            yield zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(file)
        else:
            yield gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file  # type: ignore[misc]
