"""Settings of the commands around training: data in, scores and questions to people out."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.rlhf.config.config_file import require
from training.rlhf.config.job_config import Job


@dataclass(frozen=True, kw_only=True)
class RedditConfig:
    """The comments of a Reddit dump that become pairs."""

    subreddits: tuple[str, ...] = ()
    """Empty takes all."""
    words: tuple[str, ...] = ()
    """Posts with one of these words in title or text; empty takes all."""
    adult: bool = False
    """True when posts marked as over 18 count too."""
    min_characters: int = 40
    max_characters: int = 4000
    min_ratio: float = 2.0
    """The better comment has at least so many times the score of the other."""
    pairs_per_post: int = 5
    """The pairs of a post with the widest gaps, or a few long threads would be all there is."""

    def __post_init__(self) -> None:
        require(self.min_ratio >= 1, "reddit.min_ratio must be at least 1")
        require(self.pairs_per_post >= 1, "reddit.pairs_per_post must be at least 1")


@dataclass(frozen=True, kw_only=True)
class RedditJob(Job):
    """`reddit`: pairs from a dump of submissions and comments."""

    submissions: str = ""
    comments: str = ""
    reddit: RedditConfig = field(default_factory=RedditConfig)


@dataclass(frozen=True, kw_only=True)
class ScoreJob(Job):
    """`score`: a scalar preference score for every reply of a file."""

    replies: str = ""
    """Rows of `prompt` and `completion`, or of `messages` that end with a reply."""
    reward_model: str = ""
    reward_function: str = ""
    """`package.module:name` of a Python function of chats and replies, instead of a model."""
    batch_size: int = 64
    held_out_share: float = 0.1
    """Share of the prompts that only measure, where the rows do not say which do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch_size >= 1, "batch_size must be at least 1")


@dataclass(frozen=True, kw_only=True)
class SuccessJob(Job):
    """`success`: how often the models of a comparison score above a bar."""

    replies: str = ""
    """`replies.jsonl` of a comparison."""
    score: str = ""
    """The number that is judged by, such as `score_NAME` of a reward model there."""
    baseline: str = ""
    """The model whose median score is the bar, unless there is a threshold."""
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class SelectJob(Job):
    """`select`: the best of several checkpoints."""

    replies: str = ""
    """`replies.jsonl` of a comparison."""
    score: str = ""
    """The number that is chosen by, such as `score_NAME` of a judge there."""
    candidates: dict[str, str] = field(default_factory=dict)
    """Folders by their names in the comparison."""


@dataclass(frozen=True, kw_only=True)
class BlindJob(Job):
    """`blind`: pairs for people to judge, out of the replies of a comparison."""

    replies: str = ""
    """`replies.jsonl` of a comparison."""
    model: str = ""
    other: str = ""
    """The two models, by their names there."""


@dataclass(frozen=True, kw_only=True)
class HumanJob(Job):
    """`human`: what people said of blind pairs."""

    key: str = ""
    """`key.jsonl` of `blind`: who wrote what."""
    votes: str = ""
    """The `trl` export of the project that the pairs were imported into."""
    undecided: str = ""
    """The export's side file of ties, which count half."""
