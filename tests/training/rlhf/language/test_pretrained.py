from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tests.training.rlhf import tiny, trunks
from training.rlhf.config import LoraConfig
from training.rlhf.language import lora_adapters, pretrained
from training.rlhf.run.failures import ModelError

FOLDERS = {"llama": tiny.llama, "gpt2": tiny.gpt2, "smollm2": tiny.smollm2}
IDS = torch.tensor([[5, 6, 7, 8]])


def stirred_adapter(folder: Path, base: Path) -> torch.Tensor:
    """Save an adapter that changes its base; return its logits."""
    model = lora_adapters.new_adapter(pretrained.load_causal(base), LoraConfig(r=2), base=base)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    pretrained.save_model(model, pretrained.load_tokenizer(base), folder)
    with torch.no_grad():
        logits: torch.Tensor = model(IDS).logits
    return logits


def test_a_saved_policy_is_sampled_by_servers_that_go_by_its_folder(tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base")
    pretrained.save_model(
        pretrained.load_causal(base), pretrained.load_tokenizer(base), tmp_path / "saved"
    )
    assert pretrained.load_causal(tmp_path / "saved").generation_config.do_sample is True


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_saved_model_loads_to_the_same_logits(tmp_path, kind):
    folder = FOLDERS[kind](tmp_path / "model")
    model = pretrained.load_causal(folder)
    pretrained.save_model(model, pretrained.load_tokenizer(folder), tmp_path / "copy")
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, pretrained.load_causal(tmp_path / "copy")(IDS).logits)


@pytest.mark.parametrize("kind", FOLDERS)
def test_an_adapter_folder_loads_merged_into_its_base(tmp_path, kind):
    base = FOLDERS[kind](tmp_path / "base")
    expected = stirred_adapter(tmp_path / "adapter", base)
    with torch.no_grad():
        merged = pretrained.load_causal(tmp_path / "adapter")
        assert not isinstance(merged, PeftModel)
        torch.testing.assert_close(merged(IDS).logits, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(merged(IDS).logits, pretrained.load_causal(base)(IDS).logits)


def test_an_adapter_on_an_adapter_loads_from_the_bottom_up(tmp_path):
    base = tiny.llama(tmp_path / "base")
    stirred_adapter(tmp_path / "first", base)
    expected = stirred_adapter(tmp_path / "second", tmp_path / "first")
    with torch.no_grad():
        logits = pretrained.load_causal(tmp_path / "second")(IDS).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_records_its_base_so_that_any_folder_can_find_it(tmp_path, monkeypatch):
    tiny.llama(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    stirred_adapter(tmp_path / "adapter", Path("base"))
    recorded = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert recorded["base_model_name_or_path"] == str(tmp_path / "base")


def test_a_base_beside_its_adapter_is_found_after_both_moved(tmp_path):
    base = tiny.llama(tmp_path / "here" / "base")
    logits = stirred_adapter(tmp_path / "here" / "adapter", base)
    config = tmp_path / "here" / "adapter" / "adapter_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "../base"})
    )
    (tmp_path / "here").rename(tmp_path / "there")
    with torch.no_grad():
        found = pretrained.load_causal(tmp_path / "there" / "adapter")(IDS).logits
    assert torch.allclose(found, logits, atol=1e-4)


def test_an_unusable_folder_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty.*config\.json"):
        pretrained.load_causal(tmp_path / "empty")
    with pytest.raises(ModelError, match="nowhere"):
        pretrained.load_causal(tmp_path / "nowhere")
    (tmp_path / "empty" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        pretrained.load_causal(tmp_path / "empty")


def test_pickled_weights_are_refused(tmp_path):
    folder = tiny.llama(tmp_path / "model")
    torch.save(pretrained.load_causal(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot be loaded as a policy: .*safetensors"):
        pretrained.load_causal(folder)


def test_a_missing_pad_token_prefers_an_unused_token_to_eos(tmp_path):
    words = pretrained.load_tokenizer(tiny.gpt2(tmp_path / "gpt2"))
    assert (words.pad_token, words.eos_token) == (tiny.PAD, tiny.END)
    assert words.padding_side == "left"


def test_a_pad_token_that_is_there_stays_even_when_it_is_eos(tmp_path):
    words = pretrained.load_tokenizer(tiny.smollm2(tmp_path / "smollm2"))
    assert words.pad_token == words.eos_token == tiny.END


def test_replies_stop_on_every_eos_of_the_generation_config_and_on_the_turn_end():
    model, words = tiny.llama_model(), tiny.tokenizer()
    model.generation_config.eos_token_id = [7, 9]
    words.eos_token = tiny.PAD
    assert pretrained.stop_token_ids(model, words) == [0, 2, 7, 9]


def test_dropout_is_off_in_training_mode_too():
    model = tiny.gpt2_model()
    pretrained.without_dropout(model)
    with torch.no_grad():
        assert torch.equal(model.train()(IDS).logits, model.eval()(IDS).logits)


def test_dropout_inside_the_attention_of_an_encoder_decoder_is_off_in_training_mode_too(tmp_path):
    model = pretrained.load_causal(trunks.t5(tmp_path / "t5"))
    pretrained.without_dropout(model)
    read = {"input_ids": IDS, "decoder_input_ids": IDS}
    with torch.no_grad():
        assert torch.equal(model.train()(**read).logits, model.eval()(**read).logits)


def test_a_digest_knows_the_content_of_a_folder_and_of_its_base_but_not_their_places(tmp_path):
    base = tiny.llama(tmp_path / "base")
    model = lora_adapters.new_adapter(pretrained.load_causal(base), LoraConfig(r=2), base=base)
    pretrained.save_model(model, pretrained.load_tokenizer(base), tmp_path / "adapter")
    found = {name: pretrained.digest(tmp_path / name) for name in ("base", "adapter")}
    assert found["base"] != found["adapter"]
    (tmp_path / "elsewhere").mkdir()
    for name in found:
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    settings = tmp_path / "elsewhere" / "adapter" / "adapter_config.json"
    moved = json.loads(settings.read_text()) | {
        "base_model_name_or_path": str(tmp_path / "elsewhere" / "base")
    }
    settings.write_text(json.dumps(moved))
    assert {name: pretrained.digest(tmp_path / "elsewhere" / name) for name in found} == found
    pretrained.save_model(
        pretrained.load_causal(tiny.llama(tmp_path / "other", sharpness=4.0)),
        pretrained.load_tokenizer(moved["base_model_name_or_path"]),
        moved["base_model_name_or_path"],
    )
    assert pretrained.digest(tmp_path / "elsewhere" / "adapter") != found["adapter"]
