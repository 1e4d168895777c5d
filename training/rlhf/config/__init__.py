"""Every setting of the engine, as frozen dataclasses. Torch-free.

May import: nothing of the engine.
"""

from __future__ import annotations

from training.rlhf.config.check_config import CheckJob
from training.rlhf.config.completions_config import CompletionsJob, SourceConfig
from training.rlhf.config.config_file import (
    ConfigError,
    dump,
    from_dict,
    load,
    require,
    to_dict,
)
from training.rlhf.config.data_config import (
    BlindJob,
    HumanJob,
    RedditConfig,
    RedditJob,
    ScoreJob,
    SelectJob,
    SuccessJob,
)
from training.rlhf.config.evaluate_config import EndpointConfig, EvaluateConfig, JudgeConfig
from training.rlhf.config.job_config import (
    CompareJob,
    EvaluateJob,
    GateConfig,
    Job,
    PolicyJob,
    ProposeConfig,
    PushJob,
    RewardJob,
    RoundConfig,
    SampleConfig,
    SampleJob,
    SaveJob,
    SFTJob,
    sample_round_config,
    sample_sft_config,
)
from training.rlhf.config.optimisers import OPTIMISERS, Optimiser
from training.rlhf.config.policy_config import (
    GroupConfig,
    PairsConfig,
    PPOConfig,
    WatchedConfig,
)
from training.rlhf.config.reward_config import LoraConfig, RewardConfig
from training.rlhf.config.sft_config import ModelConfig, SFTConfig, TinyModelConfig

__all__ = [
    "OPTIMISERS",
    "BlindJob",
    "CheckJob",
    "CompareJob",
    "CompletionsJob",
    "ConfigError",
    "EndpointConfig",
    "EvaluateConfig",
    "EvaluateJob",
    "GateConfig",
    "GroupConfig",
    "HumanJob",
    "Job",
    "JudgeConfig",
    "LoraConfig",
    "ModelConfig",
    "Optimiser",
    "PPOConfig",
    "PairsConfig",
    "PolicyJob",
    "ProposeConfig",
    "PushJob",
    "RedditConfig",
    "RedditJob",
    "RewardConfig",
    "RewardJob",
    "RoundConfig",
    "SFTConfig",
    "SFTJob",
    "SampleConfig",
    "SampleJob",
    "SaveJob",
    "ScoreJob",
    "SelectJob",
    "SourceConfig",
    "SuccessJob",
    "TinyModelConfig",
    "WatchedConfig",
    "dump",
    "from_dict",
    "load",
    "require",
    "sample_round_config",
    "sample_sft_config",
    "to_dict",
]
