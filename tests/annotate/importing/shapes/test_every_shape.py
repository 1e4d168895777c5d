from __future__ import annotations

import io
import json

import pytest

from annotate.importing import import_rows
from tests.annotate.importing.shapes.examples import EXAMPLES
from tests.annotate.importing.shapes.outcome import outcome


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_of_a_shape_give_its_prompts_completions_pairs_votes_and_winner(name):
    rows, prompts, completions, pairs, votes, winner = EXAMPLES[name]
    read = outcome(rows)
    assert not read.refused and not read.reading.questions
    assert len(read.prompts) == prompts
    assert len(read.completions) == completions
    assert len(read.comparisons) == pairs
    assert len(read.votes) == votes
    if winner:
        assert set(read.winners) == {winner}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_column_of_a_shape_is_used_or_kept(name):
    read = outcome(EXAMPLES[name].rows)
    told = read.reading.columns
    for row in EXAMPLES[name].rows:
        for column, value in row.items():
            if value not in (None, ""):
                assert told[column].use != "not read"


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_of_every_shape_can_be_imported(name, project):
    rows, prompts, completions, *_ = EXAMPLES[name]
    file = io.BytesIO("\n".join(map(json.dumps, rows)).encode())
    report = import_rows(project, file)
    assert not report.n_refused
    assert report.added["prompts"] == prompts == project.prompts.count()
    assert report.added["completions"] == completions
