"""TRL trains one step on exports, on the tokens of the chats that annotators saw; datasets reads
every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset, load_from_disk
from transformers import AutoTokenizer
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from annotate.exporting import FORMATS
from annotate.models import Assignment, Pair, Prompt
from tests.annotate.exporting.written import ASKED, CALLED, TOOLS, add_chat, export, judge
from tests.annotate.importing.project.everything import live_through
from tests.training.rlhf import tiny

TEMPLATE = (
    "{%- for tool in tools or [] -%}{{- '<|im_start|>tools\n' + tool | tojson + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- for call in message['tool_calls'] or [] -%}{{- call | tojson -}}{%- endfor -%}"
    "{{- message['content'] + '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
SEEN = [
    (ASKED, CALLED, "I cannot.", TOOLS),
    ([{"role": "user", "content": "Hello?"}], "Good day.", "What?", None),
    (
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "And the parcel?"},
        ],
        "It is late, I am sorry.",
        "Not my problem.",
        None,
    ),
]
"""Prompt, the reply that won, the one that lost, tools."""


@pytest.fixture
def judged(project, ann, ben) -> list[Pair]:
    pairs = [
        add_chat(project, n, prompt, [won, lost], tools)
        for n, (prompt, won, lost, tools) in enumerate(SEEN)
    ]
    judge(project, pairs, (ann, "a", 3), (ben, "a", 2))
    tied = add_chat(project, 9, [{"role": "user", "content": "Bye?"}], ["Bye.", "So long."])
    judge(project, [tied], (ann, "tie", 0), (ben, "tie", 0))
    Prompt.objects.update(held_out=False)
    return pairs


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A tiny chat model whose template shows tools and tool calls."""
    path = tmp_path_factory.mktemp("model")
    tiny.llama(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    return str(path)


def turns(reply: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": reply}] if isinstance(reply, str) else reply


def tokens(model: str, prompt: Any, reply: Any, tools: Any) -> list[int]:
    """The chat as the model's template writes it."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = [*prompt, *turns(reply)]
    return list(tokenizer.apply_chat_template(chat, tools=tools, return_dict=False))


def seen(model: str, side: int) -> list[list[int]]:
    return [tokens(model, row[0], row[side], row[3]) for row in SEEN]


def settings(kind: Any, out: Path, **more: Any) -> Any:
    common = {"max_steps": 1, "per_device_train_batch_size": 2, "report_to": "none"}
    quiet = {"use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    return kind(output_dir=str(out), **common, **quiet, **more)


def test_reward_and_dpo_trainers_read_chats_with_tools_from_the_folder(judged, model, tmp_path):
    data = load_dataset(str(export(tmp_path / "folder", "hf")), split="train")
    config = settings(RewardConfig, tmp_path, max_length=None)
    reward = RewardTrainer(model=model, args=config, train_dataset=data)
    assert reward.train_dataset["chosen_ids"][:] == seen(model, 1)
    assert reward.train_dataset["rejected_ids"][:] == seen(model, 2)
    assert reward.train_dataset["margin"][:] == pytest.approx([5 / 6] * 3, abs=1e-5)
    assert reward.train().global_step == 1
    config = settings(DPOConfig, tmp_path, max_length=None)
    dpo = DPOTrainer(model=model, args=config, train_dataset=data)
    for name, side in (("chosen", 1), ("rejected", 2)):
        whole = zip(dpo.train_dataset["prompt_ids"], dpo.train_dataset[f"{name}_ids"], strict=True)
        assert [prompt + reply for prompt, reply in whole] == seen(model, side)
    assert dpo.train().global_step == 1


def test_sft_and_kto_trainers_read_chats(judged, model, tmp_path):
    sft = load_dataset("json", data_files=str(export(tmp_path / "s", "sft")), split="train")
    config = settings(SFTConfig, tmp_path, max_length=None)
    trainer = SFTTrainer(model=model, args=config, train_dataset=sft)
    assert trainer.train_dataset["input_ids"][:] == seen(model, 1)
    assert trainer.train().global_step == 1
    kto = load_dataset("json", data_files=str(export(tmp_path / "k", "kto")), split="train")
    config = settings(KTOConfig, tmp_path, max_length=None)
    trainer = KTOTrainer(model=model, args=config, train_dataset=kto)
    rows = [(prompt, reply, tools) for prompt, *both, tools in SEEN for reply in both]
    whole = [[*row["prompt_ids"], *row["completion_ids"]] for row in trainer.train_dataset]
    assert whole == [tokens(model, *row) for row in rows]
    assert trainer.train().global_step == 1


def test_a_reward_trainer_reads_texts_and_files_whose_strengths_nobody_knows(
    judged, project, model, tmp_path
):
    Assignment.objects.update(imported=True, strength=None)
    for format in ("trl", "trl-conversational"):
        path = str(export(tmp_path / format, format))
        data = load_dataset("json", data_files=path, split="train")
        config = settings(RewardConfig, tmp_path, max_length=None)
        trainer = RewardTrainer(model=model, args=config, train_dataset=data)
        assert trainer.train().global_step == 1


def test_grpo_takes_the_prompts_of_the_same_folder(judged, model, tmp_path):
    data = load_dataset(str(export(tmp_path / "folder", "hf")), split="train")
    told = {"num_generations": 2, "max_completion_length": 4}
    config = settings(GRPOConfig, tmp_path, **told)
    asked: list[Any] = []

    def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        asked.extend(prompts)
        return [float(len(reply[0]["content"])) for reply in completions]

    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=config, train_dataset=data)
    assert trainer.train().global_step == 1
    assert asked[0] in [row[0] for row in SEEN]


def loaded(path: Path, suffix: str) -> Any:
    kind = {"jsonl": "json"}.get(suffix, suffix)
    return load_dataset(kind, data_files=str(path), split="train")


def test_datasets_loads_a_whole_project_though_columns_come_late(
    project, ann, ben, cleo, olga, zed, tmp_path
):
    """It takes the columns of the first piece, here of 2 kB, for those of all of the file."""
    live_through(project, ann, ben, cleo, olga, zed)
    path = export(tmp_path / "project.jsonl", "project")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    told = {"data_files": str(path), "split": "train"}
    for pieces in ({"chunksize": 2_000}, {}):
        data = load_dataset("json", cache_dir=str(tmp_path / f"{len(pieces)}"), **told, **pieces)
        data.save_to_disk(tmp_path / f"disk{len(pieces)}")
        again = load_from_disk(str(tmp_path / f"disk{len(pieces)}"))
        assert len(again) == len(lines)
        for row, said in zip(again, lines, strict=True):
            assert told_by(row) == told_by(said)


def told_by(value: Any) -> Any:
    """A value without what is null; `datasets` keeps ten decimals of floats beside JSON."""
    if isinstance(value, dict):
        return {name: told_by(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [told_by(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value


def test_the_line_of_columns_names_every_column_of_a_project(
    project, ann, ben, cleo, olga, zed, tmp_path
):
    live_through(project, ann, ben, cleo, olga, zed)
    path = export(tmp_path / "project.jsonl", "project")
    _, columns, *lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert columns["type"] == "columns"
    for said in lines:
        for name, value in said.items():
            sample = columns[name]
            assert sample == {} or value is None or type(sample) is type(value), name


@pytest.mark.parametrize("format", [name for name, one in FORMATS.items() if not one.of_now])
def test_datasets_loads_every_file_of_every_format(judged, format, tmp_path):
    out = export(tmp_path / "out", format)
    chosen = FORMATS[format]
    if out.is_dir():
        folder = load_dataset(str(out))
        assert folder["train"].num_rows == 3
        assert load_dataset(str(out), "votes", split="train").num_rows == 8
        assert load_dataset(str(out), "ties", split="train")["outcome"][:] == ["tie"]
        folder.save_to_disk(tmp_path / "disk")
        again = load_from_disk(str(tmp_path / "disk"))
        assert again["train"][0]["chosen"] == CALLED == folder["train"][0]["chosen"]
        return
    files = sorted(tmp_path.glob("out*"))
    assert files[0] == out
    for path in files:
        data = loaded(path, chosen.suffix)
        data.save_to_disk(tmp_path / "disk" / path.name)
        assert load_from_disk(str(tmp_path / "disk" / path.name)).num_rows == data.num_rows > 0


def test_openrlhf_joins_prompt_and_reply_and_takes_off_the_prompt(judged, model, tmp_path):
    """As its RewardDataset does: the reply is what the template adds to the prompt's text."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    data = loaded(export(tmp_path / "x", "openrlhf"), "jsonl")
    assert data.column_names == ["prompt", "chosen", "rejected", "margin"]
    for row, (prompt, won, lost, _) in zip(data, SEEN, strict=True):
        asked = tokenizer.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        for name, reply in (("chosen", won), ("rejected", lost)):
            whole = tokenizer.apply_chat_template(row["prompt"] + row[name], tokenize=False)
            told = tokenizer.apply_chat_template([*prompt, *turns(reply)], tokenize=False)
            assert whole.startswith(asked) and whole == told
    prompts = loaded(tmp_path / "x.prompts.jsonl", "jsonl")
    assert [row["messages"][-1]["content"] for row in prompts][1] == "Hello?"


def test_verl_finds_its_columns_and_applies_the_template(judged, model, tmp_path):
    """Those of its RLHFDataset and of its reward managers."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    Prompt.objects.filter(pk=judged[1].prompt_id).update(reference="Good day to you.")
    data = loaded(export(tmp_path / "x", "verl"), "parquet")
    assert [row["extra_info"]["index"] for row in data] == [0, 1, 2, 3]
    for row, (prompt, *_) in zip(data, SEEN, strict=False):
        assert row["data_source"] == "pairloop/desk"
        ids = tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, return_dict=False
        )
        assert ids == tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_dict=False
        )
    assert [row["reward_model"]["ground_truth"] for row in data][:2] == ["", "Good day to you."]


def test_a_packed_export_loads_as_it_is(judged, tmp_path):
    for compression, ending in (("gzip", "gz"), ("zstd", "zst")):
        out = tmp_path / f"rows.jsonl.{ending}"
        export(out, "trl-conversational", "--compression", compression)
        assert loaded(out, "jsonl").num_rows == 3


def test_columns_hold_what_the_lines_say(judged, tmp_path):
    lines = loaded(export(tmp_path / "x.jsonl", "votes"), "jsonl")
    columns = loaded(export(tmp_path / "x", "parquet").with_name("x.votes.parquet"), "parquet")
    assert columns.column_names == lines.column_names
    for one, other in zip(columns, lines, strict=True):
        assert (one["vote_id"], one["prompt"][-1]["content"], one["strength"]) == (
            other["vote_id"],
            other["prompt"][-1]["content"],
            other["strength"],
        )
    assert columns[0]["messages_a"] == CALLED and columns[0]["tools"] == TOOLS


def test_the_card_says_what_the_folder_holds(judged, tmp_path):
    out = export(tmp_path / "folder", "hf", "--licence", "cc-by-4.0")
    card = (out / "README.md").read_text("utf-8")
    assert "license: cc-by-4.0" in card and "2 people cast 8 votes." in card
    for told in ("| a | 3 |", "| tie | 1 |", "95 % interval", "Stream", "Be *kind*."):
        assert told.lower() in card.lower(), told
