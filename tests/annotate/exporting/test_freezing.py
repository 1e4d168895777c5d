from __future__ import annotations

import pytest

from annotate import queue
from annotate.exporting import FORMATS, freezing, seal
from annotate.models import Assignment, DatasetVersion


def cast(project, *ballots):
    """Each ballot is (user, choice) or (user, choice, strength), on the next pair they get."""
    for user, choice, *strength in ballots:
        lease = queue.next_pair(project, user)
        queue.vote(user, lease.token, choice=choice, strength=strength[0] if strength else 2)


def exported(version, simulated=True):
    return {
        (name, part): b"".join(module.lines(version, part=part, include_simulated=simulated))
        for name, module in FORMATS.items()
        for part in module.parts
        if not module.of_now
    }


def test_an_unchanged_state_reuses_its_version(project, make_pairs, ann, ben):
    make_pairs(2)
    assert freezing.freeze(project).number == 1
    assert freezing.freeze(project).number == 1
    cast(project, (ann, "a"), (ben, "b"))
    assert [freezing.freeze(project).number for _ in range(2)] == [2, 2]


def test_a_version_counts_what_it_holds(project, make_pairs, ann, ben, zed):
    make_pairs(2)
    cast(project, (ann, "a"), (ben, "a"), (ann, "tie"))
    Assignment.objects.filter(choice="tie").update(simulated=True)
    version = freezing.freeze(project, by=zed)
    assert (version.n_pairs, version.n_votes, version.n_simulated) == (2, 3, 1)
    assert version.created_by == zed and version.sha256 == seal.sha256(version)


def test_later_votes_edits_and_undo_never_change_a_version(project, make_pairs, ann, ben, cleo):
    make_pairs(3)
    cast(project, (ann, "a", 3), (ben, "b"), (ann, "both_bad"), (ben, "a", 1))
    one = freezing.freeze(project)
    before = exported(one)
    queue.undo(ann, project)
    assert exported(one) == before
    cast(project, (ann, "b", 1))
    assert exported(one) == before
    two = freezing.freeze(project)
    after = exported(two)
    assert after != before and two.number == 2
    queue.undo(ann, project)
    queue.undo(ben, project)
    cast(project, (cleo, "a"), (cleo, "tie"))
    freezing.freeze(project)
    assert exported(one) == before and exported(two) == after
    for version in DatasetVersion.objects.all():
        assert version.sha256 == seal.sha256(version)


def test_a_lease_that_expires_after_undo_and_is_taken_again_changes_no_version(
    project, make_pairs, ann
):
    make_pairs(1)
    cast(project, (ann, "a"))
    version = freezing.freeze(project)
    before = exported(version)
    queue.undo(ann, project)
    queue.release_expired(project, now=Assignment.objects.get().expires_at.replace(year=2100))
    lease = queue.next_pair(project, ann)
    assert exported(version) == before
    queue.vote(ann, lease.token, choice="b")
    assert exported(version) == before


def test_a_surplus_vote_that_was_frozen_and_undone_stays_in_its_version(
    project, make_pairs, ann, ben, cleo
):
    make_pairs(1)
    late = queue.next_pair(project, ann)
    queue.release_expired(project, now=late.expires_at.replace(year=2100))
    cast(project, (ben, "a"), (cleo, "a"))
    assert queue.vote(ann, late.token, choice="b").status == "surplus"
    version = freezing.freeze(project)
    before = exported(version)
    assert version.n_votes == 3
    queue.undo(ann, project)
    assert exported(version) == before


def test_a_crash_before_the_hash_was_stored_is_made_good(project, make_pairs, ann):
    make_pairs(1)
    cast(project, (ann, "a"))
    version = freezing.freeze(project)
    whole = version.sha256
    DatasetVersion.objects.update(sha256="")
    assert freezing.freeze(project).sha256 == whole


def test_an_unknown_version_does_not_exist(project):
    with pytest.raises(DatasetVersion.DoesNotExist):
        freezing.version_or_live(project, 7)
