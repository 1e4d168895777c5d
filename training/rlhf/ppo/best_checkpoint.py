"""The choice of the checkpoint that is written: the one that a judge likes best.

The last update is rarely the best one: a policy goes on climbing its score after the text has
stopped getting better (Gao et al. 2023, arXiv 2210.10760, figure 1). The judge is a second reward
model, never the score that is maximised, and reads replies to held-out prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.rlhf.language import chat_template
from training.rlhf.language.random_numbers import random_source
from training.rlhf.language.response_states import Sequences
from training.rlhf.metrics import reward_hacking
from training.rlhf.metrics.texts.diversity_and_refusals import mean
from training.rlhf.ppo.load_and_save import trained_weights
from training.rlhf.ppo.update import PPO
from training.rlhf.reward.score_functions import Messages, Score
from training.rlhf.run import distributed, ranks
from training.rlhf.run.failures import Diverged

PREFIX = "best."
"""Of the kept weights' names in a checkpoint."""


@dataclass(frozen=True)
class Judge:
    """A second reward model that picks among the checkpoints of a run."""

    score: Score
    chats: Sequence[Messages]
    """Held-out prompts."""
    kl_max: float = math.inf
    """Nats per reply; a policy further from the reference is not picked."""
    digest: str = ""
    """Of what `score` is made of."""


class Candidates:
    """The best checkpoint so far: its trained weights alone, on the CPU."""

    def __init__(self, learner: PPO, judge: Judge | None) -> None:
        self.learner, self.judge = learner, judge
        self.weights: dict[str, Tensor] = {}
        self.update, self.reward = 0, -math.inf
        self.before: dict[str, float] = {}
        """The replies of the policy that the run began with."""

    def begin(self) -> None:
        """Read the policy before its first update: what later ones are held against."""
        if self.judge is not None and self.learner.config.select_every and not self.before:
            self.before = self._look(self.judge)

    def consider(self, update: int, *, ended: bool, gamed: bool) -> dict[str, float]:
        """Judge the policy after `update` updates when it is time to, and keep it when it is the
        best of those without alarms, in the run and in its own replies.

        Returns:
            judge_reward, the judge's mean score of its replies, and judge_kl, their mean KL to the
            reference (nats); nothing when it was not time.
        """
        every = self.learner.config.select_every
        if self.judge is None or not every or (update % every and not ended):
            return {}
        seen = self._look(self.judge)
        worse = gamed or reward_hacking.signs(self.before, seen, self.learner.config)
        if not worse and seen["kl"] <= self.judge.kl_max and seen["reward"] > self.reward:
            self.update, self.reward = update, seen["reward"]
            weights = trained_weights(self.learner.actor)
            self.weights = {name: t.detach().to("cpu", copy=True) for name, t in weights.items()}
        return {"judge_reward": seen["reward"], "judge_kl": seen["kl"]}

    def _look(self, judge: Judge) -> dict[str, float]:
        """Measure the policy's replies to the judge's chats: its score, their KL, and what the
        signs of reward_hacking go by. The draws are the same for every candidate, so that they
        differ by their weights alone."""
        learner, rollouts = self.learner, self.learner.rollouts
        prompts = [rollouts.prompt(messages) for messages in judge.chats]
        seed = int(random_source(learner.seed, "judge").integers(2**31))
        replies = rollouts.sample(prompts, seed=seed)
        texts = [chat_template.response_text(rollouts.tokenizer, reply.ids) for reply in replies]
        mine = judge.score(list(ranks.share(judge.chats)), list(ranks.share(texts)))
        scores = distributed.gather(mine)
        if not all(math.isfinite(score) for score in scores):
            raise Diverged("the judge's score of a reply is not finite")
        theirs: list[float] = []
        for start in range(0, len(prompts), learner.config.batch_size):
            part = slice(start, start + learner.config.batch_size)
            ids = [reply.ids for reply in replies[part]]
            batch = Sequences.build(prompts[part], ids, learner.actor.device)
            ref = learner.actor.reference_logprobs(batch, temperature=learner.config.temperature)
            theirs += ref.sum(1).tolist()
        own = [sum(reply.logprobs) for reply in replies]
        said = [reply.ids for reply in replies]
        finished = [float(reply.finished) for reply in replies]
        return reward_hacking.of_replies(said, finished) | {
            "reward": mean(scores),
            "kl": mean([a - b for a, b in zip(own, theirs, strict=True)]),
            "reference_perplexity": math.exp(-sum(theirs) / sum(map(len, said))),
        }

    @torch.no_grad()
    def restore_best(self) -> None:
        """Give the learner the weights that the judge liked best, when there are any."""
        for name, tensor in self.weights.items():
            trained_weights(self.learner.actor)[name].copy_(tensor)

    # Resuming

    def tensors(self) -> dict[str, Tensor]:
        """The kept weights, for a checkpoint."""
        return {f"{PREFIX}{name}": tensor for name, tensor in self.weights.items()}

    def state(self) -> dict[str, Any]:
        """All that `consider` reads or changes besides the weights."""
        return {"update": self.update, "reward": self.reward, "before": self.before}

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Become the candidates that `tensors` and `state` were made from."""
        self.weights = {
            n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)
        }
        self.update, self.reward = state["update"], state["reward"]
        self.before = state["before"]
