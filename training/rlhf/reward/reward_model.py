"""A reward model: a sequence classifier with one output.

The folder is an ordinary `AutoModelForSequenceClassification` folder. What is ours is kept in its
config: `reward_pooling` (what the linear score head of a decoder reads of the reply's hidden
states: `root`, their sum / sqrt(their number); `sum`; `mean`; `last`; or `own`, the head that
encoders and encoder-decoders bring along), `reward_linear_head` (an encoder has a linear head of
ours beside its own), `reward_heads` (of an ensemble, whose pessimistic mean is the score) and
`reward_max_length`. With one head that is `own`, or `last` of decoders, plain transformers gives
the same scores.

Training and scoring both read chats through `reward_tokens.Reader`, so they see the same tokens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.language import chat_template, reward_tokens, weight_dtype
from training.rlhf.language.chat_template import Message
from training.rlhf.language.lora_adapters import HEADS, adapter_base
from training.rlhf.language.pretrained import (
    load_tokenizer,
    without_dropout,
)
from training.rlhf.language.quantisation import quantisation, without_packing
from training.rlhf.language.reward_tokens import Reader, Text, with_template
from training.rlhf.reward import score_heads
from training.rlhf.reward.classifier_weights import (
    LAST,
    earlier_head,
    load_classifier,
    longest_text,
    merged_classifier,
)
from training.rlhf.run.failures import ModelError

Score = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[float]]


SUM_TOKENS = 32
"""Length at which all ways of pooling over the reply have the same scale."""
UNLIMITED = 10**9
"""Maximum length of a model that was trained elsewhere: what its context holds."""
BATCH_TOKENS, CPU_BATCH_TOKENS = 32_768, 4_096
"""Tokens, with padding, that scoring reads at once, at most (or one text). Smaller batches hold
less padding, and suit the caches of CPUs."""

CARD = """# Reward model

