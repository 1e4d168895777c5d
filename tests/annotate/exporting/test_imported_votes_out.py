"""Imported votes leave as they came: what no source told is null, and nothing is made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from annotate.exporting import seal
from annotate.exporting.formats import trl_format, votes_format
from annotate.exporting.freezing import freeze
from annotate.importing.imported_row import Judgement
from annotate.importing.row_store import Writer
from annotate.models import Assignment, Import
from annotate.review import pair_history
from tests.annotate.importing.test_row_store import judged

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def version(project):
    known = Judgement("a", "anna", strength=3, left="b", at=AT, metadata={"split": "test"})
    by = Import.objects.create(project=project, file_name="votes.csv")
    rows = [
        judged(known, ("bob", "a")),
        judged(("bob", "b"), ask="Unknown strength?"),
        judged(("bob", "a"), ask="Same?", texts=("x", "x"), models=("m1", "m2")),
    ]
    Writer(project, now=timezone.now(), by=by).add(rows)
    return freeze(project)


def lines(form, version):
    return [json.loads(line) for line in form.lines(version, include_simulated=False)]


def test_votes_leave_with_nulls_and_the_mark_of_an_import(version):
    anna, bob, *_ = lines(votes_format, version)
    assert (anna["strength"], anna["left"], anna["metadata"]) == (3, "b", {"split": "test"})
    assert anna["voted_at"].startswith("2024-05-01T12:00:00")
    for name in ("strength", "left", "voted_at"):
        assert bob[name] is None
    for vote in (anna, bob):
        assert vote["imported"] is True
        assert {vote[name] for name in ("leased_at", "stream", "propensity")} == {None}
    assert seal.sha256(version) == version.sha256


def test_the_margin_is_null_where_no_strength_is_known_and_equal_texts_are_counted(version):
    known, unknown = lines(trl_format, version)
    assert (known["margin"], unknown["margin"]) == (1.0, None)
    counts = trl_format.counts(version, include_simulated=False)
    assert counts == {"trl": 2, "tie": 0, "both_bad": 0, "split": 0, "equal_texts": 1}


def test_the_history_of_a_pair_names_the_file_and_the_time_that_the_source_told(version, project):
    pair = project.pairs.order_by("pk").first()
    events = pair_history.events(pair)
    told = [event for event in events if "imported" in event.what]
    assert [event.what for event in told] == [
        "vote imported from votes.csv: A much better",
        "vote imported from votes.csv: A better",
    ]
    assert told[0].at == AT
    assert told[1].at == Assignment.objects.filter(pair=pair).last().acted_at
