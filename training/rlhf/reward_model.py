"""A reward model: a sequence classifier with one output, and how it reads a chat.

The folder is an ordinary `AutoModelForSequenceClassification` folder. What is ours is kept in its
config: `reward_pooling` (what the linear score head reads of the reply's hidden states: `root`,
their sum / sqrt(their number); `sum`; `mean`; `last`; or `own`, the classifier's own head) and
`reward_max_length`.

Training and scoring both read chats through `Reader`, so they see the same tokens.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import chat
from training.rlhf.chat import Message
from training.rlhf.models import (
    ModelError,
    adapter_base,
    load_causal,
    load_tokenizer,
    without_dropout,
)

Score = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[float]]


SUM_TOKENS = 32
"""Length at which all ways of pooling over the reply have the same scale."""

CARD = """# Reward model

Scores a chat with a reply; the difference of two scores is the logit of preferring the first.
Load it with `training.rlhf.reward_model.load`. A plain `AutoModelForSequenceClassification`
reads the same weights but pools the last token; this model was trained with pooling `{pooling}`.
"""


@dataclass(frozen=True)
class Text:
    """A chat with a reply as tokens; the last `reply` of them are the reply and its end."""

    ids: list[int]
    reply: int
    cut: int
    """Tokens lost to the maximum length."""


class Reader:
    """Turns chats with replies into tokens."""

    def __init__(self, tokenizer: Tokenizer, *, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    def __call__(self, messages: Sequence[Message], text: str) -> Text:
        ids, cut = chat.full_ids(self.tokenizer, messages, text, max_length=self.max_length)
        reply = min(len(chat.completion_ids(self.tokenizer, text)) + 1, len(ids))
        return Text(ids, reply, cut)


class RewardModel(nn.Module):
    """Scores replies. Dropout is off for good, so training computes what scoring does."""

    def __init__(
        self,
        classifier: PreTrainedModel | PeftModel,
        tokenizer: Tokenizer,
        *,
        pooling: str,
        max_length: int,
    ) -> None:
        super().__init__()
        self.classifier, self.tokenizer = classifier, tokenizer
        context = int(getattr(classifier.config, "max_position_embeddings", None) or max_length)
        self.read = Reader(tokenizer, max_length=min(max_length, context))
        self.pooling = pooling if isinstance(self.head, nn.Linear) else "own"
        without_dropout(classifier)

    @property
    def head(self) -> nn.Module | None:
        """The linear score head of decoders; None for classifiers with a head of their own."""
        found = getattr(self.classifier, "score", None)
        return found if isinstance(found, nn.Module) else None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, texts: Sequence[Text]) -> Tensor:
        """Scores of a batch, (B,), in float32."""
        if self.pooling == "own":
            ids, mask, _ = self._pad(texts)
            scores: Tensor = self.classifier(input_ids=ids, attention_mask=mask).logits
            return scores[:, 0].float()
        assert self.head is not None, "only `own` does without a linear head"
        scores = self.head(self.features(texts))
        return scores[:, 0].float()

    def features(self, texts: Sequence[Text]) -> Tensor:
        """What the score head reads, (B, H)."""
        ids, mask, weight = self._pad(texts)
        whole = self.classifier
        trunk = (whole.get_base_model() if isinstance(whole, PeftModel) else whole).base_model
        hidden = trunk(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.einsum("bth,bt->bh", hidden, weight.to(hidden.dtype))

    def _pad(self, texts: Sequence[Text]) -> tuple[Tensor, Tensor, Tensor]:
        """Right-padded ids and mask, and the pooling weight of every position. (B, T) each.

        From lengths, never from the pad token: it may be the end token of every reply.
        """
        width = max(len(text.ids) for text in texts)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(texts), width), pad)
        mask = torch.zeros((len(texts), width), dtype=torch.long)
        weight = torch.zeros((len(texts), width))
        for row, text in enumerate(texts):
            n = len(text.ids)
            ids[row, :n], mask[row, :n] = torch.tensor(text.ids), 1
            first = n - (1 if self.pooling == "last" else text.reply)
            weight[row, first:n] = _share(self.pooling, n - first)
        return ids.to(self.device), mask.to(self.device), weight.to(self.device)

    @torch.no_grad()
    def score(
        self, chats: Sequence[Sequence[Message]], texts: Sequence[str], *, batch_size: int = 64
    ) -> list[float]:
        """Score one reply per chat; `Score` for PPO."""
        return self.in_batches(
            [self.read(messages, text) for messages, text in zip(chats, texts, strict=True)],
            self.forward,
            batch_size=batch_size,
        ).tolist()

    @torch.no_grad()
    def in_batches(
        self, texts: Sequence[Text], read: Callable[[Sequence[Text]], Tensor], *, batch_size: int
    ) -> Tensor:
        """Apply `forward` or `features` to any number of texts, similar lengths together."""
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i].ids), i))
        parts = [
            read([texts[i] for i in order[start : start + batch_size]]).cpu()
            for start in range(0, len(order), batch_size)
        ]
        if not parts:
            return torch.zeros(0)
        found = torch.cat(parts)
        result = torch.empty_like(found)
        result[torch.tensor(order)] = found
        return result

    def save(self, folder: str | Path) -> None:
        """Write a sequence-classification folder with its tokenizer."""
        self.classifier.config.reward_pooling = self.pooling
        self.classifier.config.reward_max_length = self.read.max_length
        self.classifier.config.pad_token_id = self.tokenizer.pad_token_id
        self.classifier.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))
        (Path(folder) / "README.md").write_text(CARD.format(pooling=self.pooling), "utf-8")


def _share(pooling: str, tokens: int) -> float:
    """Weight of each of a reply's tokens."""
    if pooling == "sum":
        return 1 / SUM_TOKENS
    return 1 / math.sqrt(SUM_TOKENS * tokens) if pooling == "root" else 1 / tokens