Scores a chat with a reply; the difference of two scores is the logit of preferring the first.
Load it with `training.rlhf.reward.reward_model.load`. {plain}
"""
PLAIN_EQUAL = (
    "Plain `AutoModelForSequenceClassification` gives the same scores; one text at a time where the"
    " tokenizer pads with the end token."
)
PLAIN_OTHER = (
    "Plain `AutoModelForSequenceClassification` reads the same weights but pools the last token;"
    " this model was trained with pooling `{pooling}`."
)
PLAIN_WITHOUT = (
    "Plain `AutoModelForSequenceClassification` does not read its head, a linear one on the reply's"
    " hidden states (pooling `{pooling}`), but the encoder's own, which was not trained."
)
PLAIN_MEAN = (
    " The score is the pessimistic mean of {heads} heads, and plain transformers reads their mean."
)


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
        self.read = Reader(
            tokenizer,
            max_length=min(max_length, longest_text(classifier, tokenizer)),
            single_end=bool(classifier.config.is_encoder_decoder),
        )
        self.pooling = pooling if self.head is not None else "own"
        takes = inspect.signature(self.trunk.forward).parameters
        # BERT takes keys and values too, but reads both ways: a prompt depends on its reply.
        remembers = {"past_key_values", "position_ids"} <= set(takes)
        decodes = self.head is not None and not score_heads.is_on(classifier)
        self._remembers = decodes and remembers
        self._segments = {"token_type_ids"} <= set(takes) & set(tokenizer.model_input_names)
        without_dropout(classifier)

    @property
    def head(self) -> nn.Linear | None:
        """The linear score head; None for classifiers with a head of their own."""
        return score_heads.linear(self.classifier, score_heads.NAME)

    @property
    def spread(self) -> nn.Linear | None:
        """The part of each head of an ensemble; None where there is one head."""
        return score_heads.linear(self.classifier, score_heads.SPREAD)

    @property
    def trunk(self) -> nn.Module:
        """The network without its head; adapters are inside it."""
        whole = self.classifier
        network = (whole.get_base_model() if isinstance(whole, PeftModel) else whole).base_model
        assert isinstance(network, nn.Module), "every classifier has a trunk"
        return network

    def _states(self, **inputs: Tensor) -> Any:
        """Hidden states of texts: of an encoder-decoder, those of its encoder."""
        whole: Any = self.trunk
        return (whole.get_encoder() if whole.config.is_encoder_decoder else whole)(**inputs)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, texts: Sequence[Text]) -> Tensor:
        """Scores of a batch, (B,), in float32: of an ensemble the pessimistic mean of its heads."""
        if self.head is not None:
            scores, own = self._scores_and_spread(texts)
            if own is None:
                return scores
            temperature = float(getattr(self.classifier.config, score_heads.TEMPERATURE))
            cautious: Tensor = scores + score_heads.caution(own, temperature)
            return cautious
        ids, mask = self._pad([text.ids for text in texts])
        more = {"token_type_ids": self._second_segment(texts, ids)} if self._segments else {}
        logits: Tensor = self.classifier(input_ids=ids, attention_mask=mask, **more).logits
        return logits[:, 0].float()

    def by_head(self, texts: Sequence[Text]) -> Tensor:
        """Scores of a batch by each head of an ensemble, (B, K), in float32; K is 1 without."""
        if self.spread is None:
            alone: Tensor = self(texts)
            return alone[:, None]
        scores, own = self._scores_and_spread(texts)
        assert own is not None, "there is a spread"
        return scores[:, None] + own

    def _scores_and_spread(self, texts: Sequence[Text]) -> tuple[Tensor, Tensor | None]:
        """The linear head's scores (B,), and what each head of an ensemble adds, (B, K)."""
        assert self.head is not None, "asked for by callers"
        features, spread = self.features(texts), self.spread
        with self._full_precision():
            scores: Tensor = self.head(features)[:, 0].float()
            return scores, None if spread is None else spread(features).float()

    def features(self, texts: Sequence[Text]) -> Tensor:
        """The pooled hidden states that the score head reads, (B, H), in float32."""
        prompts: dict[tuple[int, ...], int] = {}
        for text in texts:
            prompts.setdefault(text.prompt, len(prompts))
        if self._remembers and len(prompts) < len(texts):
            rows = [text.ids[-text.reply :] for text in texts]
            place = torch.tensor([prompts[text.prompt] for text in texts], device=self.device)
            hidden = self._continue(list(prompts), rows, place)
        else:
            rows = [text.ids for text in texts]
            ids, mask = self._pad(rows)
            hidden = self._states(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = torch.zeros(hidden.shape[:2])
        for row, (text, tokens) in enumerate(zip(texts, rows, strict=True)):
            read = 1 if self.pooling == "last" else text.reply
            weight[row, len(tokens) - read : len(tokens)] = _share(self.pooling, read)
        with self._full_precision():
            return torch.einsum("bth,bt->bh", hidden.float(), weight.to(hidden.device))

    def _full_precision(self) -> torch.autocast:
        """No mixed precision: two scores near each other would round to one in bfloat16."""
        return torch.autocast(self.device.type, enabled=False)

    def _continue(
        self, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], place: Tensor
    ) -> Tensor:
        """Hidden states of the replies, (B, T, H), each the continuation of prompt `place[i]`.

        Every prompt is read once, whatever the number of replies to it; gradients flow back into
        it through the keys and values. Prompts are padded on the left, so that a reply follows
        its prompt directly: attention over a window counts the distance in positions of the row.
        """
        ids, mask = self._pad(prompts, left=True)
        cache = DynamicCache()
        at = (mask.cumsum(1) - 1).clamp(min=0)
        self.trunk(
            input_ids=ids,
            attention_mask=mask,
            position_ids=at,
            past_key_values=cache,
            use_cache=True,
        )
        for layer in cache.layers:
            # index_select, because the gradient of indexing is summed in no fixed order.
            layer.keys = layer.keys.index_select(0, place)
            layer.values = layer.values.index_select(0, place)
        ids, reply_mask = self._pad(replies)
        before = mask.index_select(0, place)
        at = before.sum(1, keepdim=True) + torch.arange(ids.shape[1], device=ids.device)
        read = self.trunk(
            input_ids=ids,
            attention_mask=torch.cat([before, reply_mask], dim=1),
            position_ids=at,
            past_key_values=cache,
            use_cache=True,
        )
        states: Tensor = read.last_hidden_state
        return states

    def _pad(self, rows: Sequence[Sequence[int]], *, left: bool = False) -> tuple[Tensor, Tensor]:
        """Ids and mask of rows padded to one length, (B, T) each.

        From lengths, never from the pad token: it may be the end token of every reply.
        """
        width = max(1, *(len(row) for row in rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            place = slice(width - len(row), None) if left else slice(0, len(row))
            ids[i, place], mask[i, place] = torch.tensor(row, dtype=torch.long), 1
        return ids.to(self.device), mask.to(self.device)

    def _second_segment(self, texts: Sequence[Text], ids: Tensor) -> Tensor:
        """Segment numbers as BERT was pretrained on them: 0 for the chat, 1 for the reply."""
        segments = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            segments[row, len(text.ids) - text.reply : len(text.ids)] = 1
        return segments

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
        """Apply `forward` or `features` to any number of texts, similar lengths together.

        Texts so long that `batch_size` of them take more than BATCH_TOKENS are read in fewer.
        """
        most = BATCH_TOKENS if self.device.type == "cuda" else CPU_BATCH_TOKENS
        batches = reward_tokens.batches(texts, size=batch_size, tokens=most)
        parts = [read([texts[i] for i in batch]).cpu() for batch in batches]
        if not parts:
            return torch.zeros(0)
        values = torch.cat(parts)
        result = torch.empty_like(values)
        result[torch.tensor([i for batch in batches for i in batch])] = values
        return result

    def save(self, folder: str | Path) -> None:
        """Write a sequence-classification folder with its tokenizer."""
        self.classifier.config.reward_pooling = self.pooling
        self.classifier.config.reward_max_length = self.read.max_length
        pad = self.tokenizer.pad_token_id
        # Plain transformers reads the last token that is no padding: it must not skip the end.
        own = self.pooling == "own" or score_heads.is_on(self.classifier)
        ends = not own and pad == chat_template.turn_end(self.tokenizer)
        self.classifier.config.pad_token_id = None if ends else pad
        self.classifier.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))
        other = PLAIN_WITHOUT if score_heads.is_on(self.classifier) else PLAIN_OTHER
        equal = self.pooling in ("last", "own") and other is PLAIN_OTHER
        plain = PLAIN_EQUAL if equal else other.format(pooling=self.pooling)
        if self.spread is not None:
            plain = (plain if other is PLAIN_WITHOUT or not equal else "").rstrip()
            plain += PLAIN_MEAN.format(heads=self.spread.out_features)
        (Path(folder) / "README.md").write_text(CARD.format(plain=plain.strip()), "utf-8")


