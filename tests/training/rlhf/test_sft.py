from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from annotate.sample import grammar
from training.rlhf import chat, models, rollout, sft
from training.rlhf.config import LoraConfig, ModelConfig, SFTConfig, TinyModelConfig
from training.rlhf.rundir import Fenced, Stopped

TINY = TinyModelConfig(
    vocab_size=600, hidden_size=48, layers=2, heads=2, intermediate_size=96, context=192
)


def _config(data: Path, **changes: object) -> SFTConfig:
    settings: dict[str, object] = {
        "model": ModelConfig(tiny=TINY),
        "data": str(data),
        "batch_size": 8,
        "learning_rate": 4e-3,
        "max_steps": 12,
        "checkpoint_every": 4,
        "seed": 3,
    }
    return SFTConfig(**{**settings, **changes})  # type: ignore[arg-type]


def _train(
    config: SFTConfig, folder: Path, *, guard: Callable[[], None] = lambda: None
) -> tuple[dict[str, float], list[tuple[int, int, dict[str, float]]]]:
    told: list[tuple[int, int, dict[str, float]]] = []
    torch.set_num_threads(1)
    metrics = sft.train(
        config,
        folder / "model",
        report=lambda step, total, numbers: told.append((step, total, numbers)),
        guard=guard,
        checkpoints=folder / "checkpoints",
    )
    return metrics, told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in grammar.corpus(300, seed=0)))
    return path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = _config(data, max_steps=120, checkpoint_every=60)
    metrics, told = _train(config, folder)
    (folder / "told.json").write_text(json.dumps([metrics, told]))
    return folder


def test_the_loss_falls_and_progress_is_told(trained: Path) -> None:
    metrics, told = json.loads((trained / "told.json").read_text())
    assert metrics["loss"] < 0.5 * metrics["loss_first"]
    assert metrics["steps"] == 120 and metrics["chats"] == 300 and metrics["truncated"] == 0
    assert [step for step, _, _ in told] == list(range(10, 121, 10))
    assert all(total == 120 and numbers["loss"] > 0 for _, total, numbers in told)


def test_the_starter_loads_again_writes_text_and_stops(trained: Path) -> None:
    tokenizer = models.load_tokenizer(trained / "model")
    model = models.load_causal(trained / "model")
    stops = models.stop_token_ids(model, tokenizer)
    assert stops == [tokenizer.eos_token_id]
    prompts = [chat.prompt_ids(tokenizer, messages) for messages in grammar.prompts(16, seed=9)]
    replies = rollout.generate(
        model, tokenizer, prompts, max_new_tokens=80, temperature=0.5, stop_ids=stops
    )
    assert sum(reply.finished for reply in replies) >= 12
    texts = [chat.response_text(tokenizer, reply.ids) for reply in replies]
    assert sum(len(text.split()) >= 3 for text in texts) >= 12
    # The model alone, as any other program would run it, stops as well.
    output = model.generate(
        torch.tensor([prompts[0]]), max_new_tokens=80, do_sample=False, use_cache=True
    )
    assert output[0, -1] == tokenizer.eos_token_id


def test_the_saved_weights_are_safetensors_and_the_template_marks_the_reply(trained: Path) -> None:
    assert load_file(trained / "model" / "model.safetensors")
    assert not list((trained / "model").glob("*.bin"))
    tokenizer = models.load_tokenizer(trained / "model")
    messages = [*grammar.prompts(1, seed=1)[0], {"role": "assistant", "content": "Thank you."}]
    marked = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    kept = [
        token
        for token, mask in zip(marked["input_ids"], marked["assistant_masks"], strict=True)
        if mask
    ]
    assert tokenizer.decode(kept) == "Thank you.<|end|>"


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry that your kettle is late.",
        "Größe: 42 cm, naïve café ☕ 日本語",
        "  two  spaces\n\tand a tab ",
        "<|end|> spelt out by a customer",
    ],
)
def test_the_tokenizer_gives_every_text_back(text: str) -> None:
    tokenizer = sft.build_tokenizer(iter(["a kettle is late"] * 3), vocab_size=400)
    ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id not in ids and tokenizer.unk_token_id is None
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_chat_with_an_answer_in_its_middle_keeps_its_roles_apart() -> None:
    tokenizer = sft.build_tokenizer(iter(["hello there"]), vocab_size=300)
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    text = tokenizer.decode(chat.prompt_ids(tokenizer, messages))
    assert (
        text
        == "<|system|>S<|end|><|user|>A<|end|><|assistant|>B<|end|><|user|>C<|end|><|assistant|>"
    )


