"""The number format of weights where the settings say `auto`, and reward models held in 16 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.model_files import write_model
from tests.training.rlhf import tiny
from training.rlhf.completions.sampling import Policy
from training.rlhf.config import LoraConfig
from training.rlhf.language import lora_adapters, weight_dtype
from training.rlhf.reward import reward_model

CHATS = [[{"role": "user", "content": "Where is my parcel?"}]] * 2
REPLIES = ["It comes today.", "No idea."]


def use_cpu(monkeypatch: pytest.MonkeyPatch, *instructions: str) -> None:
    """A CPU with these instructions instead of the one that is there."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))


@pytest.mark.parametrize(
    ("published", "parameters", "instructions", "expected"),
    [
        ("F32", 10**6, "avx512_bf16", "float32"),
        ("F32", 8 * 10**9, "avx512_bf16", "float32"),
        ("BF16", 10**8, "avx512_f", "float32"),
        ("BF16", 10**8, "avx512_bf16", "bfloat16"),
        ("F16", 10**8, "amx_tile", "bfloat16"),
        ("BF16", 8 * 10**9, "avx512_f", "bfloat16"),
        ("F16", 8 * 10**9, "avx2", "bfloat16"),
    ],
)
def test_auto_suits_the_model_and_the_instructions_of_the_cpu(
    published: str,
    parameters: int,
    instructions: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_cpu(monkeypatch, instructions)
    model = write_model(tmp_path / "model", parameters=parameters, dtype=published)
    assert weight_dtype.resolved("auto", model, "cpu") == expected
    assert weight_dtype.resolved("float16", model, "cpu") == "float16", "what is said is done"


def test_what_cannot_be_read_is_loaded_in_float32(tmp_path: Path) -> None:
    assert weight_dtype.resolved("auto", tmp_path / "nowhere", "cpu") == "float32"


def test_a_policy_writes_in_the_format_that_was_asked_for(tmp_path: Path) -> None:
    folder = tiny.llama(tmp_path / "policy")
    assert Policy(folder).model.dtype == torch.float32
    assert Policy(folder, dtype="bfloat16").model.dtype == torch.bfloat16


def test_a_reward_model_keeps_its_trunk_in_16_bits_and_its_head_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cpu(monkeypatch, "avx512_bf16")
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    model = reward_model.new(
        tiny.llama(tmp_path / "base"), pooling="root", max_length=64, device=cpu, dtype="bfloat16"
    )
    model.classifier = lora_adapters.new_classifier_adapter(model.classifier, LoraConfig(r=2))
    assert model.head is not None and model.head.weight.dtype == torch.float32
    torch.nn.init.normal_(model.head.weight)
    model.classifier = lora_adapters.merge_in_float32(model.classifier)
    reward_model.keep_trunk_in(model, "bfloat16").eval()
    model.save(tmp_path / "reward")
    saved = load_file(tmp_path / "reward" / "model.safetensors")
    kinds = {name: weight.dtype for name, weight in saved.items()}
    assert kinds.pop("score.weight") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    again = reward_model.load(tmp_path / "reward")
    assert next(again.trunk.parameters()).dtype == torch.bfloat16
    assert again.score(CHATS, REPLIES) == model.score(CHATS, REPLIES)
