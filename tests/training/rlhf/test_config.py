from __future__ import annotations

from pathlib import Path

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


def test_a_wrong_type_is_named_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"ppo\.epochs must be int, not str"):
        config.from_dict(RoundConfig, {"ppo": {"epochs": "four"}})


def test_an_impossible_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiple of ppo\.minibatch_size"):
        PPOConfig(batch_size=10, minibatch_size=4)


def test_yaml_may_write_a_number_in_scientific_notation(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text("learning_rate: 1e-4\n")
    assert config.load(SFTConfig, tmp_path / "sft.yaml").learning_rate == 1e-4


def test_a_file_that_is_not_a_mapping_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        config.load(SFTConfig, tmp_path / "bad.yaml")