def _share(pooling: str, tokens: int) -> float:
    """Weight of each of a reply's tokens."""
    if pooling == "sum":
        return 1 / SUM_TOKENS
    return 1 / math.sqrt(SUM_TOKENS * tokens) if pooling == "root" else 1 / tokens


def new(
    base: str | Path,
    *,
    pooling: str,
    max_length: int,
    device: torch.device,
    quantise: str = "none",
    dtype: str = "float32",
    linear_head: bool = False,
) -> RewardModel:
    """A reward model on the trunk of `base`, its score head at zero (random for encoders' own).

    A base that is a reward model itself, ours or another's (a warm start), keeps its head, and the
    pooling that its head was trained with.

    Draws from torch's global generator: seed it first.

    Args:
        linear_head: encoders get a linear head on pooled states instead of their own.

    Raises:
        ModelError: no such model, one that cannot end a reply, or no bitsandbytes to quantise it.
    """
    earlier: str | None = None
    if adapter_base(base) is not None:
        classifier = merged_classifier(base, dtype)
    else:
        outputs, earlier = earlier_head(base)
        classifier = load_classifier(
            base,
            dtype=dtype,
            num_labels=1,
            quantization_config=quantisation(quantise, keep=HEADS),
            ignore_mismatched_sizes=outputs > 1,  # the head of another kind of classifier
        )
    if linear_head and earlier is None:
        score_heads.put_on(classifier)
    tokenizer = with_template(load_tokenizer(base))
    model = RewardModel(classifier, tokenizer, pooling=earlier or pooling, max_length=max_length)
    if model.head is not None and earlier is None:
        nn.init.zeros_(model.head.weight)
    if quantise != "none":
        without_packing(model)
        return model  # bitsandbytes has put it where it belongs
    return keep_trunk_in(model.to(device), dtype)


def keep_trunk_in(model: RewardModel, dtype: str) -> RewardModel:
    """Hold the trunk in this format; the head stays in float32, in which scores are compared."""
    if dtype != "float32":
        heads = {id(weight) for weight in model.parameters()}
        heads -= {id(weight) for weight in model.trunk.parameters()}
        for weight in model.parameters():
            kind = torch.float32 if id(weight) in heads else getattr(torch, dtype)
            weight.data = weight.data.to(kind)
    return model


def load(folder: str | Path, *, device: torch.device | str = "cpu") -> RewardModel:
    """Load a saved reward model for scoring.

    Raises:
        ModelError: the folder holds no reward model.
    """
    dtype = weight_dtype.resolved("auto", folder, device)
    classifier = load_classifier(folder, dtype=dtype)
    if classifier.config.num_labels != 1:
        raise ModelError(f"{folder} is a classifier with {classifier.config.num_labels} outputs")
    model = RewardModel(
        classifier,
        with_template(load_tokenizer(folder)),
        pooling=getattr(classifier.config, "reward_pooling", LAST),
        max_length=getattr(classifier.config, "reward_max_length", UNLIMITED),
    )
    if dtype != "float32":
        _exact_head(keep_trunk_in(model, dtype), Path(folder))
    return model.to(device).eval()


def _exact_head(model: RewardModel, folder: Path) -> None:
    """Read the head again, which was rounded with the trunk when it was loaded."""
    own = model.classifier.state_dict()
    trunk = {f"{model.classifier.base_model_prefix}.{name}" for name in model.trunk.state_dict()}
    for file in folder.glob("*.safetensors"):
        with safe_open(str(file), framework="pt") as opened:
            for name in set(opened.keys()) & (set(own) - trunk):
                own[name].copy_(opened.get_tensor(name))
