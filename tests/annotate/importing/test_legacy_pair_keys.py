"""Pairs that an earlier release imported are found again by the same file."""

from __future__ import annotations

import hashlib

from django.utils import timezone

from annotate.importing.row_store import Writer
from annotate.models import Assignment
from tests.annotate.importing.test_row_store import judged, votes


def store(project, rows, **options):
    writer = Writer(project, now=timezone.now(), **options)
    writer.add(rows)
    return writer.added


def make_early(project):
    """Give the pairs the keys that they had then: of the texts alone, in the order of the row,
    numbered; and without models on their sides."""
    seen = {}
    columns = ("prompt__sha256", "completion_a__sha256", "completion_b__sha256")
    for pair, *texts in project.pairs.order_by("pk").values_list("pk", *columns):
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        seen[digest] = seen.get(digest, 0) + 1
        key = f"import:{digest}:{seen[digest]}"
        project.pairs.filter(pk=pair).update(key=key, policy_a="", policy_b="", source_ids=[])
    Assignment.objects.filter(pair__project=project).update(strength=2)


ROWS = [
    judged(("anna", "a"), ("bob", "b"), models=("m1", "m2"), id="1"),
    judged(("anna", "b"), models=("m3", "m4"), id="2"),
    judged(("anna", "tie"), ask="Another?", models=("m1", "m2")),
]


def test_the_same_file_adds_nothing_to_pairs_of_an_earlier_release(project):
    store(project, ROWS)
    make_early(project)
    before = {pair.key: votes(pair) for pair in project.pairs.all()}
    assert len(before) == 3
    for dry_run in (True, False):
        added = store(project, ROWS, dry_run=dry_run)
        assert (added["pairs"], added["votes"], added["revised"]) == (0, 0, 0)
        assert (added["merged"], added["duplicates"]) == (3, 4)
    assert {pair.key: votes(pair) for pair in project.pairs.all()} == before


def test_more_votes_and_a_swapped_row_join_a_pair_of_an_earlier_release(project):
    store(project, ROWS[2:])
    make_early(project)
    more = [
        judged(("bob", "a"), ask="Another?"),
        judged(("cem", "a"), ask="Another?", models=("m1", "m2"), swapped=True),
        judged(("cem", "a"), ask="A new one?"),
    ]
    added = store(project, more)
    assert (added["pairs"], added["votes"]) == (1, 3)
    old, _ = project.pairs.order_by("pk")
    assert votes(old) == {"anna": "tie", "bob": "a", "cem": "a"}