def test_the_loss_is_on_the_last_reply_and_its_end_only() -> None:
    tokenizer = sft.build_tokenizer(iter(["my kettle is late"]), vocab_size=300)
    messages = [
        {"role": "user", "content": "My kettle is late."},
        {"role": "assistant", "content": "When did you order it?"},
        {"role": "user", "content": "On Monday."},
        {"role": "assistant", "content": "Thank you."},
    ]
    (row,), truncated = sft.tokenize(tokenizer, [messages], max_length=200)
    learnt = [label for label in row["labels"] if label != sft.IGNORED]
    assert tokenizer.decode(learnt) == "Thank you.<|end|>"
    assert row["labels"][-len(learnt) :] == row["input_ids"][-len(learnt) :]
    assert truncated == 0
    prompt = chat.prompt_ids(tokenizer, messages[:-1])
    assert row["input_ids"][: len(prompt)] == prompt


def test_a_long_chat_loses_the_left_of_its_prompt_and_is_counted() -> None:
    tokenizer = sft.build_tokenizer(iter(["word"]), vocab_size=300)
    messages = [
        {"role": "user", "content": "word " * 100},
        {"role": "assistant", "content": "Thank you."},
    ]
    (row,), truncated = sft.tokenize(tokenizer, [messages], max_length=40)
    assert truncated == 1 and len(row["input_ids"]) == 40
    learnt = [label for label in row["labels"] if label != sft.IGNORED]
    assert tokenizer.decode(learnt) == "Thank you.<|end|>"


def test_a_stopped_training_that_goes_on_equals_an_undisturbed_one(
    data: Path, tmp_path: Path
) -> None:
    config = _config(data)
    whole, _ = _train(config, tmp_path / "whole")
    edges = iter(range(100))

    def stop_after_six_steps() -> None:
        if next(edges) == 5:
            raise Stopped("asked to")

    with pytest.raises(Stopped):
        _train(config, tmp_path / "parts", guard=stop_after_six_steps)
    assert not (tmp_path / "parts" / "model").exists()
    # A checkpoint that was cut off while being saved is passed over.
    (tmp_path / "parts" / "checkpoints" / "checkpoint-9").mkdir()
    resumed, told = _train(config, tmp_path / "parts")
    assert told[0][0] == 8
    name = "model/model.safetensors"
    expected = load_file(tmp_path / "whole" / name)
    found = load_file(tmp_path / "parts" / name)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert resumed["loss"] == whole["loss"]


def test_a_fenced_out_training_writes_nothing_more(data: Path, tmp_path: Path) -> None:
    def fenced() -> None:
        raise Fenced("another owner")

    with pytest.raises(Fenced):
        _train(_config(data), tmp_path, guard=fenced)
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.glob("checkpoints/checkpoint-*"))


def test_a_model_from_a_folder_is_tuned_by_lora(trained: Path, data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trained / "model"), lora=LoraConfig(r=4, alpha=8))
    metrics, _ = _train(_config(data, model=source, max_steps=4), tmp_path)
    assert metrics["steps"] == 4
    assert (tmp_path / "model" / "adapter_model.safetensors").exists()
    tuned = models.load_causal(tmp_path / "model")
    base = models.load_causal(trained / "model")
    before, after = base.state_dict(), tuned.state_dict()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert moved and not any("embed" in key for key in moved)


def test_a_model_from_a_folder_is_tuned_whole(trained: Path, data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trained / "model"))
    metrics, _ = _train(_config(data, model=source, max_steps=4, learning_rate=1e-4), tmp_path)
    first = json.loads((trained / "told.json").read_text())[0]
    assert metrics["loss_first"] < 0.6 * first["loss_first"]
    assert load_file(tmp_path / "model" / "model.safetensors")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", 'line 2: expected {"messages"'),
        ('{"messages": []}', 'line 2: expected {"messages"'),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "line 2: a message needs a role"),
        ('{"messages": [{"role": "user"}]}', "line 2: a message needs a role"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "line 2: the last message"),
        ('{"messages": [{"role": "assistant", "content": " "}]}', "line 2: the last message"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    good = {"messages": [{"role": "assistant", "content": "Hello."}]}
    path.write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(sft.SFTError, match=message.replace("{", r"\{").replace("[", r"\[")):
        sft.read_chats(str(path))


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(sft.SFTError, match=r"empty\.jsonl holds no chats"):
        sft.read_chats(str(tmp_path / "empty.jsonl"))
    with pytest.raises(sft.SFTError, match=r"cannot read .*none\.jsonl"):
        sft.read_chats(str(tmp_path / "none.jsonl"))
    with pytest.raises(sft.SFTError, match=r"sft\.data is empty"):
        sft.read_chats("")
