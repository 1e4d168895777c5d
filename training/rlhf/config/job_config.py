"""Every setting of the engine, as frozen dataclasses that read and write JSON or YAML.

Torch-free: the web side shows and edits these. How they are read is in `config_file`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from training.rlhf.config.config_file import (
    require,
    require_at_least,
    require_positive,
)
from training.rlhf.config.evaluate_config import EndpointConfig, EvaluateConfig
from training.rlhf.config.gate_config import GateConfig
from training.rlhf.config.policy_config import GroupConfig, PairsConfig, PPOConfig
from training.rlhf.config.policy_optimisers import OPTIMISERS
from training.rlhf.config.reward_config import RewardConfig
from training.rlhf.config.sft_config import ModelConfig, SFTConfig, TinyModelConfig

TRAIN_REWARD, TRAIN_POLICY, EVALUATE = "train_reward", "train_policy", "evaluate"
SAMPLE, PROPOSE = "sample", "propose"
"""Names of a round's stages, in their order. They are folders of run directories and keys of stored
results: one that changes is lost to everything made before."""
Tracker = Literal["none", "tensorboard", "wandb", "mlflow", "trackio"]
"""Services that get metrics besides metrics.jsonl; all but `none` need requirements-extras.txt."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Completions of the new policy for the labelling queue."""

    prompts: int = 200
    """Prompts that the new policy answers for people to compare."""
    per_prompt: int = 4
    """Replies to each of them."""
    temperature: float = 0.9
    """Higher: replies differ more."""
    top_p: float = 1.0
    """Only the likeliest words that make up this share; 1 takes all."""
    max_new_tokens: int = 64
    """Longer replies are cut off there, and are not queued."""
    batch_size: int = 64
    """Replies that are written together; fewer take less memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the policy's weights while it writes; auto takes what suits the model
    and the device."""
    held_out_share: float = 0.15
    """Share of sampled prompts that are held out: their votes only ever measure."""
    endpoint: EndpointConfig | None = None
    """Endpoint that writes the replies; None: this process."""

    def __post_init__(self) -> None:
        require_at_least(1, "sample", self, "prompts", "per_prompt", "max_new_tokens", "batch_size")
        require_positive("sample", self, "temperature")
        require(0 < self.top_p <= 1, "sample.top_p must lie in (0, 1]")
        require(0 <= self.held_out_share < 1, "sample.held_out_share must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class ProposeConfig:
    """The pairs to queue: a batch chosen by an acquisition beside a random stream."""

    pairs: int = 300
    """Pairs for people to vote on."""
    random_share: float = 0.3
    """Share of them that is drawn at random, from which honest figures come."""
    evaluation_pairs: int = 120
    """Held-out prompts on which people compare the new policy, blind, with the one before and with
    the starter: as many pairs with each."""
    features: int = 64
    """Dimensions of the frozen features after projection."""
    acquisition: str = "i-optimal"
    """The rule that chooses, by its name in `acquire.ACQUISITIONS`."""
    cold_start_votes: int = 100
    """With fewer votes than this every pair is drawn at random."""

    def __post_init__(self) -> None:
        require_at_least(1, "propose", self, "pairs", "features")
        require(0 <= self.random_share <= 1, "propose.random_share must lie in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class RoundConfig:
    """One turn of the loop, whole: written to RUN_DIR/config.json and never changed."""

    starter: str = ""
    """Folder of the supervised starter: reward-model base and KL reference of every round."""
    policy: str = ""
    """Folder of the last promoted policy; empty means the starter."""
    last_reward: str = ""
    """Folder of the last reward model, for `reward.warm_start`."""
    number: int = 1
    seed: int = 0
    """Repeats the same draws."""
    threads: int = 0
    """CPU threads; 0 leaves torch's default. Fixed threads make runs exactly repeatable."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Processor that trains: auto takes a GPU where there is one."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    reward_functions: dict[str, float] = field(default_factory=dict)
    """Functions by `package.module:name` with weights, whose scores are added to the reward
    model's, as in `ppo`."""
    optimiser: str = "ppo"
    """Method of the training, of `OPTIMISERS`; its settings are `ppo`, `pairs` or `groups`."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    groups: GroupConfig = field(default_factory=GroupConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    propose: ProposeConfig = field(default_factory=ProposeConfig)
    gates: GateConfig = field(default_factory=GateConfig)
    tracker: Tracker = "none"

    def __post_init__(self) -> None:
        known = ", ".join(OPTIMISERS)
        require(self.optimiser in OPTIMISERS, f"optimiser must be one of {known}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings that every command of `python -m training.rlhf` accepts in its file."""

    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves torch's default. Fixed threads make runs exactly repeatable."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tracker: Tracker = "none"

    def __post_init__(self) -> None:
        require(self.threads >= 0, "threads must not be negative")
        require(0 <= getattr(self, "held_out_share", 0.0) <= 1, "held_out_share must lie in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class SFTJob(Job):
    """`sft`: train a starter policy. The seed is that of the section."""

    sft: SFTConfig = field(default_factory=SFTConfig)


@dataclass(frozen=True, kw_only=True)
class RewardJob(Job):
    """`reward`: train a reward model and a judge on votes."""

    starter: str = ""
    """Folder or hub id of the model that reward models start from: a causal one, an encoder or an
    encoder-decoder, or a reward model, ours or not, whose head is kept (a warm start)."""
    preferences: str = ""
    """Pairs with votes as in a run directory, or rows of prompt, chosen and rejected: JSON lines,
    a JSON list or CSV."""
    ratings: str = ""
    """Rated replies instead (prompt, completion, score), for `loss: regression`."""
    held_out_share: float = 0.1
    """Share of the prompts that only measure, where the rows do not say which do."""
    learning_curve: tuple[int, ...] = ()
    """Numbers of votes to train on as well, each from scratch: what would more votes bring?"""
    reward: RewardConfig = field(default_factory=RewardConfig)


@dataclass(frozen=True, kw_only=True)
class PolicyJob(Job):
    """`ppo`, `rloo`, `grpo`: improve a policy against a reward model; `dpo`, `kto`, `orpo`: by
    preferences alone. One file serves them all; each reads what it needs."""

    starter: str = ""
    """KL reference."""
    policy: str = ""
    """Policy to improve; empty means the starter."""
    reward_model: str = ""
    reward_models: tuple[str, ...] = ()
    """Further reward models, of any tokenizer; the score is the mean of all."""
    disagreement: float = 0.0
    """The multiple of the models' standard deviation that is subtracted from their mean."""
    reward_function: str = ""
    """`package.module:name` of a Python function of chats and replies, instead of models."""
    reward_functions: dict[str, float] = field(default_factory=dict)
    """Functions by `package.module:name` with weights: their scores are added to the models', or
    are the score where there are none. One that takes `columns` gets those of the prompt's row."""
    judge: str = ""
    """Another reward model, which picks among PPO's checkpoints by the held-out prompts; empty
    keeps the last."""
    prompts: str = ""
    """Prompts as in a run directory, or rows of `prompt`, alone or with replies: JSON lines, a
    JSON list or CSV. Held-out ones are left out."""
    preferences: str = ""
    """Pairs as for `reward`; held-out ones are left out."""
    held_out_share: float = 0.1
    """As for `reward`, so that the same prompts are left out by both."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    groups: GroupConfig = field(default_factory=GroupConfig)


@dataclass(frozen=True, kw_only=True)
class EvaluateJob(Job):
    """`evaluate`: a new policy against the one before, on held-out prompts."""

    starter: str = ""
    policy: str = ""
    """The new policy."""
    before: str = ""
    """The policy it is compared with; empty means the starter."""
    reward_model: str = ""
    judge: str = ""
    """Second reward model, which the new policy was not trained against."""
    prompts: str = ""
    held_out_share: float = 0.1
    """As for `reward`: the held-out prompts are those to evaluate on."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass(frozen=True, kw_only=True)
class CompareJob(Job):
    """`compare`: any number of models beside each other on the same prompts."""

    models: dict[str, str] = field(default_factory=dict)
    """Folders or hub ids of policies by the name they get in the table; the others are compared
    with the first."""
    starter: str = ""
    """Reference of KL and perplexity; empty means the first model."""
    prompts: str = ""
    """Prompts as for `ppo`; the held-out ones are asked. `tags` group them, `reference` answers
    are compared with."""
    held_out_share: float = 1.0
    """As for `reward`, for a file that was trained on as well; 1 asks all of a test file."""
    reward_models: dict[str, str] = field(default_factory=dict)
    """Folders of reward models by name: each gives scores, and win rates against the first."""
    votes: str = ""
    """People's votes on pairs.jsonl of an earlier run of the same comparison, as any file of
    pairs; they are known by their texts."""
    undecided: str = ""
    """The side file of ties, where the votes are a `trl` export; they count half."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass(frozen=True, kw_only=True)
class SampleJob(Job):
    """`sample`: completions for people to compare."""

    policy: str = ""
    starter: str = ""
    """Also sampled, on held-out prompts, for blind comparisons; empty: not."""
    prompts: str = ""
    held_out_share: float = 0.1
    sample: SampleConfig = field(default_factory=SampleConfig)


@dataclass(frozen=True, kw_only=True)
class SaveJob(Job):
    """`save`: models as whole folders that plain transformers loads."""

    parts: dict[str, str] = field(default_factory=dict)
    """Folders of policies and reward models, by the name that each gets."""


@dataclass(frozen=True, kw_only=True)
class PushJob(Job):
    """`push`: a model to a hub. The token is in the environment: HF_TOKEN."""

    folder: str = ""
    repo: str = ""
    """Its name on the hub, `owner/name`; made when there is none."""
    private: bool = True
    files: tuple[str, ...] = ()
    """Files of the folder that leave; none named: all but the card."""
    card: str = ""
    """File that becomes the README.md; empty: the folder's own."""
    merge: bool = False
    """True when an adapter leaves as one model with its base, because nobody else has the base."""


def sample_sft_config(*, data: str, seed: int = 0) -> SFTConfig:
    """The starter of the sample project: a two-layer Llama, about 40 CPU seconds.

    Small batches because copying the customer's product into the reply is learnt by the number
    of steps, not of chats; two layers because that is what copying needs.
    """
    return SFTConfig(
        model=ModelConfig(tiny=TinyModelConfig(vocab_size=1024, layers=2)),
        data=data,
        epochs=2.0,
        batch_size=8,
        learning_rate=3e-3,
        adam_beta2=0.98,
        seed=seed,
        checkpoint_every=250,
    )


def sample_round_config(
    *, starter: str, policy: str = "", number: int = 1, seed: int = 0
) -> RoundConfig:
    """A round of the sample project: a few hundred votes, two CPU cores, under three minutes.

    One thread: the tensors are so small that a second one mostly waits, and on a busy machine
    waiting costs several times the work.
    """
    return RoundConfig(
        starter=starter,
        policy=policy,
        number=number,
        seed=seed,
        threads=1,
        device="cpu",
        # A few hundred votes are too few to spare a tenth of them for early stopping.
        reward=RewardConfig(early_stopping=False),
        # Held near the starter: a reward model that has seen a few hundred votes is worth
        # following only so far, and PPO would soon find what it is wrong about.
        ppo=PPOConfig(updates=32, kl_coef=0.3),
    )


@dataclass(frozen=True, kw_only=True)
class CheckJob(Job):
    """`check`: whether a model loads, writes and stops by itself, and what it needs. It is named in
    one of three ways: `model`, `hub` or `endpoint`."""

    model: str = ""
    """A folder of this machine."""
    hub: str = ""
    """A repository of the hub, as `owner/name`; it is fetched to `keep`."""
    revision: str = ""
    """Branch, tag or commit of the hub; empty: the newest. The commit that it is now is kept."""
    keep: str = ""
    """Folder below which models of the hub are kept; one that is there is not fetched again."""
    private: bool = False
    """True when HF_TOKEN may open what is not public."""
    endpoint: EndpointConfig | None = None
    """A server instead, which writes and is never trained."""
    kind: Literal["", "policy", "reward"] = ""
    """Kind the model has to be; empty: the one its files say."""
    trained: bool = False
    """True when rounds shall train it: it then needs a chat template."""
    roots: tuple[str, ...] = ()
    """Folders; with any, all files of the model and of what it adapts lie below them. A model of
    the hub has to lie in its own folder, whatever is here."""
    prompts: str = ""
    """Prompts as for `ppo`; the first three are answered. Empty: a prompt of a support desk."""
    max_new_tokens: int = 256
    temperature: float = 0.7
    free_gb: float = 1.0
    """Gigabytes of the disk that stay free when a model is fetched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [bool(self.model), bool(self.hub), self.endpoint is not None]
        require(sum(named) == 1, "check needs one of model, hub and endpoint")
        require(not self.hub or bool(self.keep), "check of a hub's model needs keep")
        require_at_least(1, "check", self, "max_new_tokens")
