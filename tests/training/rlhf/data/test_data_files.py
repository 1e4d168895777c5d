from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.training.rlhf import world
from training.rlhf import rows
from training.rlhf.data import data_files, soft_labels
from training.rlhf.rows import RowError, Vote

ASKED = "Tell me about the parcel."


def preferred(pair: rows.Preference) -> str:
    """The reply that the one vote is for."""
    (vote,) = pair.votes
    return pair.completion_a if vote.choice == "a" else pair.completion_b


def write(path: Path, data: Any) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(data[0]))
            table.writeheader()
            table.writerows(data)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in data))
    else:
        path.write_text(json.dumps(data))
    return path


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl", "pairs.csv"])
def test_rows_of_prompt_chosen_and_rejected_become_pairs_with_one_vote(
    tmp_path: Path, name: str
) -> None:
    data = [
        {"prompt": f"{ASKED} {i}", "chosen": f"good {i}", "rejected": "bad", "margin": 1.0}
        for i in range(40)
    ]
    found = data_files.preferences(write(tmp_path / name, data), held_out_share=0.3)
    assert [preferred(pair) for pair in found] == [f"good {i}" for i in range(40)]
    assert {pair.votes[0].choice for pair in found} == {"a", "b"}, "sides are mixed"
    assert {pair.votes[0].strength for pair in found} == {3}
    assert 0 < sum(pair.held_out for pair in found) < 40
    again = data_files.preferences(tmp_path / name, held_out_share=0.3)
    assert again == found
    assert len({pair.pair_id for pair in found}) == 40


def exported(n: int, share: float, margin: float, **more: Any) -> dict[str, Any]:
    """A row of the `trl` export."""
    row = {"prompt": ASKED, "chosen": "good", "rejected": "bad"}
    return (
        row | {"n_votes": n, "vote_fraction": share, "margin": margin, "method": "majority"} | more
    )


def towards_chosen(pair: rows.Preference) -> soft_labels.SoftLabel:
    label = soft_labels.label(pair)
    assert label is not None
    if pair.completion_a == "good":
        return label
    return dataclasses.replace(label, value=1 - label.value, strength=-label.strength)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_what_the_export_tells_of_the_votes_comes_back(tmp_path: Path, name: str) -> None:
    cast = [
        [Vote(annotator="", choice="a", strength=3)] * 2,
        [Vote(annotator="", choice="a")] * 3 + [Vote(annotator="", choice="b")],
        [Vote(annotator="", choice="a", strength=1), Vote(annotator="", choice="tie", strength=1)],
    ]
    told = [soft_labels.soft_label(votes) for votes in cast]
    shares = [1.0, 0.75, 0.75]
    data = [
        exported(len(votes), share, label.strength)
        for votes, share, label in zip(cast, shares, told, strict=True)
    ]
    found = data_files.preferences(write(tmp_path / name, data), held_out_share=0.0)
    assert [len(pair.votes) for pair in found] == [2, 4, 2]
    for pair, label in zip(found, told, strict=True):
        assert towards_chosen(pair) == label, "pooled as if the votes themselves had come"


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        (f"{ASKED}\n\n", "It is late.", "Why?"),
        (f"\n\nHuman: {ASKED}\n\nAssistant:", " It is late.", " Why?"),
    ],
)
def test_the_texts_of_our_own_export_are_read_without_what_joins_them(
    tmp_path: Path, prompt: str, chosen: str, rejected: str
) -> None:
    row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    [pair] = data_files.preferences(write(tmp_path / "x.jsonl", [row]), held_out_share=0.0)
    assert pair.messages == [turn("user", ASKED)] and preferred(pair) == "It is late."


def test_a_share_that_no_whole_votes_add_up_to_is_kept(tmp_path: Path) -> None:
    data = [exported(5, 0.73, 0.1), {"prompt": ASKED, "chosen": "good", "rejected": "bad"}]
    data[1] |= {"vote_fraction": 0.9}
    found = data_files.preferences(write(tmp_path / "x.json", data), held_out_share=0.0)
    assert [towards_chosen(pair).value for pair in found] == pytest.approx([0.73, 0.9])
    assert sum(vote.weight for vote in found[0].votes) == pytest.approx(5)


