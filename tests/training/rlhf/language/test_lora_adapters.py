from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny
from training.rlhf.config import LoraConfig
from training.rlhf.language import lora_adapters, pretrained
from training.rlhf.language.lora_adapters import new_adapter
from training.rlhf.reward import reward_model


def recorded(folder: Path) -> list[str]:
    """The layers that a saved adapter says it is on."""
    settings = json.loads((folder / "adapter_config.json").read_text())
    return sorted({name.rpartition(".")[2] for name in settings["target_modules"]})


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        (("q_proj", "v_proj"), ["q_proj", "v_proj"]),
        (("q_proj", "c_attn"), ["c_attn", "q_proj"]),
        (
            ("c_attn", "c_fc"),
            ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
        ),
    ],
)
def test_layers_of_another_architecture_give_way_to_all_linear_ones_and_it_is_recorded(
    named: tuple[str, ...], chosen: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tiny.llama(tmp_path / "base")
    model = new_adapter(pretrained.load_causal(base), LoraConfig(target_modules=named), base=base)
    model.save_pretrained(str(tmp_path / "adapter"))
    assert recorded(tmp_path / "adapter") == chosen
    assert ("has no layers called c_attn, c_fc" in caplog.text) == (named == ("c_attn", "c_fc"))


def test_a_reward_model_records_the_layers_its_adapters_were_on(tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base")
    model = reward_model.new(base, pooling="root", max_length=64, device=torch.device("cpu"))
    lora_adapters.new_classifier_adapter(model.classifier, LoraConfig(target_modules=("c_attn",)))
    assert "q_proj" in model.classifier.config.reward_lora_targets
