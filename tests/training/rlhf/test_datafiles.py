from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.rlhf import world
from training.rlhf import datafiles, rows
from training.rlhf.rows import RowError

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
    found = datafiles.preferences(write(tmp_path / name, data), held_out_share=0.3)
    assert [preferred(pair) for pair in found] == [f"good {i}" for i in range(40)]
    assert {pair.votes[0].choice for pair in found} == {"a", "b"}, "sides are mixed"
    assert {pair.votes[0].strength for pair in found} == {3}
    assert 0 < sum(pair.held_out for pair in found) < 40
    again = datafiles.preferences(tmp_path / name, held_out_share=0.3)
    assert again == found
    assert len({pair.pair_id for pair in found}) == 40


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
    found = datafiles.preferences(write(tmp_path / "x.json", data), held_out_share=0.1)
    for pair in found:
        assert pair.messages == start and preferred(pair) == "Well."
    assert len({pair.pair_id for pair in found}) == 1, "the same pair however it is written"


def test_own_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    rows.write(tmp_path / "own.jsonl", world.preferences(6))
    found = datafiles.preferences(tmp_path / "own.jsonl", held_out_share=0.9)
    assert found == world.preferences(6)


def test_own_rows_that_do_not_say_what_is_held_out_follow_their_prompt(tmp_path: Path) -> None:
    silent = [{k: v for k, v in vars(p).items() if k != "held_out"} for p in world.preferences(24)]
    votes = {"votes": [{"annotator": "ann", "choice": "a"}]}
    rows.write(tmp_path / "own.jsonl", ({**row, **votes} for row in silent))
    found = datafiles.preferences(tmp_path / "own.jsonl", held_out_share=0.5)
    assert 0 < sum(pair.held_out for pair in found) < len(found)
    assert all(pair.held_out == rows.is_held_out(pair.prompt_id, 0.5) for pair in found)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.json"])
def test_what_is_said_to_be_held_out_is(tmp_path: Path, name: str) -> None:
    data = [
        {"prompt": ASKED, "chosen": "x", "rejected": str(i), "held_out": i < 2} for i in range(4)
    ]
    found = datafiles.preferences(write(tmp_path / name, data), held_out_share=0.5)
    assert [pair.held_out for pair in found] == [True, True, False, False]
    data[3]["held_out"] = "perhaps"
    with pytest.raises(RowError, match="row 4: held_out must be true or false"):
        datafiles.preferences(write(tmp_path / name, data), held_out_share=0.5)


def test_a_split_that_is_given_is_kept(tmp_path: Path) -> None:
    data = [
        {"prompt": f"{ASKED} {i}", "chosen": "x", "rejected": "y", "split": split}
        for i, split in enumerate(["train", "test", "held_out"] * 5)
    ]
    found = datafiles.preferences(write(tmp_path / "x.jsonl", data), held_out_share=0.5)
    assert [pair.held_out for pair in found] == [False, True, True] * 5


@pytest.mark.parametrize("name", ["scores.csv", "scores.json"])
def test_scores_of_single_replies_become_ratings(tmp_path: Path, name: str) -> None:
    data = [{"prompt": ASKED, "completion": "good", "score": 4.5}]
    (found,) = datafiles.ratings(write(tmp_path / name, data), held_out_share=0.0)
    assert (found.completion, found.score, found.held_out) == ("good", 4.5, False)
    assert found.messages == [turn("user", ASKED)]
    (found,) = datafiles.ratings(
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
        ('[{"prompt": "p", "chosen": "x", "rejected": "y", "margin": "m"}]', "row 1: could not"),
    ],
)
def test_a_file_or_row_that_cannot_be_read_is_named(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(RowError, match=message):
        datafiles.preferences(file, held_out_share=0.1)


def test_a_missing_file_and_a_score_that_is_no_number_are_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"cannot read .*gone\.json"):
        datafiles.preferences(tmp_path / "gone.json", held_out_share=0.1)
    data = [{"prompt": ASKED, "completion": "good", "score": "high"}]
    with pytest.raises(RowError, match="row 1: could not convert"):
        datafiles.ratings(write(tmp_path / "x.csv", data), held_out_share=0.1)
