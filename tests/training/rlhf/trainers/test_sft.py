from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from annotate.sample import made_up_texts
from tests.training.rlhf import trunks
from training.rlhf.config import ConfigError, LoraConfig, ModelConfig, SFTConfig, TinyModelConfig
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.run.run_directory import Fenced, Stopped
from training.rlhf.run.work import Work
from training.rlhf.trainers import sft

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
        Work(
            seed=config.seed,
            device=torch.device("cpu"),
            checkpoints=folder / "checkpoints",
            report=lambda step, total, numbers: told.append((step, total, numbers)),
            guard=guard,
        ),
    )
    return metrics, told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made_up_texts.corpus(300, seed=0)))
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
    tokenizer = pretrained.load_tokenizer(trained / "model")
    model = pretrained.load_causal(trained / "model")
    stops = pretrained.stop_token_ids(model, tokenizer)
    assert stops == [tokenizer.eos_token_id]
    prompts = [
        chat_template.prompt_ids(tokenizer, messages)
        for messages in made_up_texts.prompts(16, seed=9)
    ]
    replies = generation.generate(
        model, tokenizer, prompts, max_new_tokens=80, temperature=0.5, stop_ids=stops
    )
    assert sum(reply.finished for reply in replies) >= 12
    texts = [chat_template.response_text(tokenizer, reply.ids) for reply in replies]
    assert sum(len(text.split()) >= 3 for text in texts) >= 12
    # The model alone, as any other program would run it, stops as well.
    output = model.generate(
        torch.tensor([prompts[0]]), max_new_tokens=80, do_sample=False, use_cache=True
    )
    assert output[0, -1] == tokenizer.eos_token_id


def test_the_saved_weights_are_safetensors_and_the_template_marks_the_reply(trained: Path) -> None:
    assert load_file(trained / "model" / "model.safetensors")
    assert not list((trained / "model").glob("*.bin"))
    tokenizer = pretrained.load_tokenizer(trained / "model")
    messages = [
        *made_up_texts.prompts(1, seed=1)[0],
        {"role": "assistant", "content": "Thank you."},
    ]
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
    text = tokenizer.decode(chat_template.prompt_ids(tokenizer, messages))
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
    prompt = chat_template.prompt_ids(tokenizer, messages[:-1])
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
    assert_same_weights(tmp_path)
    assert resumed["loss"] == whole["loss"]


def assert_same_weights(folder: Path) -> None:
    """Of the models in `whole` and `parts`, bit for bit."""
    expected, found = (
        load_file(folder / name / "model" / "model.safetensors") for name in ("whole", "parts")
    )
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def kill_and_compare(data: Path, folder: Path, step: int) -> None:
    config = _config(data, max_steps=6, checkpoint_every=2)
    _train(config, folder / "whole")
    edges = iter(range(1, 100))

    def die() -> None:
        if next(edges) == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(config, folder / "parts", guard=die)
    torch.manual_seed(step)  # a new process knows nothing of the old one's generators
    _train(config, folder / "parts")
    assert_same_weights(folder)


def test_a_training_killed_at_a_random_step_ends_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    kill_and_compare(data, tmp_path, random.Random().randint(1, 5))


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(5))
def test_kills_of_a_fine_tuning_at_five_random_steps(
    data: Path, tmp_path: Path, attempt: int
) -> None:
    kill_and_compare(data, tmp_path, random.Random().randint(1, 5))


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
    tuned = pretrained.load_causal(tmp_path / "model")
    base = pretrained.load_causal(trained / "model")
    before, after = base.state_dict(), tuned.state_dict()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert moved and not any("embed" in key for key in moved)


def test_a_model_from_a_folder_is_tuned_whole(trained: Path, data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trained / "model"))
    metrics, _ = _train(_config(data, model=source, max_steps=4, learning_rate=1e-4), tmp_path)
    first = json.loads((trained / "told.json").read_text())[0]
    assert metrics["loss_first"] < 0.6 * first["loss_first"]
    assert load_file(tmp_path / "model" / "model.safetensors")


def test_training_ends_when_the_held_out_loss_no_longer_falls_and_the_best_weights_are_kept(
    data: Path, tmp_path: Path
) -> None:
    config = _config(
        data, held_out_share=0.1, patience=1, learning_rate=0.3, max_steps=16, checkpoint_every=2
    )
    metrics, _ = _train(config, tmp_path)
    assert metrics["steps"] < 16 and metrics["chats"] < 300
    states = sorted((tmp_path / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    log = max((json.loads(path.read_text())["log_history"] for path in states), key=len)
    losses = [line["eval_loss"] for line in log if "eval_loss" in line]
    assert losses[-1] > min(losses) == pytest.approx(metrics["loss_held_out"])


def test_early_stopping_without_held_out_chats_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set sft\.held_out_share"):
        _train(_config(data, patience=1), tmp_path)


def test_accumulated_gradients_train_what_whole_batches_do(data: Path, tmp_path: Path) -> None:
    whole, _ = _train(_config(data, max_steps=3), tmp_path / "whole")
    parts, _ = _train(_config(data, max_steps=3, gradient_accumulation=4), tmp_path / "parts")
    assert parts["steps"] == whole["steps"] == 3
    assert parts["loss"] == pytest.approx(whole["loss"], rel=0.02)


def test_the_cost_of_a_training_is_told(trained: Path, data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trained / "model"), lora=LoraConfig(r=2, alpha=4))
    part, _ = _train(_config(data, model=source, max_steps=2), tmp_path)
    whole = json.loads((trained / "told.json").read_text())[0]
    weights = load_file(trained / "model" / "model.safetensors")
    assert (
        whole["parameters_trained"]
        == whole["parameters"]
        == sum(map(torch.numel, weights.values()))
    )
    assert part["parameters_trained"] < part["parameters"] / 10
    # Two moments of each trained weight, in float32.
    assert whole["optimiser_mb"] == pytest.approx(whole["parameters"] * 8 / 2**20, rel=0.01)
    assert 0 < part["optimiser_mb"] < whole["optimiser_mb"] / 10 and part["seconds"] > 0


def test_mixed_precision_leaves_the_weights_as_they_are(data: Path, tmp_path: Path) -> None:
    metrics, _ = _train(_config(data, mixed_precision="bfloat16", max_steps=2), tmp_path)
    assert metrics["loss"] > 0
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_a_base_model_learns_a_plain_template_and_keeps_it(data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trunks.gpt2_base(tmp_path / "base")))
    assert pretrained.load_tokenizer(source.path).chat_template is None
    _train(_config(data, model=source, max_steps=1), tmp_path)
    assert pretrained.load_tokenizer(tmp_path / "model").chat_template == chat_template.PLAIN


def test_four_bits_train_adapters_alone(trained: Path, data: Path, tmp_path: Path) -> None:
    source = ModelConfig(path=str(trained / "model"), lora=LoraConfig(r=2, alpha=4), quantise="nf4")
    metrics, _ = _train(_config(data, model=source, max_steps=2), tmp_path)
    whole = json.loads((trained / "told.json").read_text())[0]
    assert metrics["weights_mb"] < 0.7 * whole["weights_mb"]
    assert (tmp_path / "model" / "adapter_model.safetensors").exists()
    assert pretrained.load_causal(tmp_path / "model").dtype == torch.float32
