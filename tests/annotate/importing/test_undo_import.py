"""A whole import is taken back, unless somebody has built on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from annotate import queue
from annotate.exporting.freezing import freeze
from annotate.importing import imported_row
from annotate.importing.imported_row import Judgement, Reply, Row
from annotate.importing.row_store import NotUndoable, Writer, undo
from annotate.models import (
    AiAnnotator,
    AiVote,
    Assignment,
    Completion,
    Import,
    Pair,
    Prompt,
    Rating,
)
from annotate.review import adjudication
from tests.annotate.importing.test_row_store import judged, votes

Imported = Callable[..., Import]
TABLES = (Prompt, Completion, Pair, Assignment, Rating, User)


@pytest.fixture
def imported(project) -> Imported:
    """imported(row, ...): an import of these rows."""

    def stored(*rows: Row, **options: Any) -> Import:
        by = Import.objects.create(project=project, file_name=f"{Import.objects.count()}.csv")
        Writer(project, now=timezone.now(), by=by, **options).add(rows)
        return by

    return stored


def counts() -> list[int]:
    return [table.objects.count() for table in TABLES]


def test_nothing_of_an_import_is_left_and_it_can_come_again(imported, project):
    before = counts()
    rating = imported_row.Rating("helpfulness", 4.0, "dora")
    rows = [
        judged(("anna", "a"), ("", "b")),
        judged(ask="Open?"),
        Row(messages=[{"role": "user", "content": "Hi"}], replies=[Reply("x", ratings=[rating])]),
    ]
    first = imported(*rows)
    there = counts()
    gone = undo(first)
    assert counts() == before
    assert dict(gone) | {"kept": 0} == {
        "prompts": 3,
        "completions": 5,
        "pairs": 2,
        "votes": 2,
        "ratings": 1,
        "annotators": 3,
        "kept": 0,
    }
    first.refresh_from_db()
    assert first.undone_at
    with pytest.raises(NotUndoable, match="already"):
        undo(first)
    imported(*rows)
    assert counts() == there


def test_rows_that_were_there_before_are_as_they_were(imported, project):
    hi = [{"role": "user", "content": "Hi"}]
    one = imported_row.Rating("score", 1.0, "anna")
    two = imported_row.Rating("score", 2.0, "anna")
    three = imported_row.Rating("score", 3.0, "anna")
    imported(
        judged(("anna", "a"), tags=["x"], metadata={"set": 1}),
        Row(messages=hi, replies=[Reply("Hello.", ratings=[one])]),
        judged=("ask"),
    )

    def state() -> list[Any]:
        pair = Pair.objects.values(
            "state",
            "asked",
            "open_slots",
            "n_a",
            "n_b",
            "limit",
            "agree",
            "wanted",
            "first",
            "second",
            "tags",
            "metadata",
            "source_margin",
            "source_ids",
            "left_balance",
        ).get()
        return [
            pair,
            list(
                Assignment.objects.order_by("pk").values("choice", "strength", "left", "metadata")
            ),
            list(Prompt.objects.order_by("pk").values("tags", "reference", "metadata")),
            list(Completion.objects.order_by("pk").values("policy", "metadata")),
            list(Rating.objects.values_list("value", flat=True)),
            project.memberships.count(),
        ]

    before = state()
    pieces = [
        [
            judged(("bob", "b"), tags=["y"], metadata={"more": 2}, margin=1.5, id="7"),
            judged(Judgement("b", "anna", strength=3, left="a")),
            Row(messages=hi, reference="Hello!", tags=["z"]),
            Row(messages=hi, replies=[Reply("Hello.", "m1", ratings=[two], metadata={"n": 1})]),
        ],
        # The same rows once more, which the first piece has changed already.
        [
            judged(Judgement("tie", "anna", left="a"), metadata={"last": 3}),
            Row(messages=hi, tags=["w"]),
            Row(messages=hi, replies=[Reply("Hello.", ratings=[three], metadata={"m": 2})]),
        ],
    ]
    for n in (1, 2):
        later = Import.objects.create(project=project, file_name="later.csv")
        writer = Writer(project, now=timezone.now(), by=later)
        for piece in pieces[:n]:
            writer.add(piece)
        assert state() != before
        undo(later)
        assert state() == before


def test_what_others_use_by_now_stays(imported, project):
    first = imported(judged(("anna", "a")))
    imported(judged(("bob", "b"), texts=("On its way.", "It is late.")))
    gone = undo(first)
    pair = project.pairs.get()
    assert votes(pair) == {"bob": "b"}
    assert gone["kept"] == 2 and (Prompt.objects.count(), Completion.objects.count()) == (1, 2)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("lease", "on the screen"),
        ("vote", "on the screen"),
        ("skip", "on the screen"),
        ("flag", "on the screen"),
        ("decide", "A reviewer has decided"),
        ("freeze", "Dataset version 1 holds its votes"),
        ("later votes", r"“1\.csv”, imported later, builds on the same rows"),
        ("later correction", r"“1\.csv”, imported later, builds on the same rows"),
    ],
)
def test_an_import_that_others_rest_on_is_not_taken_back(
    imported, project, ann, olga, deed, reason
):
    first = imported(judged(("anna", "a"), ("bob", "b")), judged(ask="Open?"))
    if deed in ("lease", "vote", "skip", "flag"):
        lease = queue.next_pair(project, ann)
        assert lease is not None
        if deed == "vote":
            queue.vote(ann, lease.token, choice="a")
        elif deed == "skip":
            queue.skip(ann, lease.token)
        elif deed == "flag":
            queue.flag(ann, lease.token, "unsafe")
    elif deed == "decide":
        adjudication.decide(olga, project.pairs.get(state="adjudicate"), choice="a")
    elif deed == "freeze":
        freeze(project)
    else:
        imported(judged(("cem" if deed == "later votes" else "anna", "b")))
    before = counts()
    with pytest.raises(NotUndoable, match=reason):
        undo(first)
    assert counts() == before


def test_the_later_of_two_imports_goes_first_and_then_the_earlier(imported, project):
    first = imported(judged(("anna", "a")))
    second = imported(judged(("anna", "b"), ("bob", "b")))
    undo(second)
    assert votes(project.pairs.get()) == {"anna": "a"}
    undo(first)
    assert not Prompt.objects.exists()


def test_a_lease_that_ended_without_a_word_is_in_nobodys_way(imported, project, ann):
    first = imported(judged())
    lease = queue.next_pair(project, ann)
    assert lease is not None
    queue.release_expired(project, now=lease.expires_at + timedelta(seconds=1))
    undo(first)
    assert not Pair.objects.exists()


def test_votes_of_models_go_with_the_pairs_and_hinder_nobody(imported, project):
    by = imported(judged(ask="Open?"))
    judge = AiAnnotator.objects.create(project=project, name="J", kind="reward", source={})
    AiVote.objects.create(annotator=judge, pair=Pair.objects.get(), choice="none", run=UUID(int=1))
    assert undo(by)["pairs"] == 1 and not AiVote.objects.exists()
