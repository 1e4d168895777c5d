from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GPTNeoConfig
from transformers import GPTNeoForSequenceClassification as NeoClassifier

from tests.training.rlhf import tiny, trunks, world
from training.rlhf.config import LoraConfig
from training.rlhf.language import chat_template, lora_adapters, pretrained
from training.rlhf.reward import reward_model
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.run.failures import ModelError

CPU = torch.device("cpu")
LONG = [
    {"role": "user", "content": "Tell me about the parcel and the invoice."},
    {"role": "assistant", "content": "It is late."},
    {"role": "user", "content": "The quick brown fox jumps over the lazy dog. What now?"},
]
CHATS = [LONG, LONG, world.prompts()[0].messages, LONG, world.prompts()[1].messages]
REPLIES = ["good and kind", "bad", "happy today, please", "I will check it.", ""]
DECODERS = {
    "llama": tiny.llama,
    "gpt2": trunks.gpt2_base,
    "gpt_neo": trunks.gpt_neo,
    "smollm2": tiny.smollm2,
}
WITH_OWN_HEAD = {"distilbert": trunks.distilbert, "bert": trunks.bert, "t5": trunks.t5}


def new(base: Path, *, pooling: str = "last", max_length: int = 128) -> RewardModel:
    """A model whose score head is not at zero, so that scores differ."""
    torch.manual_seed(3)
    model = reward_model.new(base, pooling=pooling, max_length=max_length, device=CPU)
    if isinstance(model.head, torch.nn.Linear):
        torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("name", WITH_OWN_HEAD)
def test_plain_transformers_scores_encoders_and_encoder_decoders_equally(
    tmp_path: Path, name: str
) -> None:
    model = new(WITH_OWN_HEAD[name](tmp_path / "base"))
    model.save(tmp_path / "model")
    scores = model.score(CHATS, REPLIES)
    assert max(scores) - min(scores) > 1e-3
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    words = AutoTokenizer.from_pretrained(tmp_path / "model")
    for messages, reply, score in zip(CHATS, REPLIES, scores, strict=True):
        if not reply:
            continue  # a tokenizer takes an empty second segment for none
        if name == "t5":
            turns = [*messages, {"role": "assistant", "content": reply}]
            rendered = words.apply_chat_template(turns, tokenize=False)
            read = words(rendered, return_tensors="pt", add_special_tokens=False)
        else:
            asked = "\n".join(f"{m['role']}: {m['content']}" for m in messages)
            read = words(asked, reply, return_tensors="pt")
        assert ("token_type_ids" in read) == (name == "bert")
        with torch.no_grad():
            logits = plain(**read).logits
        assert float(logits[0, 0]) == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_plain_transformers_scores_decoders_that_pool_the_last_token_equally(
    tmp_path: Path, name: str
) -> None:
    model = new(DECODERS[name](tmp_path / "base"))
    model.save(tmp_path / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    for messages, reply in zip(CHATS, REPLIES, strict=True):
        text = model.read(messages, reply)
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([text.ids])).logits
        assert float(logits[0, 0]) == pytest.approx(model.score([messages], [reply])[0], abs=1e-5)