def new(base: str | Path, *, pooling: str, max_length: int, device: torch.device) -> RewardModel:
    """A reward model on the trunk of `base`, its score head at zero (random for encoders).

    Draws from torch's global generator: seed it first.
    """
    adapted = adapter_base(base) is not None
    classifier = _merged(base) if adapted else _classifier(base, num_labels=1)
    model = RewardModel(classifier, load_tokenizer(base), pooling=pooling, max_length=max_length)
    if isinstance(model.head, nn.Linear):
        nn.init.zeros_(model.head.weight)
    return model.to(device)


def load(folder: str | Path, *, device: torch.device | str = "cpu") -> RewardModel:
    """Load a saved reward model for scoring.

    Raises:
        ModelError: the folder holds no reward model.
    """
    classifier = _classifier(folder)
    if classifier.config.num_labels != 1:
        raise ModelError(f"{folder} is a classifier with {classifier.config.num_labels} outputs")
    model = RewardModel(
        classifier,
        load_tokenizer(folder),
        pooling=getattr(classifier.config, "reward_pooling", "last"),
        max_length=getattr(classifier.config, "reward_max_length", 512),
    )
    return model.to(device).eval()


def _merged(base: str | Path) -> PreTrainedModel:
    """A classifier on the trunk of an adapter folder merged into its base."""
    causal = load_causal(base)
    config = copy.deepcopy(causal.config)
    config.num_labels = 1
    classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    classifier.base_model.load_state_dict(causal.base_model.state_dict())
    return classifier


def _classifier(path: str | Path, **kwargs: int) -> PreTrainedModel:
    # A path that does not exist would be looked for on the hub.
    if (Path(path).is_absolute() or str(path).startswith(".")) and not Path(path).is_dir():
        raise ModelError(f"there is no model folder {path}")
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            str(path),
            dtype=torch.float32,  # weights that are trained, and scores that are compared
            trust_remote_code=False,
            use_safetensors=True,
            **kwargs,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be loaded as a reward model: {error}") from error


@dataclass(frozen=True)
class Scale:
    """Mean and spread of the scores of the starter's replies.

    Scores reach PPO as (score - mean) / deviation, so that KL coefficients mean the same in every
    round, whatever the scale of this round's reward model.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> Scale:
        values = torch.tensor(scores, dtype=torch.float64)
        return cls(float(values.mean()), max(float(values.std(correction=0)), 1e-3))

    def apply(self, score: Score) -> Score:
        def scaled(chats: Sequence[Sequence[Message]], texts: Sequence[str]) -> list[float]:
            return [(value - self.mean) / self.deviation for value in score(chats, texts)]

        return scaled
