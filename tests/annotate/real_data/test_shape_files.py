from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from annotate.importing.shapes import answers
from tests.annotate.importing.shapes.outcome import Outcome, outcome

DATA = Path(os.environ["PAIRLOOP_DATA"])
ASK = "How do I descale a kettle?"
GOOD = "Fill it with equal parts vinegar and water, boil, wait 20 minutes, rinse twice."
BAD = "Just buy a new one."


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of a file, by plain means."""
    path = DATA / name
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return json.loads(text) if text[0] == "[" else [json.loads(x) for x in text.splitlines() if x]


def read(name: str) -> Outcome:
    return outcome(rows_of(name))


def counted(of: Outcome) -> tuple[int, int, int, int]:
    return len(of.prompts), len(of.completions), len(of.comparisons), len(of.votes)


@pytest.mark.parametrize(
    ("file", "counts", "winner"),
    [
        ("01_trl_std.jsonl", (1, 2, 1, 1), GOOD),
        ("03_trl_conv.jsonl", (1, 2, 1, 1), GOOD),
        ("05_ultrafeedback_binarized.jsonl", (1, 2, 1, 1), GOOD),
        ("08_margin.jsonl", (1, 2, 1, 1), GOOD),
        ("09_kto.jsonl", (1, 2, 0, 0), ""),
        ("12_sharegpt.jsonl", (1, 2, 1, 1), GOOD),
        ("13_tool_call.jsonl", (1, 2, 1, 1), 'light({"on": true})\n\ntool: ok\n\nDone.'),
        ("17_multiturn_after_prompt.jsonl", (1, 2, 1, 1), ""),
        ("20_helpsteer2.jsonl", (1, 1, 0, 0), ""),
        ("24_mtbench_human.jsonl", (1, 2, 1, 1), BAD),
        ("26_lmsys55k_csvlike.jsonl", (1, 2, 1, 1), GOOD),
        ("27_nectar.jsonl", (1, 2, 1, 1), GOOD),
        ("31_pku_safe.jsonl", (1, 2, 1, 1), GOOD),
        ("33_alpacafarm.jsonl", (1, 2, 1, 1), GOOD),
        ("37_ls_json_rows.jsonl", (1, 2, 1, 1), GOOD),
        ("38_ls_json_min.jsonl", (1, 2, 1, 1), GOOD),
        ("40_argilla_v2_records.jsonl", (1, 2, 1, 1), GOOD),
        ("41_potato_annotated_instances.jsonl", (0, 0, 0, 0), ""),
        ("42_potato_input.jsonl", (1, 2, 1, 0), ""),
        ("45_own_votes_scale.jsonl", (1, 2, 1, 4), ""),
        ("47_own_votes_strength.jsonl", (1, 2, 1, 1), GOOD),
        ("60_pairs.csv", (1, 2, 1, 1), GOOD),
        ("61_pairs.parquet", (1, 2, 1, 1), GOOD),
        ("63_array_pretty.json", (1, 2, 1, 1), GOOD),
        ("68_crlf.jsonl", (1, 2, 1, 1), GOOD),
    ],
)
def test_a_file_of_a_shape_gives_what_its_table_says(file, counts, winner):
    of = read(f"shapes/{file}")
    assert counted(of) == counts and not of.reading.questions
    if winner:
        assert of.winners == [winner]


def test_what_files_of_shapes_hold_beside_is_kept():
    assert read("shapes/08_margin.jsonl").rows[0].comparisons[0].margin == 3.0
    labels = [row.replies[0].ratings[0] for row in read("shapes/09_kto.jsonl").rows]
    assert [(one.name, one.value) for one in labels] == [("label", 1.0), ("label", 0.0)]
    tool = read("shapes/13_tool_call.jsonl").rows[0]
    assert tool.tools == [{"type": "function"}]
    turns = read("shapes/17_multiturn_after_prompt.jsonl").rows[0].replies
    assert {tuple(m["role"] for m in one.messages or ()) for one in turns} == {
        ("assistant", "user", "assistant")
    }
    assert len(read("shapes/20_helpsteer2.jsonl").rows[0].replies[0].ratings) == 5
    bench = read("shapes/24_mtbench_human.jsonl")
    assert bench.votes[0].rater == "author_2"
    assert [one.model for one in bench.rows[0].replies] == ["alpaca-13b", "gpt-3.5"]
    assert read("shapes/31_pku_safe.jsonl").votes[0].criteria == {"safer": "b"}
    for file in ("37_ls_json_rows", "38_ls_json_min"):
        vote = read(f"shapes/{file}.jsonl").votes[0]
        assert (vote.rater, vote.wall_ms) == ("7", 4100)
    assert read("shapes/40_argilla_v2_records.jsonl").votes[0].rater == "u1"
    scale = read("shapes/45_own_votes_scale.jsonl")
    assert [one.choice for one in scale.votes] == ["a", "a", "both_bad", "tie"]
    assert '"A" is read as "a"' in [reason for _, reason in scale.warnings]
    assert read("shapes/47_own_votes_strength.jsonl").votes[0].strength == 3


def test_potatos_two_files_together_are_a_vote():
    item = rows_of("shapes/42_potato_input.jsonl")[0]
    said = rows_of("shapes/41_potato_annotated_instances.jsonl")[0]
    [refused] = outcome([said]).refused
    assert "input file is needed beside it" in refused.reason
    of = outcome([said, item | {"id": said["instance_id"]}])
    assert of.winners == [GOOD] and of.votes[0].rater == "anna"


def test_the_file_of_typos_is_three_pairs_once_answered():
    of = read("shapes/50_typo.jsonl")
    assert not of.rows and len(of.refused) == 3
    rows = rows_of("shapes/50_typo.jsonl")
    assert counted(outcome(rows, answers(of.reading.questions))) == (3, 6, 3, 2)


def test_votes_in_rows_of_their_own_and_on_swapped_sides_name_the_same_texts():
    long = read("shapes/49_long_format_votes.jsonl")
    assert [(one.rater, one.choice) for one in long.votes] == [
        ("u1", "a"),
        ("u2", "b"),
        ("u3", "a"),
    ]
    assert len(long.completions) == 2
    swapped = read("shapes/51_swapped_dup.jsonl")
    assert swapped.winners == [GOOD, BAD] and len(swapped.completions) == 2


def test_pandalm_as_it_was_published():
    of = read("pandalm/testset-v1.json")
    assert (len(of.rows), len(of.votes), len(of.refused)) == (999, 2997, 0)
    assert len(of.prompts) == 170
    texts = {(row.prompt_sha256, one.sha256) for row in of.rows for one in row.replies}
    named = {(row.prompt_sha256, x.sha256, x.model) for row in of.rows for x in row.replies}
    assert (len(texts), len(named)) == (722, 800)
    assert len({one.source_id for _, one in of.comparisons}) == 999
    choices = Counter(one.choice for one in of.votes)
    assert choices == {"a": 1255, "b": 1416, "tie": 326}
    reasons = Counter(reason for _, reason in of.warnings)
    assert reasons["the value is not text; it was read as the text True"] == 6
    assert reasons["the completion is empty"] == 54


def test_hh_rlhf_as_it_was_published():
    of = read("hh_rlhf/harmless-base-test.jsonl.gz")
    assert (len(of.rows), len(of.refused)) == (2312, 0)
    assert counted(of) == (2310, 4624, 2312, 2312)
    reasons = Counter(reason for _, reason in of.warnings)
    assert reasons["the completion is empty"] == 4


def test_finegrained_rlhf_as_it_was_published():
    of = read("finegrained_rlhf/dev_feedback.json")
    assert counted(of) == (500, 2000, 3000, 3000)
    choices = Counter(one.choice for one in of.votes)
    assert choices == {"a": 1577, "b": 1039, "tie": 384}
    assert all(row.reference or "gold" in row.metadata for row in of.rows)


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("gpteacher/codegen-instruct.json", 4535),
        ("gpteacher/roleplay.json", 1923),
        ("stanford_alpaca/seed_tasks.jsonl", 175),
    ],
)
def test_instructions_as_they_were_published(file, rows):
    of = read(file)
    assert counted(of) == (rows, rows, 0, 0) and not of.refused
    assert all(row.reference == row.replies[0].text for row in of.rows)