def test_a_reviewers_answer_overrules_the_votes_in_an_export_too(tmp_path: Path) -> None:
    data = [exported(3, 1 / 3, 1.0, method="adjudicated")]
    (found,) = data_files.preferences(write(tmp_path / "x.jsonl", data), held_out_share=0.0)
    assert towards_chosen(found).value == 1.0 and len(found.votes) == 3


@pytest.mark.parametrize(("n", "share"), [(0, 1.0), (2.5, 1.0), (2, 1.2), (2, -0.1)])
def test_impossible_votes_are_named(tmp_path: Path, n: float, share: float) -> None:
    file = write(tmp_path / "x.json", [exported(n, share, 0.5)])  # type: ignore[arg-type]
    with pytest.raises(RowError, match="row 1: n_votes must be a whole number from 1"):
        data_files.preferences(file, held_out_share=0.1)


def test_the_turns_that_both_sides_begin_with_are_the_prompt(tmp_path: Path) -> None:
    start = [turn("user", ASKED), turn("assistant", "Which?"), turn("user", "Mine.")]
    told = "\n\nHuman: Tell me about the parcel.\n\nAssistant: Which?\n\nHuman: Mine."
    data = [
        {
            "chosen": [*start, turn("assistant", "Well.")],
            "rejected": [*start, turn("assistant", "")],
        },
        {"chosen": f"{told}\n\nAssistant: Well.", "rejected": f"{told}\n\nAssistant:"},
        {"prompt": start, "chosen": "Well.", "rejected": ""},
    ]
    found = data_files.preferences(write(tmp_path / "x.json", data), held_out_share=0.1)
    for pair in found:
        assert pair.messages == start and preferred(pair) == "Well."
    assert len({pair.pair_id for pair in found}) == 1, "the same pair however it is written"


def test_own_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    rows.write(tmp_path / "own.jsonl", world.preferences(6))
    found = data_files.preferences(tmp_path / "own.jsonl", held_out_share=0.9)
    assert found == world.preferences(6)


def test_own_rows_that_do_not_say_what_is_held_out_follow_their_prompt(tmp_path: Path) -> None:
    silent = [{k: v for k, v in vars(p).items() if k != "held_out"} for p in world.preferences(24)]
    votes = {"votes": [{"annotator": "ann", "choice": "a"}]}
    rows.write(tmp_path / "own.jsonl", ({**row, **votes} for row in silent))
    found = data_files.preferences(tmp_path / "own.jsonl", held_out_share=0.5)
    assert 0 < sum(pair.held_out for pair in found) < len(found)
    assert all(pair.held_out == rows.is_held_out(pair.prompt_id, 0.5) for pair in found)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.json"])
def test_what_is_said_to_be_held_out_is(tmp_path: Path, name: str) -> None:
    data = [
        {"prompt": ASKED, "chosen": "x", "rejected": str(i), "held_out": i < 2} for i in range(4)
    ]
    found = data_files.preferences(write(tmp_path / name, data), held_out_share=0.5)
    assert [pair.held_out for pair in found] == [True, True, False, False]
    data[3]["held_out"] = "perhaps"
    with pytest.raises(RowError, match="row 4: held_out must be true or false"):
        data_files.preferences(write(tmp_path / name, data), held_out_share=0.5)


def test_a_split_that_is_given_is_kept(tmp_path: Path) -> None:
    data = [
        {"prompt": f"{ASKED} {i}", "chosen": "x", "rejected": "y", "split": split}
        for i, split in enumerate(["train", "test", "held_out"] * 5)
    ]
    found = data_files.preferences(write(tmp_path / "x.jsonl", data), held_out_share=0.5)
    assert [pair.held_out for pair in found] == [False, True, True] * 5


