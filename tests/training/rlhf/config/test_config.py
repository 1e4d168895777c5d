from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from training.rlhf import config
from training.rlhf.config import ConfigError, LoraConfig, PPOConfig, RoundConfig, SFTConfig


def test_a_config_survives_its_own_json(tmp_path: Path) -> None:
    original = RoundConfig(seed=7, ppo=PPOConfig(lora=LoraConfig(target_modules=("q_proj",))))
    config.dump(original, tmp_path / "config.json")
    assert config.load(RoundConfig, tmp_path / "config.json") == original


def test_an_unknown_setting_is_named_with_its_path() -> None:
    with pytest.raises(ConfigError, match="ppo: unknown setting updatez"):
        config.from_dict(RoundConfig, {"ppo": {"updatez": 3}})


def test_a_name_that_is_nearly_right_is_told_which_it_may_have_meant() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting updatez; did you mean updates\?"):
        config.from_dict(RoundConfig, {"ppo": {"updatez": 3}})


def test_a_setting_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text("epochs: 1\nmodel: {path: x}\nepochs: 2\n")
    with pytest.raises(ConfigError, match=r"cannot read .*sft\.yaml: epochs stands twice"):
        config.load(SFTConfig, tmp_path / "sft.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"held_out_share": 2}, r"held_out_share must lie in \[0, 1\]"),
        ({"threads": -1}, "threads must not be negative"),
    ],
)
def test_a_command_has_bounds_too(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.from_dict(config.RewardJob, given)


def test_a_wrong_type_is_named_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"ppo\.epochs must be int, not str"):
        config.from_dict(RoundConfig, {"ppo": {"epochs": "four"}})


@pytest.mark.parametrize("section", ["ppo", "reward"])
def test_a_type_that_small_gradients_vanish_in_is_refused_with_what_to_take(section: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.dtype float16 .* take bfloat16"):
        config.from_dict(RoundConfig, {section: {"dtype": "float16"}})


def test_an_impossible_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiple of ppo\.minibatch_size"):
        PPOConfig(batch_size=10, minibatch_size=4)


@pytest.mark.parametrize(
    ("section", "setting", "value", "message"),
    [
        ("reward", "max_length", 7, "reward.max_length must be at least 8, not 7"),
        ("reward", "epochs", 0.0, "reward.epochs must be positive"),
        ("reward", "learning_rate", math.nan, "reward.learning_rate must be positive, not nan"),
        ("reward", "checkpoint_every", 0, "reward.checkpoint_every must be at least 1"),
        ("ppo", "minibatch_size", 0, "ppo.minibatch_size must be at least 1"),
        ("ppo", "gradient_accumulation", 0, "ppo.gradient_accumulation must be at least 1"),
        ("ppo", "max_prompt_length", 0, "ppo.max_prompt_length must be at least 1"),
        ("ppo", "temperature", 0.0, "ppo.temperature must be positive"),
        ("ppo", "kl_target", 0.0, "ppo.kl_target must be positive, not 0"),
        ("ppo", "kl_horizon", 0, "ppo.kl_horizon must be at least 1, not 0"),
        ("ppo", "kl_coef", -0.1, "ppo.kl_coef must be at least 0, not -0.1"),
        ("ppo", "clip_value", 0.0, "ppo.clip_value must be positive"),
        ("groups", "beta", -0.1, "groups.beta must be at least 0"),
        ("pairs", "max_length", 0, "pairs.max_length must be at least 8"),
        ("pairs", "gradient_accumulation", 0, "pairs.gradient_accumulation must be at least 1"),
        ("groups", "group_size", 1, "groups.group_size must be at least 2"),
        ("groups", "minibatch_size", 0, "groups.minibatch_size must be at least 1"),
        ("evaluate", "batch_size", 0, "evaluate.batch_size must be at least 1"),
        ("sample", "per_prompt", 0, "sample.per_prompt must be at least 1"),
        ("sample", "top_p", 0.0, "sample.top_p must lie in"),
        ("propose", "random_share", 1.5, "propose.random_share must lie in"),
    ],
)
def test_a_setting_that_no_run_could_survive_is_refused_when_it_is_read(
    section: str, setting: str, value: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config.from_dict(RoundConfig, {section: {setting: value}})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_length": 3}, "sft.max_length must be at least 8"),
        ({"batch_size": 0}, "sft.batch_size must be at least 1"),
        ({"model": {"tiny": {"hidden_size": 30}}}, "tiny.hidden_size must be a multiple"),
        ({"model": {"lora": {"dropout": 1.0}}}, "lora.dropout must lie in"),
    ],
)
def test_supervised_training_has_bounds_too(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config.from_dict(SFTConfig, section)


def test_yaml_may_write_a_number_in_scientific_notation(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text("learning_rate: 1e-4\n")
    assert config.load(SFTConfig, tmp_path / "sft.yaml").learning_rate == 1e-4


def test_a_file_that_is_not_a_mapping_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        config.load(SFTConfig, tmp_path / "bad.yaml")
