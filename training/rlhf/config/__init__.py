"""Every setting of the engine, as frozen dataclasses. Torch-free.

May import: nothing of the engine.
"""

from __future__ import annotations

from training.rlhf.config.completions_config import AnnotateJob, CompletionsJob, SourceConfig
from training.rlhf.config.config_file import (
    ConfigError,
    changes,
    dump,
    from_dict,
    load,
    merged,
    nested,
    problems,
    read_mapping,
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
from training.rlhf.config.defaults_and_presets import (
    PRESETS,
    TextFacts,
    defaults_for,
    differing,
    preset_settings,
    settled,
)
from training.rlhf.config.evaluate_config import EndpointConfig, EvaluateConfig, JudgeConfig
from training.rlhf.config.gate_config import GateConfig
from training.rlhf.config.job_config import (
    EVALUATE,
    PROPOSE,
    SAMPLE,
    TRAIN_POLICY,
    TRAIN_REWARD,
    CheckJob,
    CompareJob,
    EvaluateJob,
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
from training.rlhf.config.model_size import ModelFacts, read_facts
from training.rlhf.config.policy_config import (
    GroupConfig,
    PairsConfig,
    PPOConfig,
    WatchedConfig,
)
from training.rlhf.config.policy_optimisers import OPTIMISERS, Optimiser
from training.rlhf.config.reward_config import LoraConfig, RewardConfig
from training.rlhf.config.setting_texts import Setting, schema, settings_of
from training.rlhf.config.sft_config import ModelConfig, SFTConfig, TinyModelConfig

__all__ = [
    "EVALUATE",
    "OPTIMISERS",
    "PRESETS",
    "PROPOSE",
    "SAMPLE",
    "TRAIN_POLICY",
    "TRAIN_REWARD",
    "AnnotateJob",
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
    "ModelFacts",
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
    "Setting",
    "SourceConfig",
    "SuccessJob",
    "TextFacts",
    "TinyModelConfig",
    "WatchedConfig",
    "changes",
    "defaults_for",
    "differing",
    "dump",
    "from_dict",
    "load",
    "merged",
    "nested",
    "preset_settings",
    "problems",
    "read_facts",
    "read_mapping",
    "require",
    "sample_round_config",
    "sample_sft_config",
    "schema",
    "settings_of",
    "settled",
    "to_dict",
]