@pytest.mark.parametrize("name", ["scores.csv", "scores.json"])
def test_scores_of_single_replies_become_ratings(tmp_path: Path, name: str) -> None:
    data = [{"prompt": ASKED, "completion": "good", "score": 4.5}]
    (found,) = data_files.ratings(write(tmp_path / name, data), held_out_share=0.0)
    assert (found.completion, found.score, found.held_out) == ("good", 4.5, False)
    assert found.messages == [turn("user", ASKED)]
    (found,) = data_files.ratings(
        write(tmp_path / name, [data[0] | {"prompt_id": 7}]), held_out_share=0.0
    )
    assert found.prompt_id == "7"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither .json nor UTF-8"),
        ('{"prompt": "x"}', "expected a list of rows"),
        ("[3]", "row 1: expected an object"),
        ('[{"chosen": "x", "rejected": "y"}]', "row 1: prompt is missing"),
        ('[{"prompt": "x", "chosen": "y"}]', "row 1: rejected is missing"),
        ('[{"prompt": 3, "chosen": "x", "rejected": "y"}]', "row 1: prompt must be text"),
        ('[{"prompt": "p", "chosen": 4, "rejected": "y"}]', "row 1: chosen must be text or"),
        ('[{"prompt": "p", "chosen": "x", "rejected": "y", "margin": "m"}]', "row 1: could not"),
    ],
)
def test_a_file_or_row_that_cannot_be_read_is_named(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(RowError, match=message):
        data_files.preferences(file, held_out_share=0.1)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_a_mark_that_some_programs_put_before_a_text_is_no_part_of_it(
    tmp_path: Path, name: str
) -> None:
    file = write(tmp_path / name, [{"prompt": ASKED, "chosen": "x", "rejected": "y"}])
    file.write_text("\ufeff" + file.read_text("utf-8"), "utf-8")
    (found,) = data_files.preferences(file, held_out_share=0.1)
    assert found.messages == [{"role": "user", "content": ASKED}]


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (data_files.preferences, "pairs"),
        (data_files.ratings, "ratings"),
        (data_files.prompts, "prompts"),
        (data_files.chats, "chats"),
    ],
)
def test_a_table_without_rows_is_named(
    tmp_path: Path, read: Callable[..., list[Any]], kind: str
) -> None:
    (tmp_path / "x.csv").write_text("prompt,chosen,rejected\n")
    with pytest.raises(RowError, match=rf"x\.csv holds no {kind}"):
        read(tmp_path / "x.csv", held_out_share=0.1)


def test_columns_of_other_names_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt;chosen;rejected\na;b;c\n")
    with pytest.raises(RowError, match="row 1: chosen is missing among prompt;chosen;rejected"):
        data_files.preferences(tmp_path / "x.csv", held_out_share=0.1)


def test_a_missing_file_and_a_score_that_is_no_number_are_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"cannot read .*gone\.json"):
        data_files.preferences(tmp_path / "gone.json", held_out_share=0.1)
    data = [{"prompt": ASKED, "completion": "good", "score": "high"}]
    with pytest.raises(RowError, match="row 1: could not convert"):
        data_files.ratings(write(tmp_path / "x.csv", data), held_out_share=0.1)


@pytest.mark.parametrize("name", ["chats.json", "chats.jsonl", "chats.csv"])
def test_chats_to_learn_from_come_in_every_shape(tmp_path: Path, name: str) -> None:
    data = [{"prompt": f"{ASKED} {i}", "completion": "It is late."} for i in range(20)]
    found = data_files.chats(write(tmp_path / name, data), held_out_share=0.3)
    assert [chat.messages[-1] for chat in found] == [turn("assistant", "It is late.")] * 20
    assert 0 < sum(chat.held_out for chat in found) < 20


