"""Exports of several files, imported as one: a vote counts once, with its weight."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from annotate.models import Assignment, Label, Membership, Project
from tests.annotate.exporting.written import export, judge
from tests.annotate.importing.project.everything import imported


@pytest.fixture
def weighed(project, make_pairs, ann, ben, cleo) -> Project:
    """Five pairs; on the first the only vote that weighs is against two that do not."""
    pairs = make_pairs(5)
    judge(project, pairs[:1], (ann, "a", 2), (ben, "b", 2), (cleo, "b", 1))
    judge(project, pairs[1:3], (ann, "b", 3))
    judge(project, pairs[3:], (ann, "tie", 0))
    Membership.objects.filter(user__in=(ben, cleo)).update(weight=0)
    for number, member in enumerate(Membership.objects.filter(project=project)):
        member.pseudonym = f"ann-{number:08x}"
        member.save()
    return project


def packed(out: Path) -> Path:
    """A folder, or the files of a format as the browser gives them."""
    if out.is_dir():
        return out
    archive = out.with_name("packed.zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(out.parent.glob(f"{out.name}*")):
            file.write(path, path.name)
    return archive


@pytest.mark.parametrize("format", ["hf", "parquet", "csv"])
def test_what_votes_come_to_is_no_further_vote(weighed, format, tmp_path):
    other = Project.objects.create(slug="other", name="Another desk")
    report = imported(other, packed(export(tmp_path / "out", format)))
    votes = Assignment.objects.in_project(other)
    assert votes.count() == 5 and set(votes.values_list("annotator__first_name", flat=True)) == {
        Membership.objects.get(project=weighed, user__username="ann").pseudonym
    }
    assert "verdicts on pairs whose votes are there, left out" in report
    assert other.pairs.count() == 5


def test_who_weighed_nothing_weighs_nothing_where_their_votes_are_imported(weighed, tmp_path):
    other = Project.objects.create(slug="other", name="Another desk")
    imported(other, packed(export(tmp_path / "out", "votes")))
    assert Assignment.objects.in_project(other).count() == 7
    weights = dict(other.memberships.values_list("pseudonym", "weight"))
    assert weights == dict(weighed.memberships.values_list("pseudonym", "weight"))
    won = Label.objects.filter(pair__project=other, outcome="a")
    assert [one.n_votes for one in won] == [1]