@pytest.mark.parametrize("pooling", ["last", "root"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_prompt_that_replies_share_is_read_once_with_the_same_scores_and_gradients(
    tmp_path: Path, name: str, pooling: str
) -> None:
    model = new(DECODERS[name](tmp_path / "base"), pooling=pooling)
    texts = [model.read(c, r) for c, r in zip(CHATS, REPLIES, strict=True)]
    read: list[int] = []
    hook = model.trunk.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )

    def gradients(scores: torch.Tensor) -> list[torch.Tensor]:
        weight = torch.arange(1.0, len(scores) + 1)
        found = torch.autograd.grad((scores * weight).sum(), list(model.parameters()))
        return [gradient.clone() for gradient in found]

    together = model(texts)
    mine = gradients(together)
    assert len(read) == 2, "one pass over the prompts and one over the replies"
    hook.remove()
    alone = torch.cat([model([text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    for one, other in zip(mine, gradients(alone), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("max_length", [4, 12, 20])
def test_pairs_that_lose_different_parts_of_their_prompt_are_scored_as_each_alone(
    tmp_path: Path, max_length: int
) -> None:
    model = new(tiny.llama(tmp_path / "base"), max_length=max_length)
    alone = [model.score([c], [r])[0] for c, r in zip(CHATS, REPLIES, strict=True)]
    assert model.score(CHATS, REPLIES) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neo", "t5"])
def test_a_model_without_a_chat_template_reads_turns_written_down_plainly(
    tmp_path: Path, name: str
) -> None:
    build: Callable[[Path], Path] = (DECODERS | WITH_OWN_HEAD)[name]
    model = new(build(tmp_path / "base"))
    text = model.read(LONG, "Thanks.")
    written = model.tokenizer.decode(text.ids)
    assert written.startswith("user:\nTell me") and "\n\nassistant:\nIt is late.\n\n" in written
    assert text.ids.count(chat_template.turn_end(model.tokenizer)) == 1
    model.save(tmp_path / "model")
    again = reward_model.load(tmp_path / "model")
    assert again.read(LONG, "Thanks.") == model.read(LONG, "Thanks.")


def test_an_earlier_reward_model_keeps_its_head_and_pooling_for_a_warm_start(
    tmp_path: Path,
) -> None:
    earlier = new(tiny.llama(tmp_path / "base"), pooling="sum")
    earlier.save(tmp_path / "model")
    again = reward_model.new(tmp_path / "model", pooling="root", max_length=128, device=CPU)
    assert again.score(CHATS, REPLIES) == pytest.approx(earlier.score(CHATS, REPLIES), abs=1e-6)


def test_a_classifier_trained_elsewhere_is_read_as_it_was_trained(tmp_path: Path) -> None:
    """Its last token, and as much of a chat as its context holds."""
    model = new(tiny.llama(tmp_path / "base"))
    model.classifier.save_pretrained(str(tmp_path / "base"))
    context = model.classifier.config.max_position_embeddings
    for again in (
        reward_model.load(tmp_path / "base"),
        reward_model.new(tmp_path / "base", pooling="root", max_length=10**6, device=CPU),
    ):
        assert (again.pooling, again.read.max_length) == ("last", context)
        assert again.score(CHATS, REPLIES) == pytest.approx(model.score(CHATS, REPLIES), abs=1e-6)


def test_a_classifier_of_several_classes_lends_its_trunk(tmp_path: Path) -> None:
    base = trunks.distilbert(tmp_path / "base")
    other = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    other.save_pretrained(base)
    model = new(base)
    assert len(model.score(CHATS, REPLIES)) == len(CHATS)
    for name, tensor in other.base_model.state_dict().items():
        assert torch.equal(model.trunk.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("name", "targets"), [("t5", ("q", "v")), ("gpt_neo", ("q_proj", "v_proj"))]
)
def test_a_starter_that_is_an_adapter_lends_its_merged_trunk(
    tmp_path: Path, name: str, targets: tuple[str, ...]
) -> None:
    base = getattr(trunks, name)(tmp_path / "base")
    torch.manual_seed(0)
    adapted = lora_adapters.new_adapter(
        pretrained.load_causal(base), LoraConfig(r=2, target_modules=targets), base=base
    )
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.3)
    pretrained.save_model(adapted, pretrained.load_tokenizer(base), tmp_path / "adapter")
    merged = adapted.merge_and_unload().base_model.state_dict()
    model = new(tmp_path / "adapter")
    for key, tensor in model.trunk.state_dict().items():
        torch.testing.assert_close(tensor, merged[key])
    assert not model.trunk.training


def test_mixed_precision_does_not_round_scores(tmp_path: Path) -> None:
    model = new(tiny.llama(tmp_path / "base"), pooling="root")
    texts = [model.read(c, r) for c, r in zip(CHATS, REPLIES, strict=True)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(texts)
    assert scores.dtype == torch.float32
    assert (scores != scores.bfloat16().float()).all()


def test_a_model_that_could_never_end_a_reply_is_refused_by_name(tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base")
    words = tiny.tokenizer(template=None)
    words.eos_token = None
    (base / "chat_template.jinja").unlink()
    words.save_pretrained(str(base))
    with pytest.raises(ModelError, match="neither a chat template nor an end token"):
        reward_model.new(base, pooling="last", max_length=64, device=CPU)


def test_an_end_token_spelt_out_in_a_chat_does_not_upset_an_encoder_decoder(tmp_path: Path) -> None:
    model = new(trunks.t5(tmp_path / "base"))
    rude = [{"role": "user", "content": f"What is {tiny.END} for?"}]
    alone = model.score([rude], ["good"])
    assert model.score([LONG, rude], ["good", "good"])[1] == pytest.approx(alone[0], abs=1e-5)


def test_an_encoder_reads_no_more_than_it_has_positions_for(tmp_path: Path) -> None:
    model = new(trunks.bert(tmp_path / "base"), max_length=4096)
    text = model.read([{"role": "user", "content": "parcel " * 2000}], "good")
    assert len(text.ids) == 512 and text.cut > 1000
    assert model.tokenizer.decode(text.ids[-3:]) == "[SEP] good [SEP]"
    model([text])


@pytest.mark.parametrize(
    ("name", "targets", "heads"),
    [
        ("distilbert", ("q_lin", "v_lin"), {"pre_classifier", "classifier"}),
        ("bert", ("query", "value"), {"classifier", "pooler"}),
        ("t5", ("q", "v"), {"classification_head"}),
        ("gpt_neo", ("q_proj", "v_proj"), {"score"}),
        ("gpt2", ("c_attn",), {"score"}),
    ],
)
def test_adapters_leave_the_head_whole_and_merge_to_the_same_scores(
    tmp_path: Path, name: str, targets: tuple[str, ...], heads: set[str]
) -> None:
    model = new((DECODERS | WITH_OWN_HEAD)[name](tmp_path / "base"))
    adapted = lora_adapters.new_classifier_adapter(
        model.classifier, LoraConfig(r=2, target_modules=targets)
    )
    model.classifier = adapted
    trained = [key for key, p in model.named_parameters() if p.requires_grad]
    whole = [key for key in trained if "lora_" not in key]
    assert {part for key in whole for part in key.split(".")} >= heads
    assert all(heads & set(key.split(".")) for key in whole)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.3)
    before = model.score(CHATS, REPLIES)
    model.classifier = lora_adapters.merge_in_float32(adapted)
    assert model.score(CHATS, REPLIES) == pytest.approx(before, abs=1e-4)


def test_adapters_that_fit_nothing_in_the_model_go_on_all_its_linear_layers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = new(trunks.distilbert(tmp_path / "base"))
    adapted = lora_adapters.new_classifier_adapter(
        model.classifier, LoraConfig(target_modules=("q_proj",))
    )
    assert "no layers called q_proj" in caplog.text
    assert any("q_lin.lora_A" in name for name, _ in adapted.named_parameters())


def test_gpt_neo_125m_trains_294_912_adapter_weights_on_queries_and_values() -> None:
    with torch.device("meta"):
        model = NeoClassifier(
            GPTNeoConfig(
                hidden_size=768,
                num_layers=12,
                num_heads=12,
                attention_types=[[["global", "local"], 6]],
                num_labels=1,
                pad_token_id=50256,
            )
        )
        lora = LoraConfig(r=8, alpha=16, target_modules=("q_proj", "v_proj"))
        adapted = lora_adapters.new_classifier_adapter(model, lora)
    trained = {n: p.numel() for n, p in adapted.named_parameters() if p.requires_grad}
    assert sum(size for name, size in trained.items() if "lora_" in name) == 294_912
    assert sum(size for name, size in trained.items() if "lora_" not in name) == 768


def test_a_quantised_trunk_needs_bitsandbytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.llama(tmp_path / "base", hidden=64)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes: pip install"):
        reward_model.new(base, pooling="last", max_length=64, device=CPU, quantise="nf4")


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_quantised_trunk_merges_to_what_was_trained(tmp_path: Path, kind: str) -> None:
    base = tiny.llama(tmp_path / "base", hidden=64)
    options: dict[str, Any] = {"pooling": "last", "max_length": 64, "device": CPU}
    torch.manual_seed(0)
    model = reward_model.new(base, **options, quantise=kind)
    adapted = lora_adapters.new_classifier_adapter(model.classifier, LoraConfig(r=4))
    model.classifier = adapted
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or ("modules_to_save" in name and "weight" in name):
                parameter.normal_(std=0.1)
    before = model.score(CHATS, REPLIES)
    model.classifier = lora_adapters.merge_in_float32(adapted)
    # int8 rounds activations as well, which no merged weight can repeat.
    assert model.score(CHATS, REPLIES) == pytest.approx(before, abs=1e-4 if kind == "nf4" else 0.1)
    model.save(tmp_path / "model")
    assert reward_model.load(tmp_path / "model").score(CHATS, REPLIES) == pytest.approx(
        model.score(CHATS, REPLIES), abs=1e-5
    )
