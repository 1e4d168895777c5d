"""The reward of a policy: reward models on one scale or a rule, and a judge beside them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.rlhf import rows
from training.rlhf.completions import sampling
from training.rlhf.completions.writers import Settings
from training.rlhf.config import GroupConfig, PPOConfig
from training.rlhf.language import pretrained
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.reward import reward_model, score_functions
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.reward.score_functions import Messages, Scale, Score
from training.rlhf.rows import Prompt
from training.rlhf.run import checkpoints, distributed, ranks
from training.rlhf.run.work import Work

SCALE_PROMPTS = 128
"""Replies of the starter whose scores fix the scale that PPO sees."""


@dataclass(frozen=True)
class Rewards:
    """The sources of scores: reward models, Python functions, or both."""

    models: tuple[str, ...]
    disagreement: float = 0.0
    function: str = ""
    functions: Mapping[str, float] = field(default_factory=dict)
    """Further functions with the weights by which their scores are added."""


def score_of(
    work: Work,
    rewards: Rewards,
    starter: str,
    prompts: Sequence[Prompt],
    config: PPOConfig | GroupConfig,
) -> tuple[Score, Scale, str]:
    """The score of a reply, the scale of the first reward model, and a digest of what the score is
    made of. A function is taken as it is; models are scaled before they are joined, or the one with
    the widest scores would decide."""
    named = dict(rewards.functions) | ({rewards.function: 1.0} if rewards.function else {})
    functions = {path: score_functions.from_path(path) for path in named}
    rules = [
        (score_functions.with_columns(function, prompts), named[path])
        for path, function in functions.items()
    ]
    sources = [score_functions.source_digest(function) for function in functions.values()]
    if not rewards.models:
        alone = len(rules) == 1 and rules[0][1] == 1.0
        digest = sources[0] if alone else checkpoints.fingerprint([sources, named])
        return rules[0][0] if alone else score_functions.weighted(rules), Scale(0.0, 1.0), digest
    loaded = [reward_model.load(path, device=work.device) for path in rewards.models]
    order = np.random.default_rng([work.seed, 7]).permutation(len(prompts))[:SCALE_PROMPTS]
    chats = [prompts[i].messages for i in order]
    settings = Settings(config.temperature, config.max_new_tokens, 64)
    folders = [pretrained.digest(path) for path in (starter, *rewards.models)]
    parts = [folders, work.seed, dataclasses.asdict(settings), chats]
    made_of = checkpoints.fingerprint(parts)

    def written() -> list[str]:
        policy = sampling.Policy(starter, device=work.device)
        return [reply.text for reply in policy.reply(chats, settings, seed=work.seed)]

    scales = _scales(work, loaded, chats, written, made_of=made_of)
    each = [scale.apply(model.score) for scale, model in zip(scales, loaded, strict=True)]
    score = score_functions.conservative(each, penalty=rewards.disagreement)
    made_of = f"{made_of} {rewards.disagreement}"
    if rules:
        score = score_functions.weighted([(score, 1.0), *rules])
        made_of += f" {checkpoints.fingerprint([sources, named])}"
    return score, scales[0], made_of


def _scales(
    work: Work,
    loaded: Sequence[RewardModel],
    chats: list[Messages],
    written: Callable[[], list[str]],
    *,
    made_of: str,
) -> list[Scale]:
    """Mean and spread of each model's scores of the starter's replies, computed once per run: what
    is noted is used again only where it is of the same models, prompts and settings."""
    file = work.checkpoints / "scale.json"

    def noted() -> list[str]:
        return file.read_text("utf-8").splitlines() if file.exists() else []

    measured: list[Scale] = []
    if ranks.rank() == 0 and noted()[:1] != [json.dumps({"made_of": made_of})]:
        texts = written()
        measured = [Scale.of(model.score(chats, texts)) for model in loaded]
    work.guard()  # all processes come here; one that lost its run writes no more
    if measured:
        rows.write(file, [{"made_of": made_of}, *map(vars, measured)])
    distributed.agree(0)  # the file is there for all
    return [Scale(**json.loads(line)) for line in noted()[1:]]


def judge_of(
    work: Work,
    folder: str | Path,
    prompts: Sequence[Prompt],
    config: PPOConfig,
    *,
    kl_max: float = math.inf,
    spare: Sequence[Prompt] = (),
) -> Judge | None:
    """The second reward model as what picks among PPO's checkpoints; None where nothing can.

    Args:
        spare: prompts that it reads only where there are no others: what they say of the policy
            would be too good, because the policy was picked by them.
    """
    asked = [prompt for prompt in prompts if prompt.held_out]
    if not (config.select_every and asked and Path(folder).is_dir()):
        return None
    kept = {prompt.prompt_id for prompt in spare}
    order = np.random.default_rng([work.seed, 8]).permutation(len(asked))
    drawn = sorted((asked[i] for i in order), key=lambda prompt: prompt.prompt_id in kept)
    return Judge(
        reward_model.load(folder, device=work.device).score,
        [prompt.messages for prompt in drawn[: config.select_prompts]],
        kl_max,
        pretrained.digest(folder),
    )
