"""The losses of a reward model, one per item, and the terms that are added to them.

Throughout, `logits` are r_a - r_b, `value` the share of the votes' mass for a with ties as one
half, `tie` the share on ties: all (n,), and so is every result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.rlhf.config import RewardConfig
from training.rlhf.reward.reward_data import Example, Item

FEWEST_TIES = 0.005
"""Share of ties that the tie models start from where the votes have fewer."""


def bradley_terry(logits: Tensor, value: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """Cross-entropy between sigmoid(logits - margin) and the vote fraction.

    P(a) = sigmoid(r_a - r_b) is Bradley and Terry (1952), Biometrika 39, section 1; the margin is
    Llama 2's (arXiv 2307.09288, equation 2), positive where a has to be ahead.
    """
    return F.binary_cross_entropy_with_logits(logits - margin, value, reduction="none")


def rao_kupper(logits: Tensor, value: Tensor, tie: Tensor, threshold: Tensor) -> Tensor:
    """Cross-entropy of (a, tie, b) under Rao and Kupper (1967), JASA 62, section 2.

    People tell two replies apart only when the scores differ by more than `threshold` (their eta,
    positive): P(a) = sigmoid(d - eta), P(b) = sigmoid(-d - eta), and
    P(tie) = (e^(2 eta) - 1) P(a) P(b).
    """
    a, b = F.logsigmoid(logits - threshold), F.logsigmoid(-logits - threshold)
    drawn = a + b + 2 * threshold + torch.log(-torch.expm1(-2 * threshold))
    return -((value - tie / 2) * a + tie * drawn + (1 - value - tie / 2) * b)


def davidson(logits: Tensor, value: Tensor, tie: Tensor, log_nu: Tensor) -> Tensor:
    """Cross-entropy of (a, tie, b) under Davidson (1970), JASA 65, section 2.

    P(a) : P(tie) : P(b) = e^(d/2) : nu : e^(-d/2), a tie weighing nu times the geometric mean.
    """
    ways = torch.stack([logits / 2, log_nu.expand_as(logits), -logits / 2], dim=-1)
    shares = torch.stack([value - tie / 2, tie, 1 - value - tie / 2], dim=-1)
    return -(shares * F.log_softmax(ways, dim=-1)).sum(-1)


def squared_error(scores: Tensor, value: Tensor) -> Tensor:
    """Regression on scalar scores, as of a rating scale."""
    return (scores - value).square()


def smoothed(shares: Tensor, epsilon: float, outcomes: int) -> Tensor:
    """Move `epsilon` of the mass to all outcomes alike (Szegedy et al. 2016, arXiv 1512.00567,
    section 7): annotators slip at random."""
    return (1 - epsilon) * shares + epsilon / outcomes


def centring(scores: Tensor, centre: float) -> Tensor:
    """(r_a + r_b)^2 around twice `centre`: a difference says nothing about the level (Eisenstein
    et al. 2023, arXiv 2312.09244, section 3.1). Scores (n, k)."""
    return (scores - centre).sum(-1).square()


class Objective(nn.Module):
    """The configured loss; the tie models' one parameter is learnt along with the weights."""

    def __init__(self, config: RewardConfig, items: Sequence[Item], *, centre: float) -> None:
        super().__init__()
        self.config, self.centre = config, centre
        self.mass = sum(item.weight for item in items) / len(items)
        self.tie: nn.Parameter | None = None
        if config.loss in ("rao_kupper", "davidson"):
            self.tie = nn.Parameter(torch.tensor(_first_tie(config.loss, items)))

    def tie_parameter(self) -> float | None:
        """Rao and Kupper's eta or Davidson's nu; None where ties have no probability."""
        return None if self.tie is None else float(self.tie.detach().exp())

    def loss(self, scores: Tensor, items: Sequence[Item]) -> Tensor:
        """The loss to minimise, per item, (n,). Scores are (n, 2) of pairs, (n, 1) of ratings."""
        weight = self._column(scores, [item.weight / self.mass for item in items])
        misfit = self._misfit(scores, items, smoothing=self.config.label_smoothing, margins=True)
        if self.config.loss == "regression":
            return weight * misfit
        return weight * misfit + self.config.centre * centring(scores, self.centre)

    def misfit(self, scores: Tensor, items: Sequence[Item]) -> Tensor:
        """Negative log-likelihood or squared error alone, unweighted, (n,)."""
        return self._misfit(scores, items, smoothing=0.0, margins=False)

    def _misfit(
        self, scores: Tensor, items: Sequence[Item], *, smoothing: float, margins: bool
    ) -> Tensor:
        value = self._column(scores, [item.value for item in items])
        if self.config.loss == "regression":
            return squared_error(scores[:, 0], value)
        pairs = [item for item in items if isinstance(item, Example)]
        logits = scores[:, 0] - scores[:, 1]
        value = smoothed(value, smoothing, 2)
        if self.tie is None:
            margin = self._column(scores, [self._margin(pair) if margins else 0 for pair in pairs])
            return bradley_terry(logits, value, margin)
        tie = smoothed(self._column(scores, [pair.tie for pair in pairs]), smoothing, 3)
        if self.config.loss == "rao_kupper":
            return rao_kupper(logits, value, tie, self.tie.exp())
        return davidson(logits, value, tie, self.tie)

    def _margin(self, pair: Example) -> float:
        """In favour of the side that the votes are for, and by the measure that is configured."""
        lead = 2 * pair.value - 1
        if self.config.margin_by == "strength":
            return self.config.margin * pair.strength
        if self.config.margin_by == "fixed":
            return math.copysign(self.config.margin, lead) if lead else 0.0
        return self.config.margin * lead

    @staticmethod
    def _column(scores: Tensor, numbers: Sequence[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32, device=scores.device)


def _first_tie(loss: str, items: Sequence[Item]) -> float:
    """The logarithm of the parameter at which two equal replies tie as often as all pairs do."""
    pairs = [item for item in items if isinstance(item, Example)]
    mass = sum(pair.weight for pair in pairs)
    share = min(max(sum(p.weight * p.tie for p in pairs) / mass, FEWEST_TIES), 1 - FEWEST_TIES)
    if loss == "rao_kupper":
        return math.log(2 * math.atanh(share))  # P(tie) = tanh(eta / 2) where d = 0
    return math.log(2 * share / (1 - share))  # P(tie) = nu / (2 + nu)