def test_the_better_reply_of_a_pair_is_learnt_and_the_same_prompts_are_held_out(
    tmp_path: Path,
) -> None:
    data = [{"prompt": f"{ASKED} {i}", "chosen": "good", "rejected": "bad"} for i in range(30)]
    file = write(tmp_path / "pairs.json", data)
    chats = data_files.chats(file, held_out_share=0.3)
    asked = data_files.prompts(file, held_out_share=0.3)
    pairs = data_files.preferences(file, held_out_share=0.3)
    assert {chat.messages[-1]["content"] for chat in chats} == {"good"}
    assert [chat.messages[:-1] for chat in chats] == [prompt.messages for prompt in asked]
    assert {prompt.reference for prompt in asked} == {"good"}
    told = [[row.held_out for row in found] for found in (chats, asked, pairs)]
    assert told[0] == told[1] == told[2] and 0 < sum(told[0]) < 30


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected an object"),
        ('{"text": "x"}', "line 2: expected messages, prompt and completion, or prompt"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "line 2: a message needs a role"),
        ('{"messages": [{"role": "user"}]}', r"line 2: messages\[0\].content must be text"),
    ],
)
def test_a_broken_chat_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    good = {"messages": [turn("assistant", "Hello.")]}
    path.write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(RowError, match=message):
        data_files.chats(path, held_out_share=0.0)


def test_a_file_without_chats_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(RowError, match=r"empty\.jsonl holds no chats"):
        data_files.chats(tmp_path / "empty.jsonl", held_out_share=0.0)
    with pytest.raises(RowError, match=r"cannot read .*none\.jsonl"):
        data_files.chats(tmp_path / "none.jsonl", held_out_share=0.0)


def test_prompts_keep_their_tags_and_count_once(tmp_path: Path) -> None:
    data = [{"prompt": ASKED, "tags": "toxic, short"}, {"prompt": ASKED, "tags": ""}]
    (found,) = data_files.prompts(write(tmp_path / "x.csv", data), held_out_share=1.0)
    assert found.tags == ("toxic", "short") and found.held_out and not found.reference


@pytest.mark.parametrize("saved", ["files", "dataset", "splits"])
def test_a_hugging_face_dataset_is_read_like_a_file(tmp_path: Path, saved: str) -> None:
    data = [{"prompt": f"{ASKED} {i}", "chosen": "good", "rejected": "bad"} for i in range(3)]
    folder = tmp_path / "set"
    if saved == "files":
        folder.mkdir()
        write(folder / "train.jsonl", data)
    else:
        whole = datasets.Dataset.from_list(data)
        made = datasets.DatasetDict({"train": whole}) if saved == "splits" else whole
        made.save_to_disk(str(folder))
    found = data_files.preferences(f"hf:{folder}:train", held_out_share=0.1)
    assert found == data_files.preferences(write(tmp_path / "x.json", data), held_out_share=0.1)


def test_a_dataset_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="cannot read the dataset"):
        data_files.preferences(f"hf:{tmp_path}:test", held_out_share=0.1)


@pytest.mark.parametrize("system", [[], [turn("system", "Be kind.")]])
def test_a_prompt_in_one_text_is_the_dialogue_that_it_tells(
    tmp_path: Path, system: list[dict[str, str]]
) -> None:
    """As in our own export, and in TRL's explicit prompts of HH-RLHF."""
    start = "\n\nSystem: Be kind." if system else ""
    told = f"{start}\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: {ASKED}\n\nAssistant:"
    data = [{"prompt": told, "chosen": "good", "rejected": "bad", "prompt_id": "p"}]
    path = write(tmp_path / "pairs.jsonl", data)
    messages = [*system, turn("user", "Hi."), turn("assistant", "Hello."), turn("user", ASKED)]
    assert data_files.preferences(path, held_out_share=0.0)[0].messages == messages
    assert data_files.prompts(path, held_out_share=0.0)[0].messages == messages
    assert data_files.chats(path, held_out_share=0.0)[0].messages[:-1] == messages


def test_the_reply_of_a_chat_is_its_reference_and_no_part_of_the_prompt(tmp_path: Path) -> None:
    chat = [turn("user", ASKED), turn("assistant", "It left.")]
    path = write(tmp_path / "chats.jsonl", [{"messages": chat}])
    (prompt,) = data_files.prompts(path, held_out_share=0.5)
    assert (prompt.messages, prompt.reference) == (chat[:1], "It left.")
    (learnt,) = data_files.chats(path, held_out_share=0.5)
    assert (learnt.prompt_id, learnt.held_out) == (prompt.prompt_id, prompt.held_out)
