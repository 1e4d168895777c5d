from __future__ import annotations

import gzip
import io
import json
import os
from itertools import combinations
from pathlib import Path

import pytest

from annotate import exchange
from annotate.importing import import_rows
from annotate.importing.files import opened
from annotate.models import Assignment, Completion, Label
from annotate.quality import agreement_counts

DATA = Path(os.environ["PAIRLOOP_DATA"])


def counted(report) -> dict[str, int]:
    return {name: report.added[name] for name in ("prompts", "completions", "pairs", "votes")}


def test_pandalm_imports_with_the_counts_and_the_agreement_of_its_readme(project):
    with (DATA / "pandalm/pairs_votes.jsonl").open("rb") as file:
        first = import_rows(project, file)
        again = import_rows(project, file)
    assert (first.rows, first.accepted, first.n_refused) == (999, 999, 0)
    assert counted(first) == {"prompts": 170, "completions": 722, "pairs": 999, "votes": 2997}
    assert first.added["annotators"] == 3
    reasons = [problem.reason for problem in first.warnings]
    assert sum("not text" in reason for reason in reasons) == 6
    assert sum("empty" in reason for reason in reasons) == 54
    assert set(counted(again).values()) == {0}
    assert Completion.objects.filter(text="True").exists()
    outcomes = [Label.objects.filter(outcome=one).count() for one in ("a", "b", "tie", "split")]
    assert outcomes == [422, 472, 105, 0]
    every = agreement_counts.measure(project, every=True).agreement
    assert (every.pairs, every.votes) == (999, 2997)
    assert every.values["raw"] == pytest.approx(0.919920, abs=1e-6)
    assert every.values["alpha_nominal"] == pytest.approx(0.864221, abs=1e-6)
    assert every.values["alpha_ordinal"] == pytest.approx(0.877464, abs=1e-6)
    assert every.values["fleiss_kappa"] == pytest.approx(0.864175, abs=1e-6)
    first_two = agreement_counts.measure(project).agreement
    assert (first_two.pairs, first_two.votes) == (999, 1998)


def test_hh_rlhf_imports_by_turns(project):
    with (DATA / "hh_rlhf/harmless-base-test.jsonl.gz").open("rb") as file:
        report = import_rows(project, file)
    assert (report.rows, report.accepted) == (2312, 2312)
    assert counted(report) == {"prompts": 2310, "completions": 4624, "pairs": 2312, "votes": 2312}
    assert report.added["annotators"] == 1
    assert Label.objects.exclude(outcome="split").count() == 2312
    assert not project.pairs.filter(open_slots__gt=0).exists()
    assert exchange.resolved_since(project, None) > 1800
    reasons = [problem.reason for problem in report.warnings]
    assert sum("several assistant turns" in reason for reason in reasons) == 5
    assert sum("completion is empty" in reason for reason in reasons) == 4
    turns = [len(messages) for messages in project.prompts.values_list("messages", flat=True)]
    # Two of the 662 rows with one human turn could only share a prompt; the README counts rows.
    assert 660 <= sum(n == 1 for n in turns) <= 662
    assert agreement_counts.measure(project).agreement.values["raw"] is None


def test_finegrained_rlhf_has_several_completions_per_prompt_and_no_overlap(project):
    rows = []
    for item in json.loads((DATA / "finegrained_rlhf/dev_feedback.json").read_text()):
        sides = combinations(range(1, 5), 2)
        for (i, j), preference in zip(sides, item["preference"], strict=True):
            rows.append(
                {
                    "prompt": item["question"],
                    "reference": item["gold"] if isinstance(item["gold"], str) else None,
                    "completion_a": item[f"prediction {i}"],
                    "completion_b": item[f"prediction {j}"],
                    "votes": {"unknown": ("tie", "a", "b")[preference]},
                }
            )
    file = io.BytesIO(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    report = import_rows(project, file)
    assert (report.rows, report.accepted) == (3000, 3000)
    assert counted(report) == {"prompts": 500, "completions": 2000, "pairs": 3000, "votes": 3000}
    choices = Assignment.objects.values_list("choice", flat=True)
    assert [list(choices).count(one) for one in ("a", "b", "tie")] == [1577, 1039, 384]
    measured = agreement_counts.measure(project).agreement
    assert measured.values["raw"] is None
    assert "no pair has two votes" in measured.explanations["raw"]


@pytest.mark.parametrize(
    ("file", "words", "count", "columns"),
    [
        ("pandalm/testset-v1.json", "JSON array", 999, {"idx", "response1", "annotator1"}),
        ("gpteacher/roleplay.json", "JSON array", 1923, {"instruction", "input", "response"}),
        ("gpteacher/codegen-instruct.json", "JSON array", 4535, {"instruction", "response"}),
        ("finegrained_rlhf/dev_feedback.json", "JSON array", 500, {"question", "passages"}),
        ("stanford_alpaca/seed_tasks.jsonl", "JSON lines", 175, {"id", "instances"}),
        ("hh_rlhf/harmless-base-test.jsonl.gz", "JSON lines, in gzip", 2312, {"chosen"}),
        ("shapes/60_pairs.csv", "CSV", 1, {"prompt", "chosen", "rejected"}),
        ("shapes/61_pairs.parquet", "Parquet", 1, {"prompt", "chosen", "rejected"}),
        ("shapes/63_array_pretty.json", "JSON array", 1, {"prompt", "chosen", "rejected"}),
        ("shapes/68_crlf.jsonl", "JSON lines", 1, {"prompt", "chosen", "rejected"}),
    ],
)
def test_files_open_as_they_are_published(file, words, count, columns):
    with opened(DATA / file) as source:
        read = [row for _, row in source.rows()]
    assert source.format == words
    assert len(read) == count
    assert all(isinstance(row, dict) and columns <= row.keys() for row in read)


def test_nan_is_named_by_line_and_column():
    with opened(DATA / "shapes/70_nan.jsonl") as source:
        [(place, refused)] = source.rows()
    assert (place.line, str(refused)) == (1, "margin: NaN is not JSON")
